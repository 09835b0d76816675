"""A PostgreSQL server for tests: the one that is named, or a private one.

It is started with the first store that is opened, and serves the whole run. Each directory of a test has a database of its own;
one whose directory is done with is emptied and given to the next.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

import pytest

from bench.cluster import Cluster, binary, database_url, execute

NAMED: Final = "ZONEKEEPER_TEST_POSTGRES"
_TABLES: Final = ("zones", "file_parts", "agents", "batches")


@contextmanager
def private_cluster(primary: Cluster | None = None) -> Iterator[Cluster]:
    """Run a server that a test may end, or a replica; where there is none to run the test is skipped, and in CI it fails."""
    if binary("initdb") is None:
        absent("a server that can be ended needs PostgreSQL installed")
    cluster = Cluster(primary=primary)
    try:
        yield cluster
    finally:
        cluster.remove()


def absent(why: str) -> NoReturn:
    """Skip a test for want of a server; in CI it fails."""
    assert not os.environ.get("CI"), why
    pytest.skip(why)


@cache
def server_url() -> str | None:
    """Return the URL of the run's server, started where that is needed; None where there is none."""
    if named := os.environ.get(NAMED):
        return named
    if binary("initdb") is None:
        return None
    cluster = Cluster()
    atexit.register(cluster.remove)
    return cluster.url


@dataclass
class Databases:
    """The databases of one server.

    Attributes:
        taken: by the directory that each stands for.
        free: those that are done with.
        made: how many there are.
    """

    taken: dict[Path, str] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)
    made: int = 0

    async def url_of(self, directory: Path) -> str:
        """Return the URL of the database that stands for a directory, an empty one the first time.

        Without a server the test is skipped; in CI it fails.
        """
        url = server_url()
        if url is None:
            absent(f"PostgreSQL is not installed, and {NAMED} names no server")
        if directory not in self.taken:
            self.taken[directory] = await self._emptied(url) if self.free else await self._new(url)
        return database_url(url, self.taken[directory])

    def release(self, directory: Path) -> None:
        """Give back what stands for a directory, if anything does."""
        if name := self.taken.pop(directory, None):
            self.free.append(name)

    async def _new(self, url: str) -> str:
        self.made += 1
        name = f"zonekeeper_{os.getpid()}_{self.made}"
        await execute(url, f"CREATE DATABASE {name}")
        if NAMED in os.environ:
            atexit.register(_drop, url, name)
        return name

    async def _emptied(self, url: str) -> str:
        name = self.free.pop()
        emptied = [f"DELETE FROM zonekeeper.{table}" for table in _TABLES]
        anew = "; ".join([*emptied, "UPDATE zonekeeper.version SET standing = 'own'"])
        # At once, in one transaction that nobody needs on the disk: this is done before nearly every test. Where a test has
        # opened no store there is nothing to be emptied.
        if_made = f"DO $$ BEGIN IF to_regclass('zonekeeper.version') IS NOT NULL THEN {anew}; END IF; END $$"
        await execute(database_url(url, name), f"SET synchronous_commit = off; {if_made}")
        return name


def _drop(url: str, name: str) -> None:
    asyncio.run(execute(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


DATABASES: Final = Databases()
