"""The marker gates, and may lie (LEGACY.md section 2)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from migrations import MIGRATION_MARKER_V1, TEMPLATE_PROMOTE_MARKER_V1
from store.engine import MoveSession
from tests.legacy_dirs import LegacyDir
from tests.migrations.conftest import NOW_MS, Migration, Open, names_in, opened, tree


def make(path: Path, *oids: str) -> None:
    """Make a directory with blocks of an agent each."""
    with LegacyDir(path) as legacy:
        for oid in oids:
            legacy.block(oid, f"agent-{oid}")
            legacy.session(oid, oid)


def marker_of(data_dir: Path) -> dict[str, Any]:
    """Read the marker."""
    loaded: dict[str, Any] = json.loads((data_dir / MIGRATION_MARKER_V1).read_bytes())
    return loaded


async def test_the_marker_says_when_what_and_from_which_files(data_dir: Path, open_store: Open) -> None:
    """Time, statistics, identity of the sources, failures by block; readable by its owner only, and nothing beside it."""
    make(data_dir, "1", "2")
    migration = await open_store()
    await migration.run()
    marker = marker_of(data_dir)
    assert marker["migrated_at_ms"] == NOW_MS
    assert marker["stats"]["archives_written"] == 2
    assert marker["failures"] == {}
    path = data_dir / "db" / "objects.db"
    state = path.stat()
    assert marker["sources"]["objects.db"]["path"] == str(path.resolve())
    assert marker["sources"]["objects.db"]["states"][""] == [state.st_size, state.st_ino, state.st_mtime_ns]
    assert (data_dir / MIGRATION_MARKER_V1).stat().st_mode & 0o777 == 0o600
    assert names_in(data_dir) == {"db", MIGRATION_MARKER_V1}


async def test_with_the_marker_a_start_does_nothing(data_dir: Path, open_store: Open) -> None:
    """It does not even open the databases, and changes no file."""
    make(data_dir, "1")
    migration = await open_store()
    await migration.run()
    before = tree(data_dir)
    for name in ("objects.db-shm", "filestore.db-shm"):
        before.pop(f"db/{name}", None)
        (data_dir / "db" / name).unlink(missing_ok=True)
    run = await migration.run()
    assert run.outcomes == ("gated by marker", "nothing to migrate")
    after = tree(data_dir)
    assert {name: after[name] for name in before} == before
    assert "db/filestore.db-shm" not in after


async def test_force_ignores_the_marker(data_dir: Path, open_store: Open) -> None:
    """A forced look finds what is there."""
    make(data_dir, "1")
    migration = await open_store()
    await migration.run()
    assert (await migration.run(force=True)).blocks.archives_already_present == 1


@pytest.mark.parametrize("how", ["replaced", "overwritten", "same size and time", "grown in the WAL"])
async def test_a_database_restored_beside_an_old_marker_is_migrated(
    data_dir: Path, tmp_path: Path, open_store: Open, how: str
) -> None:
    """Whatever way it was restored."""
    make(data_dir, "1")
    migration = await open_store()
    await migration.run()
    make(tmp_path / "backup", "2")
    for name in ("objects.db", "filestore.db"):
        backup, target = tmp_path / "backup" / "db" / name, data_dir / "db" / name
        if how == "replaced":
            backup.replace(target)
        elif how == "overwritten":
            target.write_bytes(backup.read_bytes())
        elif how == "same size and time":
            state = target.stat()
            assert backup.stat().st_size == state.st_size
            os.utime(backup, ns=(state.st_atime_ns, state.st_mtime_ns))
            backup.replace(target)
        else:
            _write_into_wal(backup, target)
    run = await migration.run()
    assert run.blocks.archives_written == 1
    assert (await migration.run()).outcomes[0] == "gated by marker"


def _write_into_wal(source: Path, target: Path) -> None:
    """Let a program die that copied rows, so that they stand in the WAL alone."""
    script = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[2])
connection.execute("ATTACH ? AS other", (sys.argv[1],))
tables = [name for (name,) in connection.execute("SELECT name FROM other.sqlite_master WHERE type = 'table'")]
for table in tables:
    connection.execute(f"INSERT INTO main.{table} SELECT * FROM other.{table}")
connection.commit()
os._exit(9)
"""
    before = target.stat()
    subprocess.run([sys.executable, "-c", script, str(source), str(target)], check=False)
    assert target.stat().st_mtime_ns == before.st_mtime_ns


async def test_a_marker_written_on_an_empty_installation_does_not_gate(data_dir: Path, open_store: Open) -> None:
    """Data that came later is migrated."""
    make(data_dir)
    migration = await open_store()
    assert (await migration.run()).outcomes[0] == "done"
    assert (await migration.run()).outcomes[0] == "gated by marker"
    other = data_dir.with_name("other")
    make(other, "1")
    for name in ("objects.db", "filestore.db"):
        shutil.copyfile(other / "db" / name, data_dir / "db" / name)
    assert (await migration.run()).blocks.archives_written == 1


