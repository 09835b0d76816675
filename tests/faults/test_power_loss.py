"""The power goes at any instant: what was acknowledged is on the disk, once and in order, and nothing is half.

A real daemon runs over a shim that records every write, truncate, delete and sync below SQLite; the disks that a power cut
could leave are rebuilt from the recording. `ZONEKEEPER_SOAK_SEED` repeats the load and the dice,
`ZONEKEEPER_SOAK_SECONDS` looks at every instant, of life after life.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest

from migrations.marker import identify, read_marker, write_marker
from migrations.runner import run_migrations
from store.limits import Limits
from store.sqlite import open_sqlite
from tests.conftest import BEGINNING_MS, ENGINE_KINDS, Clock, OpenStore
from tests.faults.power_check import NOTHING, Session, State, stored_in
from tests.faults.power_disk import STORE, files_in, lay_out
from tests.faults.power_life import SEED, SOAK_SECONDS, Cut, Life, clean, cuts, live
from tests.faults.power_load import check_states
from tests.faults.recording import Kind
from tests.legacy_dirs import populate

EVERY: Final = 1 if SOAK_SECONDS else 30
"""Torn disks are made of one instant in so many."""

STRIDE: Final = 1 if SOAK_SECONDS else 4
"""Of the disks of a first start, one in so many is started from again."""

STEPS: Final = 40 if SOAK_SECONDS else 18
CHECKPOINT_BYTES: Final = 160 * 1024
"""A checkpoint some twenty times in a life."""

LOG_KEPT_BYTES: Final = 100_000
"""The log is cut back after some of them."""

SMALL_CACHE_KIB: Final = 64
"""Large changes go to the log in parts, before their commit."""

JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
"""Stands at the beginning of a journal once it is to be obeyed."""

pytestmark = pytest.mark.timeout(240 + 2 * SOAK_SECONDS)


def two_lives(folder: Path, seed: str) -> tuple[Life, Life]:
    """Live from old data to a clean stop, and again from a torn disk of that life to a kill, with a small cache."""
    populate(folder / "first" / "data", blocks=6, agents=3)
    shutil.copytree(folder / "first" / "data", folder / "old")
    constants = {"checkpoint_bytes": CHECKPOINT_BYTES, "journal_size_limit": LOG_KEPT_BYTES}
    first = live("first life", folder / "first", seed, constants, steps=STEPS)
    torn = [cut for cut in cuts(first, 16) if cut.kind.startswith("torn") and cut.length > first.records[-1].end // 3]
    begin = Random(seed).choice(torn)
    constants["cache_size"] = -SMALL_CACHE_KIB
    second = live("second life", folder / "second", seed, constants, steps=STEPS, begin=begin, killed=True)
    return first, second


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the lives are; the directory `old` in it holds the old data as it was before."""
    return tmp_path_factory.mktemp("power")


