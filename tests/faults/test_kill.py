"""The process is killed, or its last write torn: what was acknowledged is there, and nothing is half."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from store.engine import AppendOutput, ArchiveSession, Change, WriteState
from store.sqlite import SqliteEngine, open_sqlite
from store.zones import agent_current_zone
from tests.faults.site import Site
from tests.faults.soak import (
    Plan,
    killed_at_an_answer,
    killed_at_an_instant,
    killed_while_stopping,
    soak_store,
)
from tests.store.foreign import FILE_NAME, copy_of, size_of, wal_of


async def test_what_was_acknowledged_survives_kill_9(site: Site) -> None:
    """Under a mixed load of many callers, whenever it is killed: all that was acknowledged is there, once, and nothing half."""
    plan = Plan.from_environment(os.environ, 0)
    sys.stdout.write(f"{plan}\n")  # shown where the test fails, and by `pytest -s`
    await soak_store(site, plan, [killed_at_an_answer, killed_while_stopping, killed_at_an_instant], print)


async def states_along(engine: SqliteEngine, path: Path, changes: Iterable[Change]) -> list[tuple[int, object]]:
    """Apply changes one commit each; return after each the size of the log and all that can be seen."""
    states: list[tuple[int, object]] = [(size_of(wal_of(path)), await seen(engine))]
    for change in changes:
        await engine.apply([change])
        states.append((size_of(wal_of(path)), await seen(engine)))
    return states


async def seen(engine: SqliteEngine) -> object:
    """Return all that can be seen of an agent: zones, files, and their bytes."""
    zones = await engine.zones_of("agent")
    return [
        (stat, [await engine.read_bytes(stat.zone, file.name, 0, 1 << 20) for file in stat.files]) for stat in zones
    ]


@pytest.mark.parametrize("torn_bytes", [0, 1, 24, 2_000, 4_096])
async def test_a_commit_torn_at_any_byte_is_wholly_there_or_not_at_all(tmp_path: Path, torn_bytes: int) -> None:
    """The log ends somewhere: the store opens with the state after the last commit that is whole, and goes on from there."""
    directory = tmp_path / "store"
    directory.mkdir()
    path = directory / FILE_NAME
    zone = agent_current_zone("agent")
    engine = await open_sqlite(path)
    changes: list[Change] = []
    for number in range(3):
        changes += [
            AppendOutput(zone, b"line\n" * (10 + 2_000 * number), 10),
            WriteState(zone, b"%d" % number * 100_000, 11),
            AppendOutput(zone, b"more\n", 12),
            ArchiveSession(zone, 1_000),
        ]
    states = await states_along(engine, path, changes)
    for number, (size, _) in enumerate(states[1:], 1):
        copy = copy_of(directory)
        log = wal_of(copy / FILE_NAME)
        with log.open("r+b") as file:
            file.truncate(size - torn_bytes)
        again = await open_sqlite(copy / FILE_NAME)
        assert await seen(again) == states[number - bool(torn_bytes)][1]
        assert not isinstance((await again.apply([AppendOutput(zone, b"after\n", 20)]))[0], Exception)
        await again.close()
        for each in copy.iterdir():
            each.unlink()
        copy.rmdir()
    await engine.close()
