"""Checking a store: each kind of damage has its finding, and nothing that is sound has one, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store import checks
from store.checks import FileName, Finding, Position
from store.engine import ImportSession
from store.limits import LINE_PART_BYTES_MAX, PART_BYTES, Limits
from store.lines import count_lines
from store.parts import Part
from store.records import ImportFile
from store.sqlite import check, handles
from store.sqlite.check import FINDINGS_MAX, StoreCheck, check_store
from store.sqlite.looking import look_at
from store.sqlite.schema import APPLICATION_ID
from store.sqlite.structure import check_structure, has_wal_reset_bug
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone
from tests.conftest import BEGINNING_MS, ENGINE_KINDS, Clock, OpenStore
from tests.store.foreign import FILE_NAME, meddling, size_of, wal_of

LINES = [f"{number:05d}".ljust(999, ".") for number in range(400)]
SNAPSHOT = b"snapshot " * 40_000
ZONE = "agent:maks:current"
OTHER = f"agent:other:archive:{BEGINNING_MS}"

Act = Callable[[], object]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a store with sessions of every kind, and close it."""
    directory = tmp_path_factory.mktemp("filled")
    asyncio.run(_fill(directory))
    return directory / FILE_NAME


async def _fill(directory: Path) -> None:
    store = OpenStore(ENGINE_KINDS[0], directory, Clock(), Limits())
    await store.open()
    for agent in ("maks", "other"):
        await store.sessions.write_session_state(agent, SNAPSHOT)
        await store.sessions.append_session_output(agent, LINES)
    for number in range(300):
        await store.sessions.append_session_output("maks", ["", " ", f"{number}" * (number % 7 * 40)])
    await store.sessions.write_session_state("maks", SNAPSHOT[:200_000] + b"changed", covers_line=12)
    await store.sessions.archive_session("other")
    files = (_file(OUTPUT_FILE, b"line\n\nunterminated"), _file(SNAPSHOT_FILE, b""), _file("notes", b"n" * 70_000))
    imported = [(Zone("imported"), files), (Zone("none"), ())]
    await store.engine.apply([ImportSession(zone, files, BEGINNING_MS) for zone, files in imported])
    await store.close()


def _file(name: str, content: bytes) -> ImportFile:
    return ImportFile(name, BEGINNING_MS, lambda: [content])


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    """Return a store that is filled, and that nobody has open."""
    return Path(shutil.copy(filled, tmp_path))


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[OpenStore]:
    """Open it, as the daemon does."""
    store = OpenStore(ENGINE_KINDS[0], path.parent, clock, Limits())
    await store.open()
    yield store
    await store.close()


def damage(path: Path, *statements: str) -> None:
    """Put a fault into a store that nobody has open, and leave no log behind."""
    with meddling(path) as connection:
        connection.execute("PRAGMA writable_schema = 1")
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def words(found: StoreCheck) -> list[str]:
    """Return the words of what was found, each once."""
    return sorted({finding.word for finding in found.findings})


def meddle_once(act: Act, at: int = 1) -> Callable[[str, int, int], None]:
    """Return a progress that acts when so many parts of content have been read."""
    parts = 0

    def progress(what: str, _done: int, _total: int) -> None:
        nonlocal parts
        parts += what == "content"
        if what == "content" and parts == at:
            act()

    return progress


@pytest.mark.parametrize("slice_bytes", [1, 100_000, 64 << 20])
def test_a_sound_store_has_no_findings(path: Path, slice_bytes: int) -> None:
    """Whatever was written by every verb is as it should be, in slices of any size; all of it is counted."""
    found = check_store(path, slice_bytes=slice_bytes)
    assert (found.findings, found.findings_left_off, found.is_open, found.is_sound) == ([], 0, True, True)
    assert (found.sessions, found.archives, found.files, found.journal_mode) == (4, 1, 7, "wal")
    with closing(sqlite3.connect(path)) as connection:
        counted = connection.execute("SELECT count(*), sum(size_bytes) FROM file_parts").fetchone()
    assert (found.parts, found.content_bytes) == counted
    assert found.database_bytes == path.stat().st_size


