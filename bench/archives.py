"""Archiving sessions and listing archives, small ones and large ones: neither may depend on the size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import fill
from bench.client import Client, body
from bench.engines import Engine
from bench.processes import Server
from bench.rows import Row, alternate, at_most, rank, size
from bench.scale import KIB, MIB, Scale


def archive(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Time `archive` of one small and one large session in turn, each of them a fresh one."""
    return [
        _archived(scale, directory / f"data-{size_bytes}", engine, size_bytes) for size_bytes in scale.archive_bytes
    ]


def _archived(scale: Scale, data_dir: Path, engine: Engine, size_bytes: int) -> Row:
    with engine.daemon(data_dir) as daemon, Client(daemon) as client:
        for number in range(scale.rounds):
            fill.output_of_size(client, f"large-{number}", size_bytes)
            fill.output_of_size(client, f"small-{number}", KIB)
        daemon.wait_until_quiet()
        large, small = (_archiving(daemon, client, kind) for kind in ("large", "small"))
        ours, yardstick = alternate(scale.rounds, large.__next__, small.__next__)
    wanted = at_most(1.5) if size_bytes == 300 * MIB else None
    return Row(f"archive a session of {size(size_bytes)}", "ms", ours, yardstick, "of 1 KiB", wanted)


def _archiving(daemon: Server, client: Client, kind: str) -> Iterator[float]:
    number = 0
    while True:
        agent = f"{kind}-{number}"
        yield client.timed(body("archive", definition_id=agent))
        fill.wait_for_previews(client, agent)
        daemon.wait_until_quiet()
        number += 1


def listing(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Time `list_archives` over large archives among other zones, and over small ones that are alone."""
    count = scale.listed_archives
    with (
        engine.daemon(directory / "large") as large,
        engine.daemon(directory / "small") as small,
        Client(large) as large_client,
        Client(small) as small_client,
    ):
        line = {"lines": ["one line"]}
        others = (("append_output", {"definition_id": f"other-{n}", **line}) for n in range(scale.other_zones))
        fill.in_batches(large_client, others)
        _fill(large_client, count, scale.listed_bytes)
        _fill(small_client, count, KIB)
        request = body("list_archives", definition_id="agent", limit=100)
        ours, yardstick = alternate(
            scale.short_rounds,
            lambda: rank([large_client.timed(request) for _ in range(scale.repetitions)], 0.5),
            lambda: rank([small_client.timed(request) for _ in range(scale.repetitions)], 0.5),
        )
    name = f"list {count} archives of {size(scale.listed_bytes)} among {scale.other_zones:,} zones: p50"
    return [Row(name, "ms", ours, yardstick, "of 1 KiB, alone", at_most(1.3))]


def _fill(client: Client, count: int, size_bytes: int) -> None:
    for _ in range(count):
        for method, params in fill.session("agent", size_bytes):
            client.call(method, **params)
        client.call("archive", definition_id="agent")
    fill.wait_for_previews(client, "agent")
