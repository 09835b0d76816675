"""Daemons and their server that are killed at random instants under a mixed load, and what must hold afterwards.

    ZONEKEEPER_SOAK_SEED=12345 python -m tests.postgres.soak

Two daemons serve one database. Each round ends one of them while the other goes on, or the server beneath both, which then
have to find it again by themselves. See `tests.faults.soak`, whose rounds these are.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from bench.cluster import Cluster, database_url
from tests.faults.site import PostgresSite
from tests.faults.soak import (
    SEED_NAME,
    Ending,
    Plan,
    Round,
    killed_at_an_answer,
    killed_at_an_instant,
    killed_while_stopping,
    say,
    soak_store,
)
from tests.postgres.foreign import connected
from tests.postgres.server import private_cluster
from tests.srv.daemon import seconds_since

DAEMONS: Final = 2
_STORES: Final = 5
_KILLS_OF_A_STORE: Final = 10
"""Of daemons, and as many of the server; then a new store begins, so that what is read again in each round stays small."""

_OF_DAEMONS: Final = (killed_at_an_answer, killed_at_an_instant, killed_while_stopping)


class ClusterSite(PostgresSite):
    """A store on a server that may be ended: until it is back changes and reads are STORAGE_UNAVAILABLE.

    Attributes:
        cluster: the server.
    """

    words = ("STORAGE_UNAVAILABLE",)

    def __init__(self, data_dir: Path, cluster: Cluster, url: str) -> None:
        super().__init__(data_dir, url)
        self.cluster = cluster


async def server_killed(this: Round) -> None:
    """Kill every process of the server at once, and start it again."""
    await this.until_more(this.random.randrange(1, 200))
    cluster = _cluster(this)
    await asyncio.to_thread(cluster.kill)
    await asyncio.to_thread(cluster.start)


async def server_restarted(this: Round) -> None:
    """Restart the server in order: it undoes what is under way, and says so to those who are connected."""
    await this.until_more(this.random.randrange(1, 200))
    cluster = _cluster(this)
    await asyncio.to_thread(cluster.stop)
    await asyncio.to_thread(cluster.start)


def _cluster(this: Round) -> Cluster:
    assert isinstance(this.site, ClusterSite)
    return this.site.cluster


@contextmanager
def cluster_site(data_dir: Path) -> Iterator[ClusterSite]:
    """Run a server for one store."""
    with private_cluster() as cluster:
        yield ClusterSite(data_dir, cluster, cluster.url)


def _endings_of(seed: int) -> Sequence[Ending]:
    random = Random(seed)
    chosen: list[Ending] = [*random.choices(_OF_DAEMONS, k=_KILLS_OF_A_STORE), *[server_killed] * _KILLS_OF_A_STORE]
    random.shuffle(chosen)
    return chosen


def main() -> int:
    """Kill daemons and server fifty times each; returns the exit code."""
    plan = Plan.from_environment(os.environ, 0)
    started = time.monotonic()
    say(f"{SEED_NAME}={plan.seed}: {DAEMONS} daemons on PostgreSQL")
    acknowledged = 0
    with private_cluster() as cluster, tempfile.TemporaryDirectory(prefix="zonekeeper-soak-") as scratch:
        for number in range(_STORES):
            each = replace(plan, seed=plan.seed + number)
            name = f"soak_{number}"
            with connected(cluster.url) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            site = ClusterSite(Path(scratch) / name, cluster, database_url(cluster.url, name))
            try:
                ledger = asyncio.run(soak_store(site, each, _endings_of(each.seed), say, DAEMONS))
            except AssertionError as error:
                say(f"FAILED: {error}")
                return 1
            acknowledged += ledger.acknowledged
    kills = _STORES * _KILLS_OF_A_STORE
    say(
        f"a daemon was killed {kills} times and the server {kills} times in {seconds_since(started):.0f} s;"
        f" {acknowledged} changes were acknowledged, and none was lost or done twice"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
