"""A dry run says what would happen, and changes no byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from migrations import MIGRATION_MARKER_V1, MigrationFailedError
from store.engine import AppendOutput, WriteState
from store.limits import TIME_MS_MAX
from store.zones import agent_archive_zone, agent_current_zone
from tests.legacy_dirs import BEGINNING_MS, LegacyDir
from tests.migrations.conftest import NOW_MS, Migration, Open, names_in, opened, tree
from tests.migrations.test_interruption import make


async def test_no_byte_changes_where_there_is_no_store(data_dir: Path, open_store: Open) -> None:
    """No file appears either: no store, no marker, no index of a WAL."""
    make(data_dir)
    before = tree(data_dir)
    elsewhere = data_dir.with_name("elsewhere")
    async with opened(elsewhere) as other:
        plan = await Migration(data_dir, other.engine).plan(store=False)
    assert tree(data_dir) == before
    migration = await open_store()
    run = await migration.run()
    assert (plan.blocks, plan.templates) == (run.blocks, run.templates)
    assert all(report.dry_run for report in plan.reports)
    assert plan.outcomes == ("done", "done")


async def test_no_byte_changes_beside_a_store(data_dir: Path, open_store: Open) -> None:
    """What the store holds is taken into account: an agent's session, a template's, one half moved."""
    make(data_dir)
    migration = await open_store()
    await migration.engine.apply(
        [
            AppendOutput(agent_current_zone("a"), b"ours\n", NOW_MS),
            AppendOutput(agent_current_zone("t1"), b"a template's\n", NOW_MS),
            WriteState(agent_current_zone("template-promote-v1-t1"), b"a user's", NOW_MS),
        ]
    )
    zones = await migration.zones()
    before = {name: state for name, state in tree(data_dir).items() if "zones.db-" not in name}
    plan = await migration.plan()
    assert {name: state for name, state in tree(data_dir).items() if "zones.db-" not in name} == before
    assert await migration.zones() == zones
    run = await migration.run()
    assert (plan.blocks, plan.templates) == (run.blocks, run.templates)


async def test_the_marker_gates_a_dry_run_too(data_dir: Path, open_store: Open) -> None:
    """With force it looks again, and says that nothing is left."""
    make(data_dir)
    migration = await open_store()
    await migration.run()
    assert (await migration.plan()).outcomes == ("gated by marker", "nothing to migrate")
    forced = await migration.plan(force=True)
    assert forced.blocks.archives_already_present == 5
    assert not any(report.changed_something for report in forced.reports)


async def test_whether_anything_is_left_to_migrate(data_dir: Path, open_store: Open) -> None:
    """A forced dry run tells, whatever the marker says."""
    make(data_dir)
    migration = await open_store()
    left = [report.changed_something for report in (await migration.plan(force=True)).reports]
    assert left == [True, True]
    await migration.run()
    with LegacyDir(data_dir, again=True) as legacy:
        legacy.raw_block("bad", b"{")
    left = [report.changed_something for report in (await migration.plan(force=True)).reports]
    assert left == [True, False]


async def test_what_cannot_be_read_is_said_before_anything_is_done(data_dir: Path, open_store: Open) -> None:
    """Failures are those of the run."""
    make(data_dir)
    with LegacyDir(data_dir, again=True) as legacy:
        legacy.raw_block("bad", b"{")
    migration = await open_store()
    plan, run = await migration.plan(), await migration.run()
    assert plan.failures == run.failures
    assert set(plan.failures) == {"block:bad"}


@pytest.mark.parametrize("broken", [False, True])
async def test_copies_do_not_stay(
    data_dir: Path, tmp_path: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """They are made in the system's temporary directory, also when the dry run fails."""
    make(data_dir)
    if broken:
        (data_dir / "db" / "objects.db").write_bytes(b"no database" * 1_000)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    migration = await open_store()
    if broken:
        with pytest.raises(MigrationFailedError):
            await migration.plan()
    else:
        await migration.plan()
    assert names_in(temporary) == set()
    assert names_in(data_dir) == {"db"}


async def test_the_end_of_time_is_rehearsed(data_dir: Path, open_store: Open) -> None:
    """Where there is no later millisecond the dry run counts on the one before, as the run does."""
    with LegacyDir(data_dir) as legacy:
        for zone in ("current", f"archive:{TIME_MS_MAX}"):
            legacy.file(f"agent:a:{zone}", "output.state.json", zone.encode(), modified=TIME_MS_MAX)
        for oid in ("1", "2"):
            legacy.block(oid, "a")
            legacy.file(oid, "output.state.json", oid.encode(), created=TIME_MS_MAX)
    migration = await open_store()
    plan, run = await migration.plan(), await migration.run()
    assert (plan.blocks, plan.templates, plan.failures) == (run.blocks, run.templates, run.failures)
    assert (run.blocks.zones_adopted, run.blocks.archives_written, run.failures) == (2, 2, {})


async def test_archives_that_meet_are_rehearsed(data_dir: Path, open_store: Open) -> None:
    """The next free millisecond is free of what the dry run itself put there."""
    with LegacyDir(data_dir) as legacy:
        for oid in ("1", "2", "3"):
            legacy.block(oid, "t")
            legacy.session(oid, oid)
        legacy.template("t")
    migration = await open_store()
    plan = await migration.plan()
    assert (plan.blocks.archives_written, plan.templates.archives_moved) == (3, 3)
    run = await migration.run()
    assert (plan.blocks, plan.templates) == (run.blocks, run.templates)
    archive = agent_archive_zone("template-promote-v1-t", BEGINNING_MS + 2)
    assert await migration.engine.zone_stat(archive) is not None
    assert names_in(data_dir) == {"db", MIGRATION_MARKER_V1, "migration_template_promote_v1.flag"}