OUTPUT = f"WHERE name = 'output' AND zone_id = 1 AND start_byte = {64 * 1000 + 1000}"
STATE = f"WHERE name = 'output.state.json' AND zone_id = 2 AND start_byte = {PART_BYTES}"
FLIP = "UPDATE file_parts SET data = CAST(substr(data, 1, 100) || x'ff' || substr(data, 102) AS BLOB)"


@pytest.mark.parametrize(
    ("statement", "word", "zone", "file", "start_byte"),
    [
        (f"{FLIP} {OUTPUT}", "PART_DAMAGED", ZONE, "output", 65_000),
        (f"{FLIP} {STATE}", "PART_DAMAGED", OTHER, "output.state.json", PART_BYTES),
        (f"UPDATE file_parts SET data = x'' {OUTPUT}", "PART_DAMAGED", ZONE, "output", 65_000),
        (f"UPDATE file_parts SET data = CAST(data AS TEXT) {OUTPUT}", "PART_DAMAGED", ZONE, "output", 65_000),
        (f"UPDATE file_parts SET data = 7 {OUTPUT}", "PART_DAMAGED", ZONE, "output", 65_000),
        (f"UPDATE file_parts SET crc32 = crc32 + 1 {OUTPUT}", "PART_DAMAGED", ZONE, "output", 65_000),
        (f"UPDATE file_parts SET codec = 9 {OUTPUT}", "PART_DAMAGED", ZONE, "output", 65_000),
        (f"UPDATE file_parts SET revision = 'x' {OUTPUT}", "PART_DAMAGED", ZONE, "output", 65_000),
        (f"DELETE FROM file_parts {OUTPUT}", "PART_MISSING", ZONE, "output", 65_000),
        (f"DELETE FROM file_parts {STATE}", "PART_MISSING", OTHER, "output.state.json", PART_BYTES),
        ("DELETE FROM file_parts WHERE zone_id = 1 AND start_byte = 0 AND name = 'output'", "PART_MISSING", ZONE, "output", 0),
        (f"UPDATE file_parts SET start_byte = start_byte - 10 {OUTPUT}", "PART_MISPLACED", ZONE, "output", 64_990),
        (f"UPDATE file_parts SET line_count = line_count + 1 {OUTPUT}", "LINES_MISCOUNTED", ZONE, "output", 65_000),
        (f"UPDATE file_parts SET first_line = first_line + 1 {OUTPUT}", "LINES_MISCOUNTED", ZONE, "output", 65_000),
        (f"UPDATE file_parts SET line_count = 1 {STATE}", "LINES_MISCOUNTED", OTHER, "output.state.json", PART_BYTES),
        (f"UPDATE file_parts SET first_line = 1 {STATE}", "LINES_MISCOUNTED", OTHER, "output.state.json", PART_BYTES),
        (f"UPDATE file_parts SET revision = 0 {STATE}", "REVISION_WRONG", OTHER, "output.state.json", PART_BYTES),
        (f"UPDATE file_parts SET revision = 2 {STATE}", "REVISION_WRONG", OTHER, "output.state.json", len(SNAPSHOT)),
    ],
)  # fmt: skip
def test_damage_to_a_part_is_found_and_named(
    path: Path, statement: str, word: str, zone: str, file: str, start_byte: int
) -> None:
    """The finding says which zone, which file, at which byte, and what to do; the rest of the store has none."""
    damage(path, statement)
    found = check_store(path)
    (first, *_) = [finding for finding in found.findings if finding.word == word]
    assert (first.zone, first.file, first.start_byte, first.is_wrong) == (zone, file, start_byte, True)
    assert f"zone {zone}, file {file}: " in first.message
    assert first.hint == checks.RESTORE
    assert {(finding.zone, finding.file) for finding in found.findings if finding.check != "structure"} == {
        (zone, file)
    }
    assert not found.is_sound


