"""From the start of the process to the line that says it listens: an empty data directory, and a large store."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from bench import fill
from bench.client import Client
from bench.engines import Engine
from bench.rows import Row, alternate, at_most, size, value_at_most
from bench.scale import Scale


def starts(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Start on each in turn."""
    large = directory / "large"
    with engine.daemon(large) as daemon, Client(daemon) as client:
        for number in range(scale.large_store_sessions):
            fill.output_of_size(client, f"agent-{number}", scale.large_store_bytes // scale.large_store_sessions)

    numbers = count()
    on_large, on_empty = alternate(
        scale.start_rounds, lambda: _start(engine, large), lambda: _start(engine, directory / f"empty-{next(numbers)}")
    )
    return [
        Row("start to listening: empty", "s", on_empty, wanted=value_at_most(0.6)),
        Row(
            f"start to listening: store of {size(scale.large_store_bytes)}",
            "s",
            on_large,
            on_empty,
            "empty",
            at_most(1.1),
        ),
    ]


def _start(engine: Engine, data_dir: Path) -> float:
    with engine.daemon(data_dir) as daemon:
        return daemon.started_seconds
