"""Reading a page of a long output at its head, in its middle and at its tail."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench import processes, texts
from bench.client import Client
from bench.scale import Scale
from bench.table import Table, decimal, rank, size, times

_PAGE_LINES: Final = 200


def measure(scale: Scale, directory: Path) -> Table:
    """Time pages from around each place, and see what the daemon reads for them."""
    rows = []
    reference_ms = 0.0
    with processes.daemon(directory) as daemon, Client(daemon) as client:
        texts.fill_lines(client, "agent", scale.output_lines)
        span = scale.output_lines // 10
        for name, first in (("head", 0), ("middle", scale.output_lines // 2), ("tail", scale.output_lines - span)):
            # Each page is another one, so that the figures are not those of a page that was just read.
            places = [first + number * (span - _PAGE_LINES) // scale.repetitions for number in range(scale.repetitions)]
            before = daemon.quiet_disk(scale.quiet_seconds).read_bytes
            waits_ms = [
                client.timed("read_output", definition_id="agent", first_line=place, limit=_PAGE_LINES)
                for place in places
            ]
            after = daemon.disk().read_bytes
            read = None if before is None or after is None else (after - before) // scale.repetitions
            reference_ms = reference_ms or rank(waits_ms, 0.5)
            figures = [decimal(rank(waits_ms, 0.5)), decimal(rank(waits_ms, 0.99)), size(read)]
            rows.append([name, *figures, times(rank(waits_ms, 0.5), reference_ms)])
        output_bytes = client.call("stat", definition_ids=["agent"])[0]["output_bytes"]
    title = f"A page of {_PAGE_LINES} lines of an output of {scale.output_lines:,} lines, {size(output_bytes)}"
    return Table(title, ("place", "median ms", "p99 ms", "read per page", "ratio"), rows)
