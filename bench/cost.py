"""What a line costs a daemon, a PostgreSQL server and its disk: the figures that docs/scaling.md computes with.

    python -m bench.cost

It starts a server of its own, with the settings it comes with. Each row has a database of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from bench import processes, texts
from bench.client import body
from bench.cluster import Cluster, database_url, execute
from bench.load import Load, send
from bench.paper import LINE_BYTES, Cost, computed, costs_of, measured
from bench.processes import Server

CALLS: Final = (1, 10, 40, 100)
"""Lines of a call, a row each."""

_AGENTS: Final = 200
_CONNECTIONS: Final = 32
_WARM_SECONDS: Final = 2.0
_DATABASE: Final = "zonekeeper_cost"


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent up to an instant.

    Attributes:
        daemon_seconds: of a core, by the daemon.
        server_seconds: of a core, by all processes of the server.
        log_bytes: of the server's write-ahead log.
        stored_bytes: of all that the store has on the server's disk.
    """

    daemon_seconds: float
    server_seconds: float
    log_bytes: int
    stored_bytes: int


def cost(url: str, directory: Path, lines_of_call: int, seconds: float) -> Cost:
    """Append for a while, each call for another one of many agents, and say what a line of that cost.

    Args:
        url: of a server of this machine that nobody else uses, as a role that may make databases.
        directory: for the daemon's data.
        lines_of_call: that come in each call.
        seconds: for how long.
    """
    requests = [
        body(
            "append_output",
            definition_id=f"agent-{agent}",
            lines=texts.lines(agent * 1_000, lines_of_call, LINE_BYTES),
        )
        for agent in range(_AGENTS)
    ]
    with _database(url) as database, processes.daemon(directory / f"{lines_of_call}", database) as daemon:
        send(Load(daemon, requests, _CONNECTIONS, min(seconds, _WARM_SECONDS)))
        before = asyncio.run(_spent(database, daemon))
        answers = send(Load(daemon, requests, _CONNECTIONS, seconds))
        after = asyncio.run(_spent(database, daemon))
    lines = answers.total * lines_of_call
    return Cost(
        lines_of_call,
        lines / answers.seconds,
        1e6 * (after.daemon_seconds - before.daemon_seconds) / lines,
        1e6 * (after.server_seconds - before.server_seconds) / lines,
        (after.log_bytes - before.log_bytes) / lines,
        (after.stored_bytes - before.stored_bytes) / lines,
    )


async def _spent(url: str, daemon: Server) -> Spent:
    connection = await asyncpg.connect(url)
    try:
        # Read while it is there: it is a child of the server's first process, as all others are.
        server_seconds = processes.family_seconds(processes.parent_of(connection.get_server_pid()))
        return Spent(
            daemon.busy_seconds(),
            server_seconds,
            int(await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")),
            int(await connection.fetchval("SELECT pg_total_relation_size('zonekeeper.file_parts')")),
        )
    finally:
        await connection.close()


@contextmanager
def _database(url: str) -> Iterator[str]:
    """Make a database for one row; yields its URL."""
    drop = f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)"
    asyncio.run(execute(url, drop, f"CREATE DATABASE {_DATABASE}"))
    try:
        yield database_url(url, _DATABASE)
    finally:
        asyncio.run(execute(url, drop))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was measured, and what follows from it for many agents."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cost", description="Say what a line costs (docs/scaling.md)."
    )
    parser.add_argument(
        "--lines", type=int, nargs="+", default=CALLS, metavar="COUNT", help="lines of a call, a row each"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="for how long lines are appended, in each row")
    options = parser.parse_args(arguments)
    server = Cluster()
    try:
        with tempfile.TemporaryDirectory(prefix="zonekeeper-cost-") as directory:
            costs = [cost(server.url, Path(directory), count, options.seconds) for count in options.lines]
    finally:
        server.remove()
    table = measured(costs)
    print(table)
    print(computed(costs_of(table)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
