"""The version of the stored form: steps, and whose file is opened at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from store.errors import StoreRefusedError
from store.sqlite import open_sqlite, schema
from store.sqlite.handles import open_writing
from tests.store.foreign import FILE_NAME, copy_of, meddling, rows

_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"


async def make_store(path: Path) -> None:
    """Make a store and close it."""
    await (await open_sqlite(path)).close()


def left_amid_transaction(path: Path) -> Path:
    """Return a copy of a database as a power cut leaves it amid a large change with a rollback journal."""
    with meddling(path) as connection:
        connection.execute("PRAGMA journal_mode = delete")
        connection.execute("PRAGMA cache_size = 5")  # what does not fit goes to the file before the commit
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE filler (x)")
        connection.execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 99)"
            " INSERT INTO filler SELECT zeroblob(3000) FROM n"
        )
        copy = copy_of(path.parent) / path.name
        connection.execute("ROLLBACK")
    assert copy.with_name(copy.name + "-journal").read_bytes().startswith(bytes.fromhex("d9d505f920a163d7"))
    return copy


def bytes_beside(directory: Path) -> dict[str, bytes]:
    """Return all files of a directory that hold a byte."""
    found = {path.name: path.read_bytes() for path in directory.iterdir()}
    return {name: data for name, data in found.items() if data and not name.endswith("-shm")}


async def test_a_fresh_store_is_the_sum_of_the_steps(tmp_path: Path) -> None:
    """A store made anew has what taking every step by itself makes, one after the other."""
    await make_store(tmp_path / FILE_NAME)
    by_steps = sqlite3.connect(tmp_path / "steps.db")
    for step in schema._STEPS:
        for name in step:
            by_steps.execute(schema._STATEMENTS[name])
    assert by_steps.execute(_TABLES).fetchall() == rows(tmp_path / FILE_NAME, _TABLES)
    by_steps.close()


def test_each_step_can_be_taken_again_where_it_was_cut_off(tmp_path: Path) -> None:
    """A step is undone whole, and taken again it makes what it makes at once."""
    connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    at_once = sqlite3.connect(":memory:")
    for step in schema._STEPS:
        before = connection.execute(_TABLES).fetchall()
        for end in ("ROLLBACK", "COMMIT"):
            assert connection.execute(_TABLES).fetchall() == before
            connection.execute("BEGIN")
            for name in step:
                connection.execute(schema._STATEMENTS[name])
            connection.execute(end)
        for name in step:
            at_once.execute(schema._STATEMENTS[name])
        assert connection.execute(_TABLES).fetchall() == at_once.execute(_TABLES).fetchall()
    connection.close()
    at_once.close()


async def test_the_constant_is_the_files_version(tmp_path: Path) -> None:
    """`user_version` is the number of steps, and the file is marked as ours."""
    await make_store(tmp_path / FILE_NAME)
    assert rows(tmp_path / FILE_NAME, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)] == [(len(schema._STEPS),)]
    assert rows(tmp_path / FILE_NAME, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]


def test_every_statement_of_the_schema_belongs_to_a_step() -> None:
    """No statement of the schema's file is forgotten, and none is taken twice."""
    taken = [name for step in schema._STEPS for name in step]
    assert sorted(taken) == sorted(schema._STATEMENTS)


async def test_opening_again_changes_no_byte(tmp_path: Path) -> None:
    """A store that is up to date is left as it is."""
    await make_store(tmp_path / FILE_NAME)
    before = bytes_beside(tmp_path)
    await make_store(tmp_path / FILE_NAME)
    assert bytes_beside(tmp_path) == before


async def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    """A file of no bytes, as `touch` makes it, becomes a store."""
    path = tmp_path / FILE_NAME
    path.touch()
    await make_store(path)
    assert rows(path, "SELECT count(*) FROM zones") == [(0,)]


async def test_a_store_whose_making_was_interrupted_is_made_to_the_end(tmp_path: Path) -> None:
    """A file that has its write-ahead log and no table yet is a new store."""
    path = tmp_path / FILE_NAME
    open_writing(path).close()
    assert path.stat().st_size > 0
    await make_store(path)
    assert rows(path, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]


async def test_steps_are_taken_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a later step fails the file is as it was before the first."""
    path = tmp_path / FILE_NAME
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_STEPS", (*schema._STEPS, ("broken",)))
        patch.setitem(schema._STATEMENTS, "broken", "CREATE TABLE zones (nothing)")
        with pytest.raises(sqlite3.OperationalError):
            await open_sqlite(path)
    assert rows(path, _TABLES) == []
    assert rows(path, "PRAGMA user_version") == [(0,)]
    await make_store(path)


async def test_a_file_of_an_older_form_gets_the_steps_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further step is taken by the next start, beside what is stored."""
    path = tmp_path / FILE_NAME
    await make_store(path)
    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, ("further",)))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(schema._STEPS))
    monkeypatch.setitem(schema._STATEMENTS, "further", "ALTER TABLE zones ADD COLUMN further TEXT")
    await make_store(path)
    assert rows(path, "PRAGMA user_version") == [(len(schema._STEPS),)]
    assert rows(path, "SELECT further FROM zones") == []
    await make_store(path)


