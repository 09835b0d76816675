"""Databases are read in whatever state a killed program left them; what cannot be read stops the start-up."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from migrations import MigrationFailedError
from migrations.legacy import open_for_reading
from tests.legacy_dirs import BEGINNING_MS, FILESTORE_SCHEMA, LegacyDir, output
from tests.migrations.conftest import BUSY_MS, Migration, Open, names_in, tree

KILLED_IN_TRANSACTION = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute(sys.argv[2])
connection.execute("CREATE TABLE filler (a)")
for _ in range(300):
    connection.execute("INSERT INTO filler VALUES (randomblob(3000))")
os._exit(9)
"""
KILLED_AFTER_COMMIT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute(sys.argv[2])
connection.commit()
os._exit(9)
"""


def kill(script: str, database: Path, statement: str) -> None:
    """Let a program die that has just done something to a database."""
    died = subprocess.run([sys.executable, "-c", script, str(database), statement], check=False)
    assert died.returncode == 9


def companion(database: Path, suffix: str) -> bytes:
    """Read what lies beside a database; nothing where it is missing."""
    path = database.with_name(database.name + suffix)
    return path.read_bytes() if path.exists() else b""


def one_block(data_dir: Path, *, wal: bool) -> None:
    """Make a directory with one block."""
    with LegacyDir(data_dir, wal=wal) as legacy:
        legacy.block("b", "x")
        legacy.session("b", "b")


async def test_a_hot_journal_of_filestore_is_read_from_a_copy(data_dir: Path, open_store: Open) -> None:
    """What was cut off is not seen, database and journal stay as they are, and the copy is gone afterwards."""
    one_block(data_dir, wal=False)
    filestore = data_dir / "db" / "filestore.db"
    kill(KILLED_IN_TRANSACTION, filestore, "UPDATE db_file_data SET data = 'cut off'")
    before = filestore.read_bytes(), companion(filestore, "-journal")
    assert before[1]
    migration = await open_store()
    run = await migration.run()
    assert run.failures == {}
    assert (await migration.zones())["agent:x:current"]["output"][0] == output("b")
    assert (filestore.read_bytes(), companion(filestore, "-journal")) == before
    assert names_in(data_dir) == {"db", "migration_agent_zones_v1.flag"}
    assert (await migration.run()).outcomes[0] == "gated by marker"


async def test_a_hot_journal_of_objects_is_rolled_back_once(data_dir: Path, open_store: Open) -> None:
    """SQLite may do that for this one: promotion writes to it anyway."""
    one_block(data_dir, wal=False)
    objects = data_dir / "db" / "objects.db"
    kill(KILLED_IN_TRANSACTION, objects, "DELETE FROM db_block")
    assert companion(objects, "-journal")
    migration = await open_store()
    assert (await migration.run()).blocks.archives_written == 1
    assert not companion(objects, "-journal")
    assert (await migration.run()).outcomes[0] == "gated by marker"


async def test_a_dry_run_rolls_nothing_back(data_dir: Path, open_store: Open) -> None:
    """Both databases are read from copies, with their journals."""
    one_block(data_dir, wal=False)
    for name, statement in (("objects", "DELETE FROM db_block"), ("filestore", "DELETE FROM db_file_data")):
        kill(KILLED_IN_TRANSACTION, data_dir / "db" / f"{name}.db", statement)
    before = tree(data_dir)
    migration = Migration(data_dir, (await open_store()).engine)
    plan = await migration.plan(store=False)
    assert plan.blocks.archives_written == 1
    after = tree(data_dir)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name not in before} <= {f"db/zones.db{suffix}" for suffix in ("", "-wal", "-shm")}


@pytest.mark.parametrize("wal", [True, False])
async def test_what_lies_beside_a_linked_database_counts(
    data_dir: Path, tmp_path: Path, open_store: Open, wal: bool
) -> None:
    """SQLite keeps journal and WAL beside the file itself: they are found from a link, in a dry run and by the marker too."""
    one_block(data_dir, wal=wal)
    elsewhere = tmp_path / "elsewhere"
    (data_dir / "db").rename(elsewhere)
    (data_dir / "db").mkdir()
    for name in ("objects.db", "filestore.db"):
        (data_dir / "db" / name).symlink_to(elsewhere / name)
    script = KILLED_AFTER_COMMIT if wal else KILLED_IN_TRANSACTION
    kill(script, elsewhere / "filestore.db", "UPDATE db_file_data SET data = 'changed\n' WHERE name = 'output'")
    expected = b"changed\n" if wal else output("b")
    migration = await open_store()
    assert (await migration.plan()).blocks.archives_written == 1
    assert (await migration.run()).blocks.archives_written == 1
    assert (await migration.zones())["agent:x:current"]["output"][0] == expected
    if wal:
        kill(script, elsewhere / "objects.db", "INSERT INTO db_block SELECT 'c', 1, data FROM db_block")
        assert (await migration.run()).blocks.blocks_scanned == 2


async def test_blocks_may_stand_in_a_table_without_row_ids(data_dir: Path, open_store: Open) -> None:
    """Row order is then that of the key."""
    one_block(data_dir, wal=False)
    with closing(sqlite3.connect(data_dir / "db" / "objects.db")) as objects:
        objects.execute("CREATE TABLE moved (oid TEXT PRIMARY KEY, version INTEGER, data TEXT) WITHOUT ROWID")
        objects.execute("INSERT INTO moved SELECT * FROM db_block")
        objects.execute("DROP TABLE db_block")
        objects.execute("ALTER TABLE moved RENAME TO db_block")
        objects.commit()
    migration = await open_store()
    assert (await migration.run()).blocks.archives_written == 1


@pytest.mark.parametrize("index", [True, False])
async def test_a_wal_that_was_left_counts(data_dir: Path, open_store: Open, index: bool) -> None:
    """With its index or without one, what was committed there is read, and stays there."""
    one_block(data_dir, wal=True)
    filestore, objects = data_dir / "db" / "filestore.db", data_dir / "db" / "objects.db"
    kill(KILLED_AFTER_COMMIT, filestore, "UPDATE db_file_data SET data = 'in the WAL\n' WHERE name = 'output'")
    kill(KILLED_AFTER_COMMIT, objects, """UPDATE db_block SET data = replace(data, '"x"', '"in-wal"')""")
    if not index:
        filestore.with_name("filestore.db-shm").unlink()
    before = filestore.read_bytes(), companion(filestore, "-wal")
    assert before[1]
    migration = await open_store()
    await migration.run()
    assert (await migration.zones())["agent:in-wal:current"]["output"][0] == b"in the WAL\n"
    assert (filestore.read_bytes(), companion(filestore, "-wal")) == before
    assert (await migration.run()).outcomes[0] == "gated by marker"


async def test_a_running_program_does_not_keep_us_from_reading(data_dir: Path, open_store: Open) -> None:
    """A program that holds a WAL database open, in a transaction even, is no obstacle."""
    one_block(data_dir, wal=True)
    with closing(sqlite3.connect(data_dir / "db" / "filestore.db", isolation_level=None)) as running:
        running.execute("BEGIN IMMEDIATE")
        running.execute("DELETE FROM db_file_data")
        migration = await open_store()
        assert (await migration.run()).blocks.archives_written == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.parametrize("name", ["filestore.db", "objects.db"])
@pytest.mark.parametrize("wal", [True, False])
def test_a_directory_that_cannot_be_written_is_read(tmp_path: Path, name: str, wal: bool) -> None:
    """A WAL database without its WAL needs a copy there; the copy is made elsewhere."""
    one_block(tmp_path / "data", wal=wal)
    scratch = tmp_path / "scratch"
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o005 != 0o005:
            path.chmod(0o755)
    scratch.mkdir()
    os.chown(scratch, 65_534, 65_534)
    os.seteuid(65_534)
    try:
        path = tmp_path / "data" / "db" / name
        database = open_for_reading(path, scratch / "copies", only_copy=False, busy_ms=BUSY_MS)
        assert database.columns("db_block" if name == "objects.db" else "db_wave_file")
        assert (database.opened_path != path) == wal
        database.close()
    finally:
        os.seteuid(0)


def break_columns(table: str, column: str) -> str:
    """Return the statement that takes a column away."""
    return f"ALTER TABLE {table} RENAME COLUMN {column} TO something_else"


@pytest.mark.parametrize(
    ("name", "statement", "said"),
    [
        ("objects.db", break_columns("db_block", "oid"), "db_block lacks the column oid"),
        ("objects.db", break_columns("db_block", "data"), "db_block lacks the column data"),
        ("objects.db", break_columns("db_agent_definitions", "is_seeded"), "lacks the column is_seeded"),
        ("objects.db", break_columns("db_agent_instances", "definition_id"), "lacks the column definition_id"),
        ("objects.db", break_columns("db_agent_content", "agent_id"), "lacks the column agent_id"),
        ("filestore.db", break_columns("db_wave_file", "zoneid"), "lacks the column zoneid"),
        ("filestore.db", break_columns("db_wave_file", "size"), "lacks the column size"),
        ("filestore.db", break_columns("db_wave_file", "modts"), "lacks the column modts"),
        ("filestore.db", break_columns("db_file_data", "data"), "lacks the column data"),
        ("filestore.db", "DROP TABLE db_wave_file", "db_wave_file that belongs to it is missing"),
        ("filestore.db", "DROP TABLE db_file_data", "db_file_data that belongs to it is missing"),
    ],
)
async def test_a_table_that_lacks_what_is_needed_stops_the_start_up(
    data_dir: Path, open_store: Open, name: str, statement: str, said: str
) -> None:
    """It says what and where and what to do, a dry run too; mended, the next start goes on."""
    with LegacyDir(data_dir, wal=False) as legacy:
        legacy.block("b", "x")
        legacy.session("b", "b")
        legacy.template("t")
    whole = (data_dir / "db" / name).read_bytes()
    with closing(sqlite3.connect(data_dir / "db" / name)) as connection:
        connection.execute(statement)
    migration = await open_store()
    for attempt in (migration.plan, migration.run, migration.run):
        with pytest.raises(MigrationFailedError, match=said) as caught:
            await attempt(force=True)
        assert str(data_dir / "db" / name) in str(caught.value)
        assert "backup" in str(caught.value)
    (data_dir / "db" / name).write_bytes(whole)
    run = await migration.run()
    assert run.blocks.archives_written + run.blocks.archives_already_present == 1


def not_a_database(path: Path) -> None:
    """Text where a database should be."""
    path.write_bytes(b"this is not a database " * 100)


def torn_header(path: Path) -> None:
    """The first page is gone."""
    path.write_bytes(bytes(4096) + path.read_bytes()[4096:])


def torn_pages(path: Path) -> None:
    """Everything but the first page is garbage."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def a_directory(path: Path) -> None:
    """A directory in its place."""
    path.unlink()
    path.mkdir()


