"""The disk is full, a file may not grow, another program holds the lock: what the callers of a running daemon see of it.

Changes are refused in words that say when to come again, nothing of them is stored, reads go on, and when the cause is gone
so do changes, without a restart.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from bench.cluster import database_url
from tests.conftest import EngineKind
from tests.faults.causes import filled, not_growing, only_reading
from tests.faults.crowd import Crowd
from tests.faults.ledger import Ledger
from tests.faults.site import PostgresSite, Site, SqliteSite
from tests.faults.soak import Plan, check_all
from tests.faults.stored import store_of
from tests.postgres.foreign import connected
from tests.postgres.server import private_cluster
from tests.srv.daemon import Daemon

DISK_BYTES: Final = 96 << 20
"""Room for the crowd's data and a log beside it, so that only what the test puts there fills it."""


async def refused_for_a_while(
    site: Site, daemon: Daemon, word: str, cause: AbstractContextManager[object], refusals: int = 20
) -> Ledger:
    """Let a crowd work before a cause, while it leads to so many refusals, and after it; returns what the crowd knows."""
    ledger = Ledger()
    plan = Plan.from_environment(os.environ, 0)
    async with Crowd([daemon], ledger, str(plan), word) as crowd:
        await crowd.until(lambda: ledger.acknowledged >= 150)
        with cause:
            await crowd.until(lambda: ledger.counts[word] >= refusals)
            reads = ledger.counts["read"]
            await crowd.until(lambda: ledger.counts["read"] >= reads + 50)
        before = Counter(ledger.counts)
        await crowd.until(
            lambda: all(ledger.counts[kind] >= before[kind] + 2 for kind in ("append", "write", "archive"))
        )
    await check_all(site, daemon, ledger)
    assert ledger.unknown == 0
    return ledger


@contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    """Mount a disk of 96 MiB that belongs to the directory's owner."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = directory / "disk"
    disk.mkdir()
    options = f"size={DISK_BYTES},uid={directory.stat().st_uid}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def on_small_disk(engine_kind: EngineKind, tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    """Return a new store on a small disk, over each engine. PostgreSQL's log is on another: without it the server ends."""
    if engine_kind.name == "sqlite":
        with small_disk(tmp_path) as disk:
            yield SqliteSite(disk / "data"), disk
        return
    with private_cluster() as cluster, small_disk(cluster.directory) as disk:
        with connected(cluster.url) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            connection.execute("CREATE DATABASE small TABLESPACE small")
        yield PostgresSite(tmp_path / "data", database_url(cluster.url, "small")), disk
        cluster.stop()


async def test_a_full_disk_refuses_changes_until_there_is_room(on_small_disk: tuple[Site, Path]) -> None:
    """STORAGE_FULL on a real disk without a free byte; a daemon that starts there serves what is stored."""
    site, disk = on_small_disk
    with site.start() as daemon:
        ledger = await refused_for_a_while(site, daemon, "STORAGE_FULL", filled(disk))
        with filled(disk):
            daemon.kill()
            with site.start(token="given") as again:
                await check_all(site, again, ledger)


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of another process can be set on Linux only")
async def test_a_file_that_may_not_grow_refuses_changes_until_it_may(data_dir: Path) -> None:
    """STORAGE_UNAVAILABLE where the system lets the daemon write no more, with nothing of a change stored."""
    with Daemon.start(data_dir) as daemon:
        await refused_for_a_while(SqliteSite(data_dir), daemon, "STORAGE_UNAVAILABLE", not_growing(daemon))


@pytest.fixture
def refused_start(tmp_path: Path) -> Iterator[Daemon]:
    """Start a daemon whose store another program holds; it waits for the lock while the test does something else."""
    data_dir = tmp_path / "held"
    with Daemon.start(data_dir):
        pass
    holder = sqlite3.connect(store_of(data_dir), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Daemon(data_dir) as daemon:
        yield daemon
    holder.close()


async def test_a_locked_store_refuses_changes_until_it_is_free(data_dir: Path, refused_start: Daemon) -> None:
    """STORAGE_UNAVAILABLE while another program holds the lock; a start meanwhile exits 4 and names the file."""
    site = SqliteSite(data_dir)
    with site.start() as daemon:
        await refused_for_a_while(site, daemon, "STORAGE_UNAVAILABLE", site.locked(), refusals=1)
    assert refused_start.wait() == 4
    assert f"{store_of(refused_start.data_dir)} is in use: another program holds it" in refused_start.log()


async def test_a_server_that_only_reads_refuses_changes_until_it_writes(data_dir: Path) -> None:
    """STORAGE_UNAVAILABLE on a server such as a replica, from which everything is read meanwhile."""
    with private_cluster() as cluster:
        site = PostgresSite(data_dir, cluster.url)
        with site.start() as daemon:
            await refused_for_a_while(site, daemon, "STORAGE_UNAVAILABLE", only_reading(cluster))
