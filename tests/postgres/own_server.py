"""A server whose settings a test may change while it runs. Through TCP it takes nobody without TLS and a password."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import asyncpg
import trustme

from bench.cluster import Cluster, binary, execute, user_for
from tests.postgres.server import absent

PASSWORD: Final = "a-password-that-nobody-sees"
ROLE: Final = "zonekeeper_guarded"
STANDBY: Final = "receiver"

_NO_TLS: Final = b"SSL is not supported by this build"


class OwnServer:
    """One for the whole run, made by the first test that asks for it.

    Attributes:
        cluster: the server.
        url: of its database, by a role that may do everything.
        host: where it listens on TCP, as its certificate has it.
        port: there.
        certificate: of who has signed that.
    """

    def __init__(self) -> None:
        self.host, self.port = "127.0.0.1", _free_port()
        self.cluster = Cluster("listen_addresses=127.0.0.1", port=self.port)
        self.url = self.cluster.url
        self._data = self.cluster.directory / "data"
        self._prepare_tls()
        rules = ["hostssl all all 127.0.0.1/32 scram-sha-256", "local replication all trust", "local all all trust"]
        (self._data / "pg_hba.conf").write_text("\n".join([*rules, ""]), encoding="utf-8")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write("ssl = on\n")
        self.cluster.run("pg_ctl", "reload", "-D", str(self._data))
        make_role = f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{PASSWORD}'"
        self.cluster.run(
            "psql", "-h", str(self.cluster.directory), "-p", str(self.port), "-U", "zonekeeper", "-c", make_role
        )

    def url_of(self, host: str, password: str | None, **options: str) -> str:
        """Return the URL by which the role with the password comes through TCP, where it must speak TLS."""
        if _NO_TLS in Path(str(binary("postgres"))).read_bytes():
            absent("the programs of PostgreSQL that are here were made without TLS")
        given = "" if password is None else f":{password}"
        return f"postgresql://{ROLE}{given}@{host}:{self.port}/zonekeeper?{urlencode(options)}"

    @asynccontextmanager
    async def having(self, **settings: str) -> AsyncIterator[None]:
        """Have the server run with other settings within the block, and with its own ones again after it."""
        await self._change(f"SET {name} = '{value}'" for name, value in settings.items())
        try:
            yield
        finally:
            await self._change(f"RESET {name}" for name in settings)

    @contextmanager
    def standby(self) -> Iterator[None]:
        """Have a second machine keep the log within the block, in so far as a commit can wait for it."""
        program = binary("pg_receivewal")
        assert program is not None
        directory = self.cluster.directory / "received"
        directory.mkdir(exist_ok=True)
        user = user_for(directory)
        receiver = subprocess.Popen(
            [
                program,
                "--directory",
                str(directory),
                "--synchronous",
                "--dbname",
                f"host={self.cluster.directory} port={self.port} user=zonekeeper application_name={STANDBY}",
            ],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,
        )
        try:
            yield
        finally:
            receiver.terminate()
            receiver.wait()

    def _prepare_tls(self) -> None:
        authority = trustme.CA()
        self.certificate = self.cluster.directory / "authority.pem"
        authority.cert_pem.write_to_path(self.certificate)
        leaf = authority.issue_cert(self.host)
        (self._data / "server.crt").write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        key = self._data / "server.key"
        key.touch(mode=0o600)
        leaf.private_key_pem.write_to_path(key)
        user_for(key)

    async def _change(self, changes: Iterable[str]) -> None:
        await execute(self.url, *(f"ALTER SYSTEM {change}" for change in changes))
        connection = await asyncpg.connect(self.url)
        try:
            before = await connection.fetchval("SELECT pg_conf_load_time()")
            await connection.execute("SELECT pg_reload_conf()")
            while await connection.fetchval("SELECT pg_conf_load_time()") == before:
                pass
        finally:
            await connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