def a_dead_link(path: Path) -> None:
    """A link to nothing."""
    path.unlink()
    path.symlink_to(path.with_name("gone.db"))


@pytest.mark.parametrize("name", ["objects.db", "filestore.db"])
@pytest.mark.parametrize("damage", [not_a_database, torn_header, torn_pages, a_directory, a_dead_link])
async def test_a_file_that_cannot_be_read_stops_the_start_up(
    data_dir: Path, open_store: Open, name: str, damage: object
) -> None:
    """And is never recorded as done."""
    one_block(data_dir, wal=False)
    assert callable(damage)
    damage(data_dir / "db" / name)
    migration = await open_store()
    for attempt in (migration.plan, migration.run):
        with pytest.raises(MigrationFailedError, match="cannot be read"):
            await attempt()
    assert names_in(data_dir) == {"db"}


async def test_an_exclusive_lock_stops_the_start_up(data_dir: Path, open_store: Open) -> None:
    """Blocks that cannot be read now would be missing; the sentence says what to do."""
    one_block(data_dir, wal=False)
    migration = await open_store()
    with closing(sqlite3.connect(data_dir / "db" / "objects.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(MigrationFailedError, match="Close every program that uses it"):
            await migration.run()
    assert (await migration.run()).blocks.archives_written == 1


async def test_a_part_that_cannot_be_read_is_the_failure_of_its_block_alone(data_dir: Path, open_store: Open) -> None:
    """The others go on; the block and the current session that it would seed come with the next start."""
    with LegacyDir(data_dir, wal=False) as legacy:
        for oid in ("older", "newest"):
            legacy.block(oid, "x")
        legacy.session("older", "older")
        legacy.session("newest", "newest", created=BEGINNING_MS + 5)
        legacy.file("newest", "term", b"T" * 60_000)
    filestore = data_dir / "db" / "filestore.db"
    whole = filestore.read_bytes()
    # The chain of pages that holds the rest of the large part leads nowhere from its second page on.
    page = next(at for at in range(4096, len(whole), 4096) if whole[at + 100 : at + 4000] == b"T" * 3900)
    filestore.write_bytes(whole[:page] + b"\x7f\xff\xff\xff" + whole[page + 4 :])
    migration = await open_store()
    run = await migration.run()
    assert set(run.failures) == {"block:newest"}
    assert run.blocks.failures == 1
    assert "malformed" in run.failures["block:newest"]
    assert set(await migration.zones()) == {f"agent:x:archive:{BEGINNING_MS}"}
    filestore.write_bytes(whole)
    run = await migration.run()
    assert (run.blocks.archives_written, run.blocks.current_zones_seeded, run.failures) == (1, 1, {})


async def test_copies_that_a_killed_run_left_are_removed(data_dir: Path, open_store: Open) -> None:
    """They hold conversations."""
    one_block(data_dir, wal=True)
    left = data_dir / "migration_copies"
    left.mkdir()
    (left / "filestore.db").write_bytes(b"half a copy")
    migration = await open_store()
    await migration.run()
    assert not names_in(data_dir) & {"migration_copies"}


@pytest.mark.parametrize("missing", ["db_block", "db_agent_definitions", "db_agent_instances", "db_agent_skills"])
async def test_a_missing_table_means_nothing_of_that_kind(data_dir: Path, open_store: Open, missing: str) -> None:
    """The rest is migrated."""
    with LegacyDir(data_dir, without_tables=(missing,)) as legacy:
        if missing != "db_block":
            legacy.block("b", "t")
            legacy.session("b", "b")
        if missing != "db_agent_definitions":
            legacy.template("t")
        legacy.session("agent:t:archive:5", "archive")
    migration = await open_store()
    run = await migration.run()
    assert run.failures == {}
    assert run.blocks.archives_written == (missing != "db_block")
    assert run.templates.templates_promoted == (missing != "db_agent_definitions")


async def test_databases_without_a_table_have_nothing_to_migrate(data_dir: Path, open_store: Open) -> None:
    """Data that comes later is found in spite of the marker."""
    (data_dir / "db").mkdir()
    for name in ("objects.db", "filestore.db"):
        with closing(sqlite3.connect(data_dir / "db" / name)) as connection:
            connection.execute("PRAGMA user_version = 1")
    migration = await open_store()
    assert (await migration.run()).outcomes[0] == "done"
    assert (await migration.run()).outcomes[0] == "gated by marker"
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.session("b", "b")
    assert (await migration.run()).blocks.archives_written == 1


async def test_a_parts_table_without_rows_needs_no_other(data_dir: Path, open_store: Open) -> None:
    """Neither do files that claim no byte need parts."""
    with LegacyDir(data_dir, without_tables=("db_wave_file",)) as legacy:
        legacy.block("b", "x")
    migration = await open_store()
    assert (await migration.run()).blocks.skipped_no_snapshot == 1
    with closing(sqlite3.connect(data_dir / "db" / "filestore.db")) as connection:
        connection.execute("DROP TABLE db_file_data")
        connection.execute(FILESTORE_SCHEMA[0])
        connection.execute("INSERT INTO db_wave_file (zoneid, name) VALUES ('b', 'output.state.json')")
        connection.commit()
    assert (await migration.run()).blocks.skipped_no_snapshot == 1
