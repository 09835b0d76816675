"""Rewriting a large snapshot in which little has changed."""

from __future__ import annotations

from pathlib import Path

from bench import processes, texts
from bench.client import Client, body
from bench.scale import Scale
from bench.table import Table, decimal, size, times


def measure(scale: Scale, directory: Path) -> Table:
    """Time each write and see what the daemon writes for it, its checkpoint included."""
    first = texts.snapshot(scale.snapshot_bytes)
    near_end, near_head = len(first) - len(first) // 100, len(first) // 100
    writes = {
        "first write": first,
        "the same again": first,
        "small change near the end": first[:near_end] + "changed" + first[near_end:],
        "small change near the head": first[:near_head] + "changed" + first[near_head:],
    }
    rows = []
    with processes.daemon(directory) as daemon, Client(daemon) as client:
        reference: tuple[float, int | None] = (0.0, None)
        for name, content in writes.items():
            request = body("write_state", definition_id="agent", content=content)
            before = daemon.quiet_disk(scale.quiet_seconds).written_bytes
            took_ms = client.timed_body(request)
            after = daemon.quiet_disk(scale.quiet_seconds).written_bytes
            written = None if before is None or after is None else after - before
            reference = reference if reference[0] else (took_ms, written)
            share = "-" if written is None or not reference[1] else times(written, reference[1])
            rows.append([name, decimal(took_ms), times(took_ms, reference[0]), size(written), share])
    title = f"Writing a snapshot of {size(len(first))}"
    note = "Near the end: one hundredth of the way before it. Written: to the disk, checkpoint included."
    return Table(title, ("write", "ms", "ratio", "written", "ratio"), rows, note)
