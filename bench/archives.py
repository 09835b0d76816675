"""Archiving a small and a large session, and listing archives of both kinds: neither may depend on the size."""

from __future__ import annotations

import time
from pathlib import Path

from bench import processes, texts
from bench.client import Client
from bench.processes import Server
from bench.scale import KIB, Scale
from bench.table import Table, decimal, rank, size, times


def archive(scale: Scale, directory: Path) -> Table:
    """Time `archive` for sessions of 1 KiB and for large ones."""
    with processes.daemon(directory) as daemon, Client(daemon) as client:
        small = _archive_waits_ms(scale, daemon, client, KIB, scale.small_archives)
        large = _archive_waits_ms(scale, daemon, client, scale.large_session_bytes, scale.large_archives)
    rows = []
    for name, waits_ms in ((size(KIB), small), (size(scale.large_session_bytes), large)):
        median_ms = rank(waits_ms, 0.5)
        figures = [decimal(figure) for figure in (median_ms, min(waits_ms), max(waits_ms))]
        rows.append([name, str(len(waits_ms)), *figures, times(median_ms, rank(small, 0.5))])
    header = ("session", "archived", "median ms", "min ms", "max ms", "ratio")
    return Table(
        "Archiving a session", header, rows, "The large ones once the daemon has written all of them to their place."
    )


def _archive_waits_ms(scale: Scale, daemon: Server, client: Client, size_bytes: int, count: int) -> list[float]:
    waits_ms = []
    for _ in range(count):
        texts.fill(client, f"agent-{size_bytes}", size_bytes)
        if size_bytes > KIB:
            daemon.quiet_disk(scale.quiet_seconds)
        waits_ms.append(client.timed("archive", definition_id=f"agent-{size_bytes}"))
    return waits_ms


def listing(scale: Scale, directory: Path) -> Table:
    """Time `list_archives` over small archives and over large ones, and see what the daemon reads for it."""
    rows = []
    reference_ms = 0.0
    with processes.daemon(directory) as daemon, Client(daemon) as client:
        for size_bytes in (KIB, scale.listed_bytes):
            agent = f"agent-{size_bytes}"
            for _ in range(scale.listed_archives):
                texts.fill(client, agent, size_bytes)
                client.call("archive", definition_id=agent)
            _wait_for_previews(client, agent)
            before = daemon.quiet_disk(scale.quiet_seconds).read_bytes
            waits_ms = [client.timed("list_archives", definition_id=agent, limit=100) for _ in range(scale.repetitions)]
            after = daemon.disk().read_bytes
            read = None if before is None or after is None else (after - before) // scale.repetitions
            reference_ms = reference_ms or rank(waits_ms, 0.5)
            figures = [decimal(rank(waits_ms, 0.5)), decimal(rank(waits_ms, 0.99)), size(read)]
            rows.append(
                [size(size_bytes), str(scale.listed_archives), *figures, times(rank(waits_ms, 0.5), reference_ms)]
            )
    header = ("each archive", "archives", "median ms", "p99 ms", "read per call", "ratio")
    note = "What is read per call, beside the size of the archives, shows that none is opened."
    return Table("Listing archives", header, rows, note)


def _wait_for_previews(client: Client, agent: str) -> None:
    while any(row["preview"] is None for row in client.call("list_archives", definition_id=agent, limit=100)):
        time.sleep(0.05)