@pytest.fixture(scope="module")
def lives(folder: Path) -> tuple[Life, Life]:
    """Return two lives."""
    print(f"ZONEKEEPER_SOAK_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    return two_lives(folder, SEED)


@pytest.fixture(scope="module")
def careless(lives: tuple[Life, Life], folder: Path) -> Life:
    """Return a life that begins on a backup put in place, and does not wait for the disk: it syncs at checkpoints only."""
    return live("careless life", folder / "careless", SEED, {"synchronous": 1}, steps=5, begin=backup(lives[0], folder))


def backup(life: Life, folder: Path) -> Cut:
    """Return what a life left in the end as `zonekeeper backup` leaves it: one file, without a write-ahead log."""
    *_, end = cuts(life, len(life.records))
    path = lay_out(end.files, folder / "backup")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode = delete").fetchone() == ("delete",)
    connection.close()
    return Cut(life, end.length, "backup", files_in(path.parent))


def test_a_life_goes_through_everything_that_a_disk_can_see(lives: tuple[Life, Life]) -> None:
    """Checkpoints, logs begun anew and cut back, files made and removed: the recording has them all, many times."""
    first, second = lives
    done = Counter((record.kind, record.file) for record in first.records)
    assert done[Kind.SYNC, "-wal"] > 30
    assert done[Kind.SYNC, ""] > 8
    assert done[Kind.DELETE, "-journal"] == done[Kind.DELETE, "-wal"] == 1
    assert done[Kind.DIRECTORY_SYNC, ""] >= 2
    for life in lives:
        begun_anew = [record for record in life.records if (record.kind, record.file) == (Kind.WRITE, "-wal")]
        assert sum(record.number == 0 for record in begun_anew) > 5
        assert any((record.kind, record.file) == (Kind.TRUNCATE, "-wal") for record in life.records)
    assert first.listening_at > 0
    assert sum(bool(state[-1]) for state in (each.states for each in second.histories.values())) >= 5


def test_what_was_acknowledged_survives_a_power_cut_at_any_instant(lives: tuple[Life, Life], folder: Path) -> None:
    """On each disk every agent has exactly one of the states it went through, none older than the last acknowledged one."""
    until = time.monotonic() + SOAK_SECONDS
    number = 0
    while True:
        for life in lives:
            for cut in cuts(life, EVERY):
                cut.check(folder / "cut")
        number += 1
        if time.monotonic() >= until:
            return
        lives = two_lives(clean(folder / "more"), f"{SEED}.{number}")


async def test_the_store_goes_on_from_every_such_disk(lives: tuple[Life, Life], folder: Path) -> None:
    """The product opens it, and a change of one agent is all that is other afterwards."""
    for life in lives:
        for cut in list(cuts(life, 6 * EVERY))[::6]:
            before = cut.check(folder / "cut")
            path = lay_out(cut.files, folder / "cut", cut.random)
            store = OpenStore(ENGINE_KINDS[0], path.parent, Clock(), Limits())
            await store.open()
            stored = await store.sessions.append_session_output("a", ["after the cut"])
            await store.close()
            after = stored_in(path)
            assert after.pop("a", NOTHING) == with_line(before.pop("a", NOTHING), stored.session_id), cut
            assert after == before, cut


def with_line(state: State, session_id: str) -> State:
    """Return what becomes of an agent when a line is appended."""
    current = next((each for each in state if each.archived_at_ms is None), None)
    if current is None:
        return state | {Session(session_id, None, None, output=b"after the cut\n")}
    assert current.session_id == session_id
    return state - {current} | {replace(current, output=(current.output or b"") + b"after the cut\n")}


async def test_a_start_cut_off_prevents_no_later_one(lives: tuple[Life, Life], careless: Life, folder: Path) -> None:
    """The switch to a write-ahead log goes through a journal, of a new store and of a backup: the next start undoes it."""
    for life in (lives[0], careless):
        hot_journals = 0
        for cut in takewhile(before_the_first_commit, cuts(life, 1)):
            path = lay_out(cut.files, folder / "cut", cut.random)
            hot_journals += bool(cut.files.get("")) and cut.files.get("-journal", b"").startswith(JOURNAL_MAGIC)
            await (await open_sqlite(path)).close()
            check_states(stored_in(path), life.histories, cut.length)
        assert hot_journals > 0


def before_the_first_commit(cut: Cut) -> bool:
    """Tell whether a cut came before the write-ahead log was synced for the first time."""
    log_syncs = (record for record in cut.life.records if (record.kind, record.file) == (Kind.SYNC, "-wal"))
    return cut.length < next(log_syncs).end


async def test_a_migration_cut_off_is_finished_by_the_next_start(lives: tuple[Life, Life], folder: Path) -> None:
    """From whatever it had stored, with or without a marker that came to the disk before: all is there, and once."""
    first, _ = lives
    early = [cut for cut in cuts(first, 1) if cut.length <= first.listening_at]
    making, taking_over = early[:40], early[40:]
    end = {agent: history.states[-1] for agent, history in first.histories.items() if history.sent_at == [0]}
    assert len(end) == 3
    for number, cut in enumerate([*making[::STRIDE], *taking_over[:: 3 * STRIDE]]):
        data_dir = clean(folder / "resumed")
        shutil.copytree(folder / "old", data_dir)
        for name, data in cut.files.items():
            (data_dir / "db" / (STORE + name)).write_bytes(data)
        if number % 2:
            put_marker(folder / "first" / "data", data_dir)
        engine = await open_sqlite(data_dir / "db" / STORE)
        await run_migrations(data_dir, engine, now_ms=lambda: BEGINNING_MS, progress=lambda _: None, stop=lambda: False)
        await engine.close()
        found = stored_in(lay_out(files_in(data_dir / "db"), folder / "cut"))
        assert {agent: nameless(state) for agent, state in found.items()} == {
            agent: nameless(state) for agent, state in end.items()
        }, cut


def put_marker(finished: Path, data_dir: Path) -> None:
    """Leave the marker of a finished migration, as if it had been of this data directory."""
    marker = read_marker(finished)
    assert marker is not None
    sources = identify({name: data_dir / "db" / name for name in marker.sources})
    write_marker(data_dir, msgspec.structs.replace(marker, sources=sources))


def nameless(state: State) -> State:
    """Return a state without what is new with every migration."""
    return frozenset(replace(session, session_id="") for session in state)


def test_a_store_that_does_not_wait_for_the_disk_is_found_out(careless: Life, folder: Path) -> None:
    """The same look at a daemon whose commits are not synced finds changes lost."""

    def find_losses() -> None:
        for cut in cuts(careless, 1_000):
            cut.check(folder / "cut")

    with pytest.raises(AssertionError, match="what was synced"):
        find_losses()