def test_a_damaged_snapshot_of_a_current_session_is_mended_by_the_next_write(path: Path) -> None:
    """And so the hint says, for that file alone."""
    damage(path, f"{FLIP} WHERE zone_id = 1 AND start_byte = 0")
    found = {finding.file: finding.hint for finding in check_store(path).findings}
    assert found == {"output": checks.RESTORE, "output.state.json": checks.WRITE_AGAIN}


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE zones SET zone = 'agent:maks:Current' WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET zone = 'agent:ma ks:current' WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET definition_id = 'another' WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET archived_at_ms = 5 WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET archived_at_ms = archived_at_ms + 1 WHERE id = 2", "ZONE_WRONG"),
        ("UPDATE zones SET session_id = '' WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET created_at_ms = 'long ago' WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET covers_line = -1 WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET covers_line = 9007199254740992 WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET covers_line = 1.5 WHERE id = 1", "ZONE_WRONG"),
        ("UPDATE zones SET preview = x'00' WHERE id = 2", "ZONE_WRONG"),
        ("UPDATE zones SET node_count = -1 WHERE id = 2", "ZONE_WRONG"),
        ("UPDATE zones SET definition_id = 'maks', archived_at_ms = NULL WHERE id = 3", "ZONE_TWICE"),
        ("PRAGMA foreign_keys = 0; DELETE FROM zones WHERE id = 1", "PARTS_WITHOUT_ZONE"),
        ("DROP INDEX zones_by_agent", "SCHEMA_DIFFERS"),
        ("CREATE TRIGGER t AFTER INSERT ON zones BEGIN SELECT 1; END", "SCHEMA_FOREIGN"),
        ("UPDATE sqlite_master SET sql = replace(sql, 'node_count', 'nodes_count') WHERE name = 'zones'", "SCHEMA_DIFFERS"),
    ],
)  # fmt: skip
def test_damage_to_rows_and_to_the_schema_is_found(path: Path, statement: str, word: str) -> None:
    """Names that disagree, sessions twice, content without a session, tables and indexes that are not ours."""
    damage(path, *statement.split("; ") if "PRAGMA" in statement else [statement])
    found = check_store(path)
    assert word in words(found)
    assert not found.is_sound


def test_a_session_id_twice_is_found_though_an_index_should_keep_it_out(path: Path) -> None:
    """The table is looked at, not the index."""
    schema = "UPDATE sqlite_master SET sql = replace(sql, 'session_id     TEXT    NOT NULL UNIQUE', 'session_id TEXT NOT NULL')"
    with meddling(path) as connection:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(f"{schema} WHERE name = 'zones'")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'sqlite_autoindex_zones_2'")
        connection.execute(
            "UPDATE sqlite_master SET name = 'sqlite_autoindex_zones_2' WHERE name = 'sqlite_autoindex_zones_3'"
        )
    with meddling(path) as connection:
        connection.execute("UPDATE zones SET session_id = (SELECT session_id FROM zones WHERE id = 2)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert {"SESSION_TWICE", "SCHEMA_DIFFERS"} <= set(words(check_store(path)))


def test_an_object_of_somebody_else_is_a_warning(path: Path) -> None:
    """A view changes nothing, so nothing is wrong; statistics that SQLite keeps for itself are not even that."""
    damage(path, "ANALYZE")
    assert check_store(path).findings == []
    damage(path, "CREATE VIEW mine AS SELECT * FROM zones")
    found = check_store(path)
    assert (words(found), found.is_sound) == (["SCHEMA_FOREIGN"], True)


def test_a_damaged_index_is_found_and_can_be_made_anew(path: Path) -> None:
    """SQLite's own check is part of ours, and the hint says how an index is mended."""
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'zones_by_agent'").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\x0a\0\0\0\0\x10\0\0" + bytes(4088))  # a leaf of an index that holds nothing
    found = check_store(path)
    assert words(found) == ["STRUCTURE_DAMAGED"]
    assert all("REINDEX" in finding.hint for finding in found.findings)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("REINDEX")
    assert check_store(path).findings == []


