"""pgbouncer in transaction mode before the run's server: each transaction may go to another connection of a few."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

from bench.cluster import user_for
from tests.postgres.server import absent

_PORT: Final = 5432
_CONNECTIONS: Final = 3
_WAIT_SECONDS: Final = 30


def program() -> str:
    """Find pgbouncer, which Debian keeps off the path of users. Without it the test is skipped; in CI it fails."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if found is None:
        absent("pgbouncer is not installed")
    return found


class Pooler:
    """A context manager: pgbouncer runs within the block.

    Attributes:
        url: of the database, through it.
    """

    def __init__(self, url: str) -> None:
        """Say before which database."""
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._target = {
            "host": options.get("host") or parts.hostname,
            "port": options.get("port") or parts.port or 5432,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }
        self._directory = Path(tempfile.mkdtemp(prefix="zonekeeper-pool-", dir="/tmp"))
        self.url = urlunsplit(parts._replace(netloc="zonekeeper@", query=f"host={quote(str(self._directory))}"))
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        """Start it, and wait until it listens."""
        target = " ".join(f"{name}={value}" for name, value in self._target.items() if value)
        settings = self._directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = {target}\n[pgbouncer]\npool_mode = transaction\nauth_type = any\nlisten_addr =\n"
            f"listen_port = {_PORT}\nunix_socket_dir = {self._directory}\ndefault_pool_size = {_CONNECTIONS}\n",
            encoding="utf-8",
        )
        user = user_for(self._directory)
        command = [program(), "--quiet", str(settings)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
        until = time.monotonic() + _WAIT_SECONDS
        while not self._is_listening():
            assert self._process.poll() is None, "pgbouncer has ended"
            assert time.monotonic() < until, "pgbouncer does not listen"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory)

    def _is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self._directory / f".s.PGSQL.{_PORT}")) == 0
