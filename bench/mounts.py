"""Mounting a pane, beside a bare server that has the very answer in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench import processes, texts
from bench.client import Client, body
from bench.engines import SQLITE, Engine
from bench.rows import Row, alternate, at_most, rank, size
from bench.scale import MIB, Scale

_LINES_BEFORE: Final = 5_000


def mounts(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Mount snapshots of each size, with as many lines that they do not cover."""
    return [_mounted(scale, directory, engine, size_bytes) for size_bytes in scale.mount_snapshot_bytes]


def _mounted(scale: Scale, directory: Path, engine: Engine, size_bytes: int) -> Row:
    request = body("mount", definition_id="agent")
    answer = directory / f"answer-{size_bytes}"
    with engine.daemon(directory / f"data-{size_bytes}") as daemon, Client(daemon) as client:
        lines = texts.lines(0, _LINES_BEFORE + scale.mount_lines)
        client.call("append_output", definition_id="agent", lines=lines)
        client.call("write_state", definition_id="agent", content=texts.snapshot(size_bytes), covers_line=_LINES_BEFORE)
        answer.write_bytes(client.exchange(request))
        with processes.echo(directory, daemon.token, answer) as bare, Client(bare) as bare_client:
            ours, from_memory = alternate(
                scale.short_rounds,
                lambda: rank([client.timed(request) for _ in range(scale.repetitions)], 0.5),
                lambda: rank([bare_client.timed(request) for _ in range(scale.repetitions)], 0.5),
            )
    wanted = at_most(2.5, aim=1.5) if size_bytes == MIB and engine is SQLITE else None
    name = f"mount: snapshot of {size(size_bytes)} and {scale.mount_lines} lines: p50"
    return Row(name, "ms", ours, from_memory, "the same bytes from memory", wanted)
