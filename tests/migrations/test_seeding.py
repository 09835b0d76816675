"""Which block seeds an agent's current session, and when none does (LEGACY.md section 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from store.engine import AppendOutput, ArchiveSession, Change, ImportSession, Outcome, WriteState
from store.records import ImportFile
from store.zones import agent_current_zone
from tests.legacy_dirs import BEGINNING_MS, LegacyDir, output
from tests.migrations.conftest import NOW_MS, Open

T = BEGINNING_MS


async def test_the_block_whose_snapshot_changed_last_seeds_the_current_session(
    data_dir: Path, open_store: Open
) -> None:
    """By modts, not by createdts; archive and current are two sessions with ids of their own."""
    with LegacyDir(data_dir) as legacy:
        for oid, created, modified in (("older", T, T + 9), ("later", T + 1, T + 3), ("newest", T + 2, T + 9)):
            legacy.block(oid, "x")
            legacy.session(oid, oid, created=created, modified=modified)
        legacy.block("empty", "x")
        legacy.file("empty", "output.state.json", b"", modified=T + 100)
    migration = await open_store()
    await migration.run()
    zones, ids = await migration.zones(), await migration.session_ids()
    assert zones["agent:x:current"] == zones[f"agent:x:archive:{T}"]
    assert len(set(ids.values())) == len(ids) == 4


async def test_an_empty_current_session_of_ours_makes_way(data_dir: Path, open_store: Open) -> None:
    """A session without a byte is no session with content."""
    with LegacyDir(data_dir) as legacy:
        legacy.session("agent:a:current", "old")
        legacy.block("b", "b")
        legacy.session("b", "block")
    migration = await open_store()
    await migration.engine.apply([WriteState(agent_current_zone(agent), b"", NOW_MS) for agent in ("a", "b")])
    run = await migration.run()
    assert run.blocks.zones_adopted == run.blocks.current_zones_seeded == 1
    assert (await migration.zones())["agent:a:current"]["output"][0] == output("old")


async def test_nothing_is_seeded_where_a_current_session_has_content(data_dir: Path, open_store: Open) -> None:
    """Neither ours nor one taken over from a later build is replaced."""
    with LegacyDir(data_dir) as legacy:
        for agent in ("ours", "adopted"):
            legacy.block(agent, agent)
            legacy.session(agent, "old")
        legacy.file("agent:adopted:current", "output", b"adopted\n")
    migration = await open_store()
    await migration.engine.apply([AppendOutput(agent_current_zone("ours"), b"ours\n", NOW_MS)])
    run = await migration.run()
    zones = await migration.zones()
    assert (run.blocks.current_zones_seeded, run.blocks.archives_written, run.failures) == (0, 2, {})
    assert [zones[f"agent:{agent}:current"]["output"][0] for agent in ("ours", "adopted")] == [b"ours\n", b"adopted\n"]


async def test_a_session_that_was_archived_or_replaced_since_is_not_brought_back(
    data_dir: Path, open_store: Open
) -> None:
    """A newest block that was migrated before seeds nothing, whatever became of the session; a newer one seeds again."""
    with LegacyDir(data_dir) as legacy:
        for oid in ("1", "2"):
            legacy.block(oid, "x")
            legacy.session(oid, oid, created=T + int(oid))
    migration = await open_store()
    await migration.run()
    await migration.engine.apply([ArchiveSession(agent_current_zone("x"), NOW_MS)])
    before = await migration.zones()
    run = await migration.run(force=True)
    assert await migration.zones() == before
    assert (run.blocks.archives_already_present, run.blocks.current_zones_seeded) == (2, 0)
    _add_block(data_dir, "3", T + 3)
    run = await migration.run()
    assert (run.blocks.archives_written, run.blocks.current_zones_seeded) == (1, 1)
    assert (await migration.zones())["agent:x:current"]["output"][0] == output("3")


async def test_an_older_block_that_comes_later_seeds_nothing(data_dir: Path, open_store: Open) -> None:
    """The newest block was migrated before, so the current session is the user's business."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("2", "x")
        legacy.session("2", "2", created=T + 2)
    migration = await open_store()
    await migration.run()
    await migration.engine.apply([ArchiveSession(agent_current_zone("x"), NOW_MS)])
    _add_block(data_dir, "1", T + 1)
    run = await migration.run()
    assert (run.blocks.archives_written, run.blocks.current_zones_seeded) == (1, 0)


def _add_block(data_dir: Path, oid: str, created: int) -> None:
    """Use the old program once more."""
    with LegacyDir(data_dir, again=True) as legacy:
        legacy.block(oid, "x")
        legacy.session(oid, oid, created=created)


def unreadable() -> Iterator[bytes]:
    """Stand for content that cannot be read this once."""
    yield b""
    raise OSError("cannot be read this once")


def refusing(apply: Callable[[Sequence[Change]], object], *, current: bool) -> Callable[[Sequence[Change]], object]:
    """Return an `apply` under which the current sessions, or else the archives, cannot be read to their end."""

    def spoilt(change: Change) -> Change:
        if not isinstance(change, ImportSession) or (change.zone.archived_at_ms is None) != current:
            return change
        first = change.files[0]
        broken = ImportFile(first.name, first.modified_at_ms, lambda: (*first.chunks(), *unreadable()))
        return replace(change, files=(broken, *change.files[1:]))

    return lambda batch: apply([spoilt(change) for change in batch])


@pytest.mark.parametrize("current", [True, False])
async def test_a_seed_and_its_archive_are_both_there_in_the_end(
    data_dir: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch, current: bool
) -> None:
    """An archive is stored only after the session seeded from it, and that is seeded once, archived since or not."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.session("b", "b")
    migration = await open_store()
    with monkeypatch.context() as patched:
        patched.setattr(migration.engine, "apply", refusing(migration.engine.apply, current=current))
        run = await migration.run()
    assert run.failures == {"block:b": "cannot be read this once"}
    assert run.blocks.failures == 1
    archive: list[Outcome] = await migration.engine.apply([ArchiveSession(agent_current_zone("x"), T + 5)])
    assert len(archive) == 1
    assert (await migration.run()).failures == {}
    current_name, seeded_name = "agent:x:current", f"agent:x:archive:{T + 5}"
    assert set(await migration.zones()) == {f"agent:x:archive:{T}", current_name if current else seeded_name}