def test_a_damaged_page_does_not_end_the_check(path: Path) -> None:
    """What cannot be read is said, and every other file is looked at."""
    with closing(sqlite3.connect(path)) as connection:
        wanted = "SELECT pageno FROM dbstat WHERE name = 'file_parts' AND pagetype = 'leaf' ORDER BY pageno"
        try:
            pages = [page for (page,) in connection.execute(wanted)]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite was built without dbstat")
    with path.open("r+b") as file:
        file.seek((pages[len(pages) // 2] - 1) * 4096)
        file.write(b"\xff" * 4096)
    found = check_store(path)
    assert "STRUCTURE_DAMAGED" in words(found)
    assert found.sessions == 4
    assert found.parts > 0


def test_more_of_the_same_is_counted_and_not_kept(path: Path) -> None:
    """Memory is bounded, however much is damaged."""
    with meddling(path) as connection:
        connection.execute("UPDATE file_parts SET revision = 0")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) "
            "INSERT INTO zones (id, zone, definition_id, session_id, created_at_ms) SELECT i, 'x' || i, 'x', i, 0 FROM n"
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found = check_store(path)
    assert len(found.findings) == FINDINGS_MAX
    with closing(sqlite3.connect(path)) as connection:
        (parts,) = connection.execute("SELECT count(*) FROM file_parts").fetchone()
    assert found.findings_left_off >= 1401 + parts - FINDINGS_MAX


@pytest.mark.parametrize("kind", ["newer", "foreign", "text", "truncated", "directory", "locked"])
def test_what_is_no_store_of_ours_is_a_finding(
    tmp_path: Path, path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too new, another program's, no database, half of one, a directory, held by another: each is said, none is an error."""
    monkeypatch.setitem(handles._SHARED, "busy_timeout", 20)
    other = tmp_path / "other.db"
    holder = sqlite3.connect(other, isolation_level=None)
    if kind == "newer":
        holder.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        holder.execute("PRAGMA user_version = 999")
    elif kind == "foreign":
        holder.execute("CREATE TABLE t (x)")
    elif kind == "text":
        other.write_text("this is no database, but long enough to look at\n" * 100)
    elif kind == "truncated":
        other.write_bytes(path.read_bytes()[: 5 * 4096 + 100])
    elif kind == "directory":
        other.unlink()
        other.mkdir()
    else:
        shutil.copy(path, other)
        Path(f"{other}-journal").write_bytes(b"x" * 600)
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        holder.execute("UPDATE zones SET preview = ''")
    with closing(holder):
        found = check_store(other)
    assert not found.is_sound
    expected = {
        "newer": "STORE_REFUSED",
        "foreign": "STORE_REFUSED",
        "text": "STRUCTURE_DAMAGED",
        "truncated": "STRUCTURE_DAMAGED",
        "directory": "STORE_UNREADABLE",
        "locked": "STORE_UNREADABLE",
    }
    assert found.findings[0].word == expected[kind]
    assert str(other) in found.findings[0].message or kind == "truncated"


def test_where_there_is_none_none_is_made(tmp_path: Path) -> None:
    """A missing store is none, an empty file is none yet, and neither is changed."""
    empty = tmp_path / "empty.db"
    empty.touch()
    for path in (tmp_path / "missing.db", empty):
        found = check_store(path)
        assert (found.exists, found.findings) == (False, [])
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]


def names_and_bytes(path: Path) -> dict[str, bytes]:
    """Return what lies beside a store, but for the index of its log, which is anybody's."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir() if not each.name.endswith("-shm")}


def test_a_store_at_rest_is_looked_at_without_a_trace(path: Path) -> None:
    """No log and no index appear, and no byte and no time changes."""
    before = names_and_bytes(path), path.stat().st_mtime_ns
    assert check_store(path).is_sound
    assert (names_and_bytes(path), path.stat().st_mtime_ns) == before
    assert [each.name for each in path.parent.iterdir()] == [FILE_NAME]


async def test_a_store_that_was_not_closed_is_looked_at_with_its_log(store: OpenStore, tmp_path: Path) -> None:
    """What a killed daemon left in the log counts; the log stays as it is."""
    await store.sessions.append_session_output("late", ["in the log only"])
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(f"{tmp_path / FILE_NAME}{suffix}", f"{killed / FILE_NAME}{suffix}")
    before, names = names_and_bytes(killed / FILE_NAME), sorted(killed.iterdir())
    found = check_store(killed / FILE_NAME)
    assert (found.findings, found.sessions) == ([], 5)
    assert (names_and_bytes(killed / FILE_NAME), sorted(killed.iterdir())) == (before, names)


def test_a_store_that_does_not_stay_at_rest_is_looked_at_again(path: Path) -> None:
    """A daemon that starts meanwhile makes nonsense of what was seen: it counts for nothing."""
    statements = [f"{FLIP} WHERE zone_id = 2", "UPDATE file_parts SET data = x'' WHERE zone_id = 2"]
    progress = meddle_once(lambda: damage(path, *statements))
    found = check_store(path, progress)
    assert {finding.zone for finding in found.findings} == {OTHER}
    assert all("has 0" in finding.message for finding in found.findings)


async def test_a_store_that_was_opened_and_not_written_yet_is_in_use(store: OpenStore, path: Path) -> None:
    """The first write of a daemon that has just started does not make us begin anew."""
    assert size_of(wal_of(path)) == 0
    looks = 0

    def progress(what: str, _done: int, _total: int) -> None:
        nonlocal looks
        looks += what == "structure"
        if what == "content" and size_of(wal_of(path)) == 0:
            on_another_handle(path, "UPDATE zones SET preview = 'x' WHERE id = 2")()

    assert check_store(path, progress).findings == []
    assert (looks, size_of(wal_of(path)) > 0) == (1, True)


def test_what_a_look_at_rest_fails_with_counts_for_nothing_either(path: Path) -> None:
    """An error out of a file that changed beneath the handle is not the last word."""
    looks: list[int] = []

    def look(_connection: sqlite3.Connection) -> str:
        looks.append(1)
        if len(looks) == 1:
            damage(path, "UPDATE zones SET preview = 'x' WHERE id = 2")
            raise sqlite3.DatabaseError("nonsense")
        return "seen"

    assert look_at(path, look) == "seen"
    with pytest.raises(sqlite3.DatabaseError):
        look_at(path, lambda _connection: (_ for _ in ()).throw(sqlite3.DatabaseError("true")))


@pytest.fixture
async def beside(store: OpenStore, tmp_path: Path) -> Path:
    """Leave the store open, with something in its log, so that it is in use."""
    await store.sessions.append_session_output("late", ["x"])
    assert size_of(wal_of(tmp_path / FILE_NAME)) > 0
    return tmp_path / FILE_NAME


def on_another_handle(path: Path, *statements: str) -> Act:
    """Return an act that changes the store as a writing daemon would: in one transaction, through another handle."""

    def act() -> None:
        with meddling(path) as connection:
            connection.execute("BEGIN")
            for statement in statements:
                connection.execute(statement)
            connection.execute("COMMIT")

    return act


def merged_tail(path: Path) -> list[str]:
    """Return the statements by which all parts of an output but the first become one, and another follows, as by appends."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT start_byte, first_line, data FROM file_parts WHERE zone_id = 1 AND name = 'output' AND start_byte > 0 "
            "ORDER BY start_byte"
        ).fetchall()
    data = b"".join(row[2] for row in rows)
    merged = Part.of(data, rows[0][0], rows[0][1], count_lines(data))
    update = (
        f"UPDATE file_parts SET data = x'{data.hex()}', size_bytes = {len(data)}, line_count = {merged.line_count}, "
        f"crc32 = {merged.crc32}, revision = 1000 WHERE zone_id = 1 AND name = 'output' AND start_byte = {merged.start_byte}"
    )
    where = f"WHERE zone_id = 1 AND name = 'output' AND start_byte > {merged.start_byte}"
    new = Part.of(b"new\n", merged.end_byte, merged.end_line, 1)
    insert = (
        f"INSERT INTO file_parts VALUES (1, 'output', {new.start_byte}, {new.first_line}, 4, 1, 0, 1001, {new.crc32}, 0, "
        f"x'{new.data.hex()}')"
    )
    return [f"DELETE FROM file_parts {where}", update, insert]


@pytest.mark.parametrize("at", range(1, 12))
def test_parts_that_are_merged_between_two_slices_are_no_finding(beside: Path, at: int) -> None:
    """Where a slice ended on a part that is gone, it is read again."""
    found = check_store(beside, meddle_once(on_another_handle(beside, *merged_tail(beside)), at), slice_bytes=1)
    assert found.findings == []


@pytest.mark.parametrize("at", range(1, 40, 3))
def test_a_session_that_goes_between_two_slices_is_no_finding(beside: Path, at: int) -> None:
    """Neither are parts that go with it."""
    gone = ("DELETE FROM file_parts WHERE zone_id <= 2", "DELETE FROM zones WHERE id <= 2")
    assert check_store(beside, meddle_once(on_another_handle(beside, *gone), at), slice_bytes=1).findings == []


def test_a_file_that_changes_faster_than_it_is_read_is_read_at_once(beside: Path) -> None:
    """The check comes to an end, and finds nothing wrong."""
    revisions = iter(range(2, 1_000_000))

    def progress(what: str, _done: int, _total: int) -> None:
        if what == "content":
            statement = f"UPDATE file_parts SET revision = {next(revisions)}"
            on_another_handle(beside, statement)()

    found = check_store(beside, progress, slice_bytes=1)
    assert found.findings == []
    assert next(revisions) < 500


def test_the_log_can_be_moved_into_the_database_between_two_slices(beside: Path) -> None:
    """A transaction is no longer than a slice: what was written in an earlier one does not wait for the end of the check."""
    moved: list[tuple[int, int]] = []
    parts = 0

    def progress(what: str, _done: int, _total: int) -> None:
        nonlocal parts
        parts += what == "content"
        if what == "content" and parts in {3, 8}:
            with meddling(beside) as connection:
                if parts == 3:
                    connection.execute("UPDATE zones SET preview = 'x' WHERE id = 2")
                _, in_log, in_database = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                moved.append((in_log, in_database))

    assert check_store(beside, progress, slice_bytes=1).findings == []
    assert moved[0][0] > moved[0][1]
    assert moved[1][0] == moved[1][1]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, threading.Event]]:
    """Make a database whose check waits for an event at each row."""
    may_go_on = threading.Event()
    with closing(sqlite3.connect(tmp_path / "slow.db", check_same_thread=False, isolation_level=None)) as connection:
        connection.create_function("wait", 1, lambda _: may_go_on.wait(60), deterministic=True)
        connection.execute("CREATE TABLE t (x CHECK (wait(x)))")
        may_go_on.set()
        connection.execute("INSERT INTO t VALUES (1), (2), (3)")
        may_go_on.clear()
        yield connection, may_go_on