@pytest.mark.parametrize("in_wal", [False, True])
async def test_a_newer_file_is_refused_before_it_is_touched(tmp_path: Path, in_wal: bool) -> None:
    """A clear message with both versions, and every byte as it was, what a killed program left in its log included."""
    path = tmp_path / FILE_NAME
    await make_store(path)
    with meddling(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
        connection.execute("CREATE TABLE newer (x)")
        if in_wal:
            path = copy_of(tmp_path) / FILE_NAME
    before = bytes_beside(path.parent)
    with pytest.raises(
        StoreRefusedError, match=rf"newer version.*{schema.SCHEMA_VERSION + 1}.*{schema.SCHEMA_VERSION}"
    ):
        await open_sqlite(path)
    assert bytes_beside(path.parent) == before


async def test_a_change_cut_off_in_a_store_without_a_log_is_undone(tmp_path: Path) -> None:
    """As in a backup put in place that somebody has worked on: it has a journal, which a read-only handle cannot obey."""
    path = tmp_path / FILE_NAME
    await make_store(path)
    tables = rows(path, _TABLES)
    path = left_amid_transaction(path)
    await make_store(path)
    assert rows(path, _TABLES) == tables
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert bytes_beside(path.parent).keys() == {FILE_NAME}


async def test_a_newer_file_is_refused_amid_a_change_too(tmp_path: Path) -> None:
    """Its journal is left for the program that can go on with it."""
    path = tmp_path / FILE_NAME
    await make_store(path)
    with meddling(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    path = left_amid_transaction(path)
    before = bytes_beside(path.parent)
    with pytest.raises(StoreRefusedError, match="newer version"):
        await open_sqlite(path)
    assert bytes_beside(path.parent) == before


@pytest.mark.parametrize("is_new", [False, True])
async def test_a_foreign_database_is_refused_amid_a_change_too(tmp_path: Path, is_new: bool) -> None:
    """Also where that change is its first, as long as it has made more than we would have."""
    path = tmp_path / FILE_NAME
    if not is_new:
        with meddling(path) as connection:
            connection.execute("CREATE TABLE zones (x)")
    path = left_amid_transaction(path)
    before = bytes_beside(path.parent)
    with pytest.raises(StoreRefusedError, match="another program"):
        await open_sqlite(path)
    assert bytes_beside(path.parent) == before


@pytest.mark.parametrize("version", [0, 1, 7])
async def test_a_foreign_database_is_called_foreign_whatever_its_version(tmp_path: Path, version: int) -> None:
    """A database that is not marked as ours is refused as another program's, and no byte of it changes."""
    path = tmp_path / FILE_NAME
    with meddling(path) as connection:
        connection.execute("CREATE TABLE zones (x)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = bytes_beside(tmp_path)
    with pytest.raises(StoreRefusedError, match="another program"):
        await open_sqlite(path)
    assert bytes_beside(tmp_path) == before


async def test_a_database_with_another_mark_is_foreign(tmp_path: Path) -> None:
    """Without a table, too: it is somebody's."""
    path = tmp_path / FILE_NAME
    with meddling(path) as connection:
        connection.execute("PRAGMA application_id = 5")
    with pytest.raises(StoreRefusedError, match="another program"):
        await open_sqlite(path)


@pytest.mark.parametrize(
    "garbage", [b"xy", b"not a database at all " * 1_000, b"SQLite format 3\x00" + b"\xff" * 4_080, b"\x00" * 8_192]
)
async def test_what_is_no_database_is_refused(tmp_path: Path, garbage: bytes) -> None:
    """Rubbish in the store's place is refused in words for people, and is as it was."""
    path = tmp_path / FILE_NAME
    path.write_bytes(garbage)
    with pytest.raises(StoreRefusedError, match="restore it from a backup"):
        await open_sqlite(path)
    assert path.read_bytes() == garbage


async def test_a_truncated_store_is_refused(tmp_path: Path) -> None:
    """A store cut in the middle of its tables is damaged, and is not made anew."""
    path = tmp_path / FILE_NAME
    await make_store(path)
    path.write_bytes(path.read_bytes()[:3_000])
    before = path.read_bytes()
    with pytest.raises(StoreRefusedError):
        await open_sqlite(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["a b", "50%", "what?", "#1", "ä;'\"&=", "%41"])
async def test_any_directory_name_will_do(tmp_path: Path, name: str) -> None:
    """A path is not an address: characters that mean something in a URI mean themselves."""
    directory = tmp_path / name
    directory.mkdir()
    await make_store(directory / FILE_NAME)
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]
