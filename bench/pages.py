"""Pages of a long output while appends go on, beside pages of a short one; and what memory that takes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import fill
from bench.appends import bodies
from bench.client import Client, body
from bench.engines import Engine
from bench.load import Load, going_on
from bench.rows import Row, alternate, at_most, rank, value_at_most
from bench.scale import MIB, Scale

_SHORT_LINES: Final = 1_000
_CONNECTIONS: Final = 8


def pages(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Read pages from around each place in turn, each of them another one."""
    data_dir = directory / "data"
    with engine.daemon(data_dir) as daemon, Client(daemon) as client:
        fill.output_of_lines(client, "long", scale.output_lines)
        fill.output_of_lines(client, "short", _SHORT_LINES)
    span, middle = scale.output_lines // 10, scale.output_lines // 2
    places = {
        "head": ("long", 0, span),
        "middle": ("long", middle, middle + span),
        "tail": ("long", scale.output_lines - span, scale.output_lines),
        "short": ("short", 0, _SHORT_LINES),
    }
    # It is started anew, so that none of its memory is that of the filling.
    with engine.daemon(data_dir) as daemon, Client(daemon) as client:
        load = Load(daemon, bodies(scale), _CONNECTIONS, per_second=scale.appends_per_second)
        takers = [_taker(scale, client, *place) for place in places.values()]
        with going_on(load):
            takers[-1]()  # from here on the memory is that of a daemon at work
            before = daemon.memory_bytes()
            daemon.forget_memory_max()
            *taken, short = alternate(scale.rounds, *takers)
            grown = daemon.memory_bytes_max() - before
    name = f"page at the {{}} of {scale.output_lines:,} lines: p99"
    against = f"of {_SHORT_LINES:,} lines"
    rows = [
        Row(name.format(place), "ms", ours, short, against, at_most(2))
        for place, ours in zip(places, taken, strict=False)
    ]
    return [*rows, Row("pages: memory grows by", "bytes", [max(0, grown)], wanted=value_at_most(64 * MIB))]


def _taker(scale: Scale, client: Client, agent: str, first: int, end: int) -> Callable[[], float]:
    chance = random.Random(first)

    def take() -> float:
        lines = [chance.randrange(first, end - scale.page_lines) for _ in range(scale.pages)]
        requests = [body("read_output", definition_id=agent, first_line=line, limit=scale.page_lines) for line in lines]
        return rank([client.timed(request) for request in requests], 0.99)

    return take
