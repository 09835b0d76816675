"""What keeps the sessions: a row whose figure makes sense over several engines is taken over each, in one run."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

from bench import inserts, machine, processes
from bench.cluster import Cluster, binary
from bench.processes import Server
from bench.rows import Row
from bench.scale import Scale

_numbers: Final = count(1)


@dataclass(frozen=True, slots=True)
class Engine:
    """One of the engines.

    Attributes:
        name: as the table has it.
        store_of: the URL of what has the sessions of a daemon with that data directory; empty where they are in the directory.
    """

    name: str
    store_of: Callable[[Path], str]

    def daemon(self, data_dir: Path) -> AbstractContextManager[Server]:
        """Run the daemon on a data directory; one that was there before finds its sessions again."""
        return processes.daemon(data_dir, self.store_of(data_dir))

    def stored_bytes(self, data_dir: Path) -> int:
        """Bytes that its sessions take on the disk, dead ones included."""
        if url := self.store_of(data_dir):
            return inserts.stored_bytes(url)
        return sum(path.stat().st_size for path in (data_dir / "db").glob("zones.db*"))


@cache
def server() -> Cluster:
    """Start the run's own PostgreSQL server, with its default settings; it is removed at the end.

    Raises:
        RuntimeError: there is none to start, or it would keep its data in memory.
    """
    if binary("initdb") is None:
        raise RuntimeError("there is no PostgreSQL to start: install it, or run make setup on a machine it is made for")
    cluster = Cluster()
    atexit.register(cluster.remove)
    if machine.is_kept_in_memory(cluster.directory):
        raise RuntimeError(f"{cluster.directory} is kept in memory, where nothing is durable; mount a disk at /tmp")
    return cluster


@cache
def _database_of(_data_dir: Path) -> str:
    name = f"bench_{next(_numbers)}"
    return server().create_database(name)


SQLITE: Final = Engine("SQLite", lambda _: "")
POSTGRESQL: Final = Engine("PostgreSQL", _database_of)


def over_each(measure: Callable[[Scale, Path, Engine], list[Row]]) -> Callable[[Scale, Path], list[Row]]:
    """Have rows measured over SQLite, and then, of one size each, over PostgreSQL."""

    def measured(scale: Scale, directory: Path) -> list[Row]:
        rows: list[Row] = []
        for engine, size in ((SQLITE, scale), (POSTGRESQL, scale.of_one_size())):
            place = directory / engine.name
            place.mkdir()
            rows += [replace(row, engine=engine.name) for row in measure(size, place, engine)]
        return rows

    return measured
