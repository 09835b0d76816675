"""Rewriting a large snapshot in which little has changed: what is written for it, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Final

from bench import machine, processes, texts
from bench.client import Client, body
from bench.engines import SQLITE, Engine
from bench.load import Load, send
from bench.rows import Row, alternate, at_most, rank, size, value_at_most
from bench.scale import KIB, MIB, Scale

_BEFORE_END_BYTES: Final = (2_000, 4_000, 8_000, 16_000, 32_000)
"""Where "near the end" is: in each round another place."""

_KEPT_BYTES: Final = 128 * KIB
"""Of the snapshot that is rewritten for long: a part that stays, and one that changes."""

_REWRITTEN_BYTES: Final = 100 * MIB
_REWRITES_MIN: Final = 4
"""A round rewrites so much in all, or so often, whichever is more."""


def snapshots(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Measure for each size how long a rewrite takes, and over SQLite, which writes itself, how much is written for it."""
    rows = []
    for size_bytes in scale.snapshot_bytes:
        data_dir = directory / f"data-{size_bytes}"
        is_wanted = size_bytes == 8 * MIB
        if engine is SQLITE:
            rows += [_written(scale, data_dir, size_bytes, is_wanted=is_wanted)]
        rows += [_rewritten(scale, data_dir, engine, size_bytes, is_wanted=is_wanted)]
    return rows


def space(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Look what one snapshot takes on the disk once it was rewritten as quickly as that goes."""
    data_dir = directory / "data"
    with engine.daemon(data_dir) as daemon:
        send(Load(daemon, _bodies(texts.snapshot(_KEPT_BYTES)), 1, count=scale.snapshot_rewrites))
        taken = engine.stored_bytes(data_dir)
    name = f"snapshot of {size(_KEPT_BYTES)}, 1 KB changed {scale.snapshot_rewrites:,} times: on the disk"
    return [Row(name, "bytes", [taken], [_KEPT_BYTES], "its size", value_at_most(64 * MIB))]


def _written(scale: Scale, data_dir: Path, size_bytes: int, *, is_wanted: bool) -> Row:
    """Count what a daemon writes to the disk for one rewrite, from there to its end, its last checkpoint included."""
    content = texts.snapshot(size_bytes)
    with processes.daemon(data_dir) as daemon, Client(daemon) as client:
        client.call("write_state", definition_id="agent", content=content)
    places = cycle(_BEFORE_END_BYTES)

    def rewrite() -> float:
        nonlocal content
        content = texts.changed(content, next(places), "x")
        with processes.daemon(data_dir) as daemon, Client(daemon) as client:
            daemon.wait_until_quiet()
            before = daemon.written_bytes()
            client.call("write_state", definition_id="agent", content=content)
            return daemon.end() - before

    (written,) = alternate(scale.rounds, rewrite)
    name = f"snapshot of {size(size_bytes)}, 1 KB changed: written"
    return Row(name, "bytes", written, [size_bytes], "its size", at_most(0.03) if is_wanted else None)


def _rewritten(scale: Scale, data_dir: Path, engine: Engine, size_bytes: int, *, is_wanted: bool) -> Row:
    """Time rewrites, each of which differs from what is stored, beside writing a file of that size."""
    requests = _rewrites(texts.snapshot(size_bytes))
    count = min(2 * scale.repetitions, max(_REWRITES_MIN, _REWRITTEN_BYTES // size_bytes))
    raw = texts.snapshot(size_bytes).encode()
    with engine.daemon(data_dir) as daemon, Client(daemon) as client:
        ours, bare = alternate(
            scale.rounds,
            lambda: rank([client.timed(next(requests)) for _ in range(count)], 0.5),
            lambda: rank([machine.write_wait_ms(data_dir, raw) for _ in range(count)], 0.5),
        )
    name = f"snapshot of {size(size_bytes)}, 1 KB changed: p50"
    return Row(name, "ms", ours, bare, "write + fdatasync", at_most(6, aim=3) if is_wanted else None)


def _rewrites(content: str) -> Iterator[bytes]:
    """Go round the places; each snapshot differs from the one before it near its end only."""
    return cycle(_bodies(content))


def _bodies(content: str) -> list[bytes]:
    return [
        body("write_state", definition_id="agent", content=texts.changed(content, place, mark))
        for place in _BEFORE_END_BYTES
        for mark in "yz"
    ]
