"""The process is killed, or its last write torn: what was acknowledged is there, and nothing is half."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from store.engine import AppendOutput, ArchiveSession, Change, WriteState
from store.limits import Limits
from store.records import ZoneStat
from store.sqlite import SqliteEngine, open_sqlite
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, agent_current_zone
from tests.conftest import ENGINE_KINDS, Clock, OpenStore
from tests.faults.victim import AGENTS, snapshot
from tests.store.foreign import FILE_NAME, copy_of, size_of, wal_of

ROOT = Path(__file__).resolve().parents[2]


async def acknowledged_until_killed(directory: Path, run: int, kill_after: int) -> list[list[Any]]:
    """Let a victim run for so many acknowledgements, kill it, and return all that it acknowledged."""
    command = (sys.executable, "-m", "tests.faults.victim", str(directory), str(run))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    said = [await process.stdout.readline() for _ in range(kill_after)]
    process.send_signal(signal.SIGKILL)
    said += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    return [json.loads(line) for line in said if line.endswith(b"\n")]


@dataclass
class Found:
    """What a store holds, by session id."""

    outputs: dict[str, bytes] = field(default_factory=dict)
    snapshots: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    archives: dict[str, int] = field(default_factory=dict)


async def everything_in(store: OpenStore) -> Found:
    """Read a store whole."""
    found = Found()
    for agent in AGENTS:
        for stat in await store.engine.zones_of(agent):
            assert stat.session_id not in found.outputs, "a session is in exactly one zone"
            await _read_zone(store, stat, found)
    return found


async def _read_zone(store: OpenStore, stat: ZoneStat, found: Found) -> None:
    sizes = {file.name: file for file in stat.files}
    output = b""
    while chunk := await store.engine.read_bytes(stat.zone, OUTPUT_FILE, len(output), 1 << 20):
        output += chunk
    found.outputs[stat.session_id] = output
    if stat.zone.archived_at_ms is not None:
        found.archives[stat.session_id] = stat.zone.archived_at_ms
    if SNAPSHOT_FILE in sizes:
        content = await store.engine.read_bytes(stat.zone, SNAPSHOT_FILE, 0, 1 << 20)
        found.snapshots[stat.session_id] = (sizes[SNAPSHOT_FILE].revision, content)


def check_acknowledged(acknowledged: Iterable[list[Any]], run: int, found: Found) -> None:
    """Check that every acknowledged change of a run is in what was found."""
    for kind, _, session_id, fact, *more in acknowledged:
        if kind == "append":
            text = "".join(line + "\n" for line in more[0]).encode()
            assert found.outputs[session_id][fact : fact + len(text)] == text
        elif kind == "write":
            revision, content = found.snapshots[session_id]
            assert revision >= fact
            assert revision > fact or content == snapshot(run, more[0])
        else:
            assert found.archives[session_id] == fact


def check_whole(found: Found) -> None:
    """Check that nothing is half: lines come in the pairs they were sent in, once each; snapshots are of one piece."""
    times: Counter[bytes] = Counter()
    for output in found.outputs.values():
        assert output.endswith(b"\n") or not output
        lines = output.split(b"\n")[:-1]
        assert [line[:-1] for line in lines[::2]] == [line[:-1] for line in lines[1::2]]
        assert {line[-1:] for line in lines[::2]} <= {b"a"}
        times.update(lines)
    assert not times or max(times.values()) == 1
    for _, content in found.snapshots.values():
        assert content == content[:11] * (len(content) // 11)


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """A process that appends, writes and archives is killed again and again: nothing acknowledged is lost, nothing is half."""
    everything: list[tuple[int, list[list[Any]]]] = []
    for run, kill_after in enumerate((25, 600, 1, 200)):
        acknowledged = await acknowledged_until_killed(tmp_path, run, kill_after)
        assert len(acknowledged) >= kill_after
        everything.append((run, acknowledged))
        store = OpenStore(ENGINE_KINDS[0], tmp_path, Clock(), Limits())
        await store.open()
        found = await everything_in(store)
        check_whole(found)
        for earlier, each in everything:
            check_acknowledged(each, earlier, found)
        await store.close()
    kinds = {fact[0] for _, acknowledged in everything for fact in acknowledged}
    assert kinds == {"append", "write", "archive"}


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
