"""Old data goes to PostgreSQL once, whichever of its daemons finds it, and whatever happens to the one that migrates."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bench.cluster import execute
from srv.cli import main
from srv.exits import Exit
from tests.legacy_dirs import identifier, populate
from tests.postgres.conftest import Opener
from tests.srv.daemon import Daemon

WAITING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%zonekeeper.' || $1 || '%'"""


@pytest.fixture
def old_dir(tmp_path: Path) -> Path:
    """Return a data directory of an AgentMux installation."""
    directory = tmp_path / "old"
    directory.mkdir()
    populate(directory, blocks=12, agents=4)
    return directory


async def until_waiting(connection: Any, table: str, number: int = 1) -> None:
    """Wait until so many wait for a lock in a table."""
    while await connection.fetchval(WAITING, table) < number:
        pass


@pytest.mark.parametrize("is_killed", [False, True])
async def test_of_two_daemons_one_migrates_and_the_other_waits(
    tmp_path: Path, old_dir: Path, open_engine: Opener, url: str, *, is_killed: bool
) -> None:
    """The turn of one that is killed amid it ends with it: the other goes on, and every session is there once."""
    await (await open_engine(url)).close()
    connection = await asyncpg.connect(url)
    holding = connection.transaction()
    await holding.start()
    # An agent whose row is held stops the first daemon amid its migration.
    await connection.execute("INSERT INTO zonekeeper.agents VALUES ($1)", identifier("agent", 2))
    watching = await asyncpg.connect(url)
    environment = {"ZONEKEEPER_STORE": url}
    shutil.copytree(old_dir, tmp_path / "copy")
    first = Daemon(old_dir, environment=environment)
    await until_waiting(watching, "agents")
    second = Daemon(tmp_path / "copy", environment=environment)
    await until_waiting(watching, "turn")
    assert second.next_line()["event"] == "migrating"
    if is_killed:
        first.kill()
        await until_waiting(watching, "agents", 2)  # what the server has not noticed yet, and the second one
    await holding.rollback()
    for daemon in (second,) if is_killed else (first, second):
        while daemon.next_line()["event"] != "listening":
            pass
        assert daemon.stop() == Exit.STOPPED
    origins = await connection.fetch("SELECT origin, count(*) FROM zonekeeper.zones GROUP BY origin")
    assert {count for _, count in origins} == {1}
    assert (
        len([origin for origin, _ in origins if origin]) == 12 + 4
    )  # and the newest of each agent as its current session
    await watching.close()
    await connection.close()


def test_a_dry_run_makes_nothing_and_the_run_does_what_it_told(
    old_dir: Path, empty_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even a schema; and a marker that speaks of the file beside it does not speak of the database."""

    def migrated(*arguments: str) -> Any:
        assert main(["migrate", "--data-dir", str(old_dir), "--json", *arguments]) == Exit.STOPPED
        return json.loads(capsys.readouterr().out)["migrate_block_zones_v1"]

    asyncio.run(execute(empty_url, "DROP SCHEMA IF EXISTS zonekeeper CASCADE"))
    assert migrated()["outcome"] == "done"
    planned = migrated("--store", empty_url, "--dry-run")
    assert not asyncio.run(has_store(empty_url))
    done = migrated("--store", empty_url)
    assert done["outcome"] == "done"
    assert {**done, "dry_run": True} == planned
    assert migrated("--store", empty_url)["outcome"] == "gated by marker"
    assert migrated()["archives_already_present"] == done["archives_written"] > 0


async def has_store(url: str) -> bool:
    """Tell whether there is a schema of our name."""
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT to_regnamespace('zonekeeper') IS NOT NULL"))
    finally:
        await connection.close()