async def test_no_marker_is_written_without_an_objects_db(data_dir: Path, open_store: Open) -> None:
    """Nor is one believed that was there."""
    make(data_dir, "1")
    migration = await open_store()
    await migration.run()
    (data_dir / "db" / "objects.db").unlink()
    (data_dir / "db" / "objects.db-wal").unlink(missing_ok=True)
    before = (data_dir / MIGRATION_MARKER_V1).read_bytes()
    assert (await migration.run()).outcomes[0] == "done"
    assert (data_dir / MIGRATION_MARKER_V1).read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"migrated_at_ms":1}', b"[" * 100_000, b"1779580800000"]
)
async def test_a_marker_that_is_not_ours_does_not_gate(data_dir: Path, open_store: Open, content: bytes) -> None:
    """The old program's own, a torn one, or rubbish: we look, and write a good one."""
    make(data_dir, "1")
    (data_dir / MIGRATION_MARKER_V1).write_bytes(content)
    migration = await open_store()
    assert (await migration.run()).blocks.archives_written == 1
    assert (await migration.run()).outcomes[0] == "gated by marker"


async def test_a_marker_beside_a_store_made_anew_does_not_gate(data_dir: Path) -> None:
    """Conversations are not lost because somebody removed the store."""
    make(data_dir, "1")
    async with opened(data_dir) as migration:
        await migration.run()
    for path in (data_dir / "db").glob("zones.db*"):
        path.unlink()
    async with opened(data_dir) as migration:
        assert (await migration.run()).blocks.archives_written == 1


async def test_a_marker_that_cannot_be_written_is_no_failure(data_dir: Path, open_store: Open) -> None:
    """The sessions are there; the next start looks again."""
    make(data_dir, "1")
    (data_dir / MIGRATION_MARKER_V1).mkdir()
    migration = await open_store()
    for written in (1, 0):
        run = await migration.run()
        assert (run.blocks.archives_written, run.failures) == (written, {})


async def test_promotion_does_not_make_the_marker_lie(data_dir: Path, open_store: Open) -> None:
    """What we alone wrote to `objects.db` is no reason to look again: a second start changes no file."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.instance("i", "t", "Mine")
        legacy.block("b", "t")
        legacy.session("b", "b")
    migration = await open_store()
    run = await migration.run()
    assert run.templates.templates_promoted == 1
    before = tree(data_dir)
    assert (await migration.run()).outcomes == ("gated by marker", "nothing to migrate")
    assert {n: s for n, s in tree(data_dir).items() if "-shm" not in n and "-wal" not in n} == {
        n: s for n, s in before.items() if "-shm" not in n and "-wal" not in n
    }


async def test_what_another_program_wrote_during_promotion_is_looked_at(
    data_dir: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the marker stays as it was, and does not gate."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.session("agent:t:current", "t")
    migration = await open_store()
    _write_before_apply(migration, data_dir, monkeypatch)
    assert (await migration.run()).templates.templates_promoted == 1
    assert (await migration.run()).blocks.archives_written == 1


def _write_before_apply(migration: Migration, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another program add a block whenever sessions are moved."""
    apply = migration.engine.apply

    async def apply_late(batch: Any) -> Any:
        if any(isinstance(change, MoveSession) for change in batch):
            with LegacyDir(data_dir, again=True) as legacy:
                legacy.block("late", "late")
                legacy.session("late", "late")
        return await apply(batch)

    monkeypatch.setattr(migration.engine, "apply", apply_late)


async def test_the_evidence_of_promotion_is_written_when_something_changed_and_never_read(
    data_dir: Path, open_store: Open
) -> None:
    """It neither gates nor appears without reason."""
    make(data_dir, "1")
    migration = await open_store()
    await migration.run()
    evidence = data_dir / TEMPLATE_PROMOTE_MARKER_V1
    assert not evidence.exists()
    other = data_dir.with_name("other")
    with LegacyDir(other) as legacy:
        legacy.template("agent-1")
    shutil.copyfile(other / "db" / "objects.db", data_dir / "db" / "objects.db")
    evidence.write_bytes(b"rubbish")
    assert (await migration.run()).templates.templates_promoted == 1
    written = json.loads(evidence.read_bytes())
    assert written == {
        "promoted_at_ms": NOW_MS,
        "stats": {
            "templates_scanned": 1,
            "templates_promoted": 1,
            "archives_moved": 1,
            "instances_repointed": 0,
            "failures": 0,
        },
    }