def test_a_check_of_the_structure_gives_way_to_a_log_that_grows(
    slow: tuple[sqlite3.Connection, threading.Event],
) -> None:
    """It is one transaction, so it is given up rather than let the log grow without end; the handle can be used on."""
    connection, may_go_on = slow
    asked = 0

    def is_enough() -> bool:
        nonlocal asked
        asked += 1
        if asked > 1:
            may_go_on.set()
        return True

    assert check_structure(connection, is_enough) is None
    assert check_structure(connection, lambda: False) == []


def test_a_check_of_the_structure_is_interrupted_by_a_signal(slow: tuple[sqlite3.Connection, threading.Event]) -> None:
    """Ctrl-C is heard at once, and no thread is left running."""
    connection, may_go_on = slow

    def interrupted() -> bool:
        may_go_on.set()
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        check_structure(connection, interrupted)
    assert threading.active_count() == before


def test_a_structure_that_was_not_checked_to_the_end_is_a_warning(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known to be wrong, and what to do is said."""
    monkeypatch.setattr(check, "check_structure", lambda _connection, _is_enough: None)
    found = check_store(path)
    assert (words(found), found.is_sound) == (["STRUCTURE_UNCHECKED"], True)


async def test_the_log_is_watched_while_the_structure_is_checked(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is how much it has grown since."""
    asked: list[bool] = []

    def watched(_connection: sqlite3.Connection, is_enough: Callable[[], bool]) -> list[str]:
        asked.append(is_enough())
        on_another_handle(beside, "UPDATE zones SET preview = hex(zeroblob(50000))")()
        asked.append(is_enough())
        return []

    monkeypatch.setattr(check, "check_structure", watched)
    check_store(beside, log_growth_bytes_max=100_000)
    check_store(beside, log_growth_bytes_max=10_000_000)
    assert asked == [False, True, False, False]


def row(data: bytes, **columns: object) -> tuple[object, ...]:
    """Return the row of a part of an output with such data."""
    given: dict[str, object] = {
        "start_byte": 0,
        "first_line": 0,
        "size_bytes": len(data),
        "line_count": count_lines(data),
        "modified_at_ms": BEGINNING_MS,
        "revision": 1,
        "crc32": zlib.crc32(data),
        "codec": 0,
    }
    return (*(given | columns).values(), data)


def looked_at(name: str, *rows: tuple[object, ...]) -> list[Finding]:
    """Check the parts of a file."""
    file = FileName(ZONE, name)
    position, found = Position(), []
    for each in rows:
        position, findings = checks.check_part(file, position, each)
        found += findings
    return [*found, *checks.check_end(file, position)]


def test_a_part_that_is_not_the_last_ends_where_another_may_follow() -> None:
    """At a line end in the output, at 64 KiB elsewhere; a line cut because it is beyond all measure may go on."""
    first, second = row(b"half"), row(b"line\n", start_byte=4, first_line=1)
    assert [finding.word for finding in looked_at("output", first, second)] == ["PART_MISCUT"]
    assert [finding.word for finding in looked_at("notes", row(b""))] == []
    short = row(b"n" * 10, line_count=0)
    rest = row(b"n" * 10, start_byte=10, line_count=0)
    assert [finding.word for finding in looked_at("notes", short, rest)] == ["PART_MISCUT"]
    whole = row(b"n" * PART_BYTES, line_count=0)
    assert looked_at("notes", whole, row(b"n", start_byte=PART_BYTES, line_count=0)) == []
    assert [finding.word for finding in looked_at("notes", row(b"n" * (PART_BYTES + 1), line_count=0))] == [
        "PART_MISCUT"
    ]
    huge = row(b"x" * LINE_PART_BYTES_MAX)
    assert looked_at("output", huge, row(b"x\n", start_byte=LINE_PART_BYTES_MAX, first_line=1)) == []


def test_an_append_behind_an_unterminated_part_that_could_not_be_read_is_no_finding() -> None:
    """It begins with the line end that was missing, so the lines are the right ones."""
    assert looked_at("output", row(b"half"), row(b"\nline\n", start_byte=4, first_line=1)) == []


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_which_versions_have_the_wal_reset_bug(version: tuple[int, ...], has_it: bool) -> None:
    """All from 3.7.0 to 3.51.2, but for those that took the fix over."""
    assert has_wal_reset_bug(version) is has_it
