"""Directories written by the program of May 2026, beside what its own migrations made of them (LEGACY.md)."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from migrations.records import PROMOTED_ID_PREFIX
from tests.migrations.conftest import NOW_MS, opened

FROZEN = Path(__file__).parent.parent / "data" / "legacy"
CASES = sorted(path.name for path in FROZEN.iterdir() if path.is_dir())
DIED = "b19b_absurd_size"
"""Here the old program died; ours goes on."""


def expected(case: str) -> dict[str, Any]:
    """Read what the old program made of a case."""
    loaded: dict[str, Any] = json.loads((FROZEN / case / "expected.json").read_text())
    return loaded


def old_zones(data_dir: Path) -> dict[tuple[str, str], tuple[str, int]]:
    """Read digest and time of change of every old file, by zone and name."""
    statement = """SELECT f.zoneid, f.name, f.modts, group_concat(hex(d.data), '') FROM db_wave_file f
        LEFT JOIN db_file_data d ON d.zoneid = f.zoneid AND d.name = f.name GROUP BY f.zoneid, f.name"""
    with closing(sqlite3.connect(data_dir / "db" / "filestore.db")) as connection:
        return {
            (zone, name): (hashlib.sha256(bytes.fromhex(data or "")).hexdigest(), modified)
            for zone, name, modified, data in connection.execute(statement)
        }


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """One of the cases, and a copy of its directory."""
    shutil.copytree(FROZEN / request.param / "input", tmp_path / "data")
    return request.param, tmp_path / "data"


async def test_zones_are_those_of_the_old_program(case: tuple[str, Path]) -> None:
    """Names and bytes are the same, and the block's output travels with its snapshot."""
    name, data_dir = case
    old = old_zones(data_dir)
    wanted = {
        zone["zoneid"]: {file["name"]: file["sha256"] for file in zone["files"]}
        for zone in expected(name)["zones"]
        if zone["zoneid"].startswith("agent:")
    }
    outputs = {digests[0] for (_, file), digests in old.items() if file == "output"}
    async with opened(data_dir) as migration:
        await migration.run()
        zones = await migration.zones()
    assert set(wanted) <= set(zones) if name == DIED else set(wanted) == set(zones)
    for zone, files in zones.items():
        digests = {file: hashlib.sha256(content).hexdigest() for file, (content, _) in files.items()}
        added = digests.keys() - wanted.get(zone, digests).keys()
        assert added <= {"output"}
        assert all(digests[file] in outputs for file in added)
        assert {file: digests[file] for file in wanted.get(zone, {})} == wanted.get(zone, {})


async def test_snapshot_and_output_of_an_archive_come_from_one_block(case: tuple[str, Path]) -> None:
    """What travels with a snapshot is the output of the zone that the snapshot came from, with the times of both."""
    _, data_dir = case
    old = old_zones(data_dir)
    by_zone: dict[str, dict[str, tuple[str, int]]] = {}
    for (zone, file), found in old.items():
        by_zone.setdefault(zone, {})[file] = found
    async with opened(data_dir) as migration:
        await migration.run()
        zones = await migration.zones()
    whole = [sorted(files.items()) for files in by_zone.values()]
    for files in zones.values():
        digests = {name: (hashlib.sha256(data).hexdigest(), modified) for name, (data, modified) in files.items()}
        parts = [items for items in whole if set(items) <= set(digests.items())]
        assert parts, "no old zone is contained in this one"


async def test_statistics_are_those_of_the_old_program(case: tuple[str, Path]) -> None:
    """Both migrations count what the old program counted, and a second run does nothing."""
    name, data_dir = case
    async with opened(data_dir) as migration:
        run = await migration.run()
        again = await migration.run()
    old = json.loads((FROZEN / name / "stats.json").read_text())["run1"]
    if name == DIED:
        assert run.blocks.archives_written == run.blocks.current_zones_seeded == 3
        assert run.blocks.files_damaged == 1
    else:
        assert {field: getattr(run.blocks, field) for field in old["blocks"]} == old["blocks"]
        assert {field: getattr(run.templates, field) for field in old["templates"]} == old["templates"]
    assert again.outcomes == ("gated by marker", "nothing to migrate")


async def test_definitions_and_instances_are_those_of_the_old_program(case: tuple[str, Path]) -> None:
    """`objects.db` holds the same definitions, and the same instances pointing to them."""
    name, data_dir = case
    async with opened(data_dir) as migration:
        await migration.run()
    with closing(sqlite3.connect(data_dir / "db" / "objects.db")) as connection:
        connection.row_factory = sqlite3.Row
        found = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM db_agent_definitions")}
        instances = dict(connection.execute("SELECT id, definition_id FROM db_agent_instances"))
    wanted = {row["id"]: row for row in expected(name)["definitions"]}
    assert found.keys() == wanted.keys()
    for definition_id, row in wanted.items():
        ours = found[definition_id]
        if definition_id.startswith(PROMOTED_ID_PREFIX) and ours["created_at"] != row["created_at"]:
            assert ours["created_at"] == ours["updated_at"] == NOW_MS
            ours |= {"created_at": row["created_at"], "updated_at": row["updated_at"]}
        assert ours == row
    assert instances == {row["id"]: row["definition_id"] for row in expected(name)["instances"]}


async def test_filestore_is_the_same_afterwards(case: tuple[str, Path]) -> None:
    """Not a byte of `filestore.db` changes, nor its time, and no other file of it holds anything."""
    _, data_dir = case
    filestore = data_dir / "db" / "filestore.db"
    before = (filestore.read_bytes(), filestore.stat().st_mtime_ns)
    async with opened(data_dir) as migration:
        await migration.run()
        await migration.run(force=True)
    assert (filestore.read_bytes(), filestore.stat().st_mtime_ns) == before
    assert (
        not filestore.with_name("filestore.db-wal").exists()
        or not filestore.with_name("filestore.db-wal").stat().st_size
    )


async def test_a_forced_second_run_changes_nothing(case: tuple[str, Path]) -> None:
    """Looking again finds every session by its origin."""
    _, data_dir = case
    async with opened(data_dir) as migration:
        run = await migration.run()
        before = await migration.zones(), await migration.session_ids()
        again = await migration.run(force=True)
        assert (await migration.zones(), await migration.session_ids()) == before
    assert again.blocks.archives_already_present == run.blocks.archives_written
    assert again.blocks.archives_written == again.blocks.current_zones_seeded == again.blocks.zones_adopted == 0
    assert again.templates.templates_scanned == 0


async def test_a_dry_run_reports_what_the_run_then_does(case: tuple[str, Path]) -> None:
    """Without a store, with an empty one, and with one that has everything."""
    _, data_dir = case
    async with opened(data_dir) as migration:
        without, empty = await migration.plan(store=False), await migration.plan()
        run = await migration.run()
        afterwards = await migration.plan(force=True)
    for plan in (without, empty):
        assert (plan.blocks, plan.templates, plan.outcomes) == (run.blocks, run.templates, run.outcomes)
    assert not any(report.changed_something for report in afterwards.reports)
