"""How long `/healthz` takes while the largest snapshots are written and read, archives listed and pages read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench import fill, processes, texts
from bench.busy import busy
from bench.client import Client, body
from bench.load import Load, going_on
from bench.processes import Server
from bench.rows import Row, size, value_at_most
from bench.scale import KIB, Scale

_PER_SECOND: Final = 200
_CONNECTIONS: Final = 4
_OUTPUT_LINES: Final = 50_000
_ARCHIVES: Final = 100


def health(scale: Scale, directory: Path) -> list[Row]:
    """Ask while each of the large sizes is written and read, for a while each."""
    with processes.daemon(directory / "data") as daemon:
        with Client(daemon) as client:
            fill.output_of_lines(client, "long", _OUTPUT_LINES)
            for _ in range(_ARCHIVES):
                fill.in_batches(client, [*fill.session("listed", 4 * KIB), ("archive", {"definition_id": "listed"})])
        return [row for size_bytes in scale.health_snapshot_bytes for row in _asked(scale, daemon, size_bytes)]


def _asked(scale: Scale, daemon: Server, size_bytes: int) -> list[Row]:
    contents = [texts.snapshot(size_bytes, mark) for mark in ("one", "two")]
    writes = [body("write_state", definition_id="large", content=content) for content in contents]
    read = body("read", definition_id="large")
    small = [
        body("list_archives", definition_id="listed", limit=100),
        *(body("read_output", definition_id="long", first_line=line) for line in range(0, _OUTPUT_LINES, 1_000)),
    ]
    load = Load(
        daemon, [], _CONNECTIONS, scale.health_seconds, per_second=_PER_SECOND, get="/healthz", expected="alive"
    )
    with busy(daemon, [writes[0], read, writes[1], read]), busy(daemon, small), going_on(load) as answers:
        asked = answers()
    name = f"/healthz, snapshots of {size(size_bytes)} under way:"
    return [
        Row(f"{name} max", "ms", [asked.max_ms], wanted=value_at_most(100)),
        Row(f"{name} p99", "ms", [asked.p99_ms], wanted=value_at_most(50)),
    ]
