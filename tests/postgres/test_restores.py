"""The README's backups of PostgreSQL, each restored: to an instant from the server's log, and from a dump."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import Cluster, binary, database_url
from tests.postgres.server import absent
from tests.srv.daemon import Daemon, rpc_body
from tests.test_readme import BACKUPS, blocks


class Shell:
    """A shell of the server's user on a cluster's machine, as the README presumes it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        programs = Path(str(binary("pg_ctl"))).parent
        self._environment = {
            "HOME": str(cluster.directory),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PGDATA": str(cluster.directory / "data"),
            "PGHOST": str(cluster.directory),
            "PGPORT": str(cluster.port),
            "PGUSER": "zonekeeper",
            "PGDATABASE": "zonekeeper",
        }

    def run(self, commands: str) -> str:
        """Run commands, each of which must succeed; returns what they print."""
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=self._cluster.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **self._cluster.user,
        )
        assert done.returncode == 0, done.stdout
        return str(done.stdout)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server of the test's own."""
    if binary("initdb") is None:
        absent("PostgreSQL is not installed")
    running = Cluster()
    try:
        yield running
    finally:
        running.remove()


def sessions_of(daemon: Daemon) -> list[object]:
    """Return all that a daemon has of the agents of this test."""
    ids = [each["definition_id"] for each in daemon.call("agent:session:list_agents")["agents"]]
    verbs = ("read", "read_output", "list_archives")
    return [
        daemon.call("agent:session:stat", definition_ids=ids),
        *(daemon.call(f"agent:session:{verb}", definition_id=agent) for agent in ids for verb in verbs),
    ]


def word(daemon: Daemon, **bound: Any) -> Any:
    """Append what is bound to something of later; returns the word of the refusal."""
    body = rpc_body("agent:session:append_output", definition_id="maks", line="more", **bound)
    return json.loads(daemon.request("POST", "/rpc", body)[2])["error"]["data"]["code"]


def test_a_server_goes_back_to_an_instant_and_a_dump_to_another_database(tmp_path: Path, cluster: Cluster) -> None:
    """What was acknowledged before the instant is there, what came after is not, and who knows of that is told so."""
    archive, go_back, dump = blocks(BACKUPS)[4:]
    shell = Shell(cluster)
    # The README's commands start the server as they stand, so what `Cluster` says in its command must be in its settings.
    for name, value in ("listen_addresses", ""), ("unix_socket_directories", str(cluster.directory)):
        shell.run(f"psql -c \"ALTER SYSTEM SET {name} = '{value}'\"")
    shell.run("createdb agents")
    shell.run(archive)
    here = {"ZONEKEEPER_STORE": database_url(cluster.url, "agents")}
    with Daemon.start(tmp_path / "a", environment=here) as daemon:
        daemon.call("agent:session:write_state", definition_id="maks", content="{}")
        daemon.call("agent:session:archive", definition_id="maks")
        daemon.call("agent:session:append_output", definition_id="maks", line="before")
        before = sessions_of(daemon)
        instant = shell.run("psql -AtXc 'SELECT clock_timestamp()'").strip()
        daemon.call("agent:session:append_output", definition_id="maks", line="after")
        daemon.call("agent:session:archive", definition_id="maks")
        later = daemon.call("agent:session:append_output", definition_id="maks", line="later")["session_id"]
        assert sessions_of(daemon) != before
    shown = "2026-11-28 14:00:00+00"
    assert shown in go_back
    shell.run(go_back.replace(shown, instant))
    with Daemon.start(tmp_path / "b", environment=here) as daemon:
        assert sessions_of(daemon) == before
        assert word(daemon, session_id=later) == "STALE_SESSION"
        assert word(daemon, expect_offset=13) == "OFFSET_MISMATCH"
        daemon.call("agent:session:append_output", definition_id="maks", line="again")
        again = sessions_of(daemon)
    shell.run(dump)
    there = {"ZONEKEEPER_STORE": database_url(cluster.url, "agents_again")}
    with Daemon.start(tmp_path / "c", environment=there) as daemon:
        assert sessions_of(daemon) == again
