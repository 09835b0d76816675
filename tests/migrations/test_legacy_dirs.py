"""The generator of old data directories makes what LEGACY.md describes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.legacy_dirs import BEGINNING_MS, identifier, lacks_snapshot, output
from tests.migrations.conftest import Open, rows


def make(data_dir: Path, blocks: int, agents: int) -> None:
    """Make a directory as people do."""
    numbers = ["--blocks", str(blocks), "--agents", str(agents)]
    command = [sys.executable, "-m", "tests.legacy_dirs", str(data_dir), *numbers]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


async def test_200_blocks_of_20_agents(data_dir: Path, open_store: Open) -> None:
    """Each agent has ten blocks, nine of them with a snapshot; the newest of those is its current session."""
    make(data_dir, blocks=200, agents=20)
    migration = await open_store()
    run = await migration.run()
    stats = run.blocks
    assert (stats.blocks_scanned, stats.archives_written, stats.skipped_no_snapshot) == (200, 180, 20)
    assert (stats.current_zones_seeded, stats.failures, stats.files_damaged) == (20, 0, 0)
    zones = await migration.zones()
    for agent in range(20):
        definition_id = identifier("agent", agent)
        numbers = [number for number in range(agent, 200, 20) if not lacks_snapshot(number, 20)]
        archives = await migration.engine.list_archives(definition_id, 100, None)
        assert [each.archived_at_ms for each in archives] == [BEGINNING_MS + n * 60_000 for n in reversed(numbers)]
        newest = numbers[-1]
        expected = output(f"question {newest} of agent {agent}", lines=5 + newest % 7)
        assert zones[f"agent:{definition_id}:current"]["output"][0] == expected


def test_data_is_stored_as_the_old_program_stores_it(data_dir: Path) -> None:
    """The JSON of a block is a BLOB value in a TEXT column, and the databases are in WAL mode."""
    make(data_dir, blocks=3, agents=2)
    objects = data_dir / "db" / "objects.db"
    assert rows(objects, "SELECT DISTINCT typeof(data) FROM db_block") == [("blob",)]
    assert rows(objects, "PRAGMA journal_mode") == [("wal",)]
