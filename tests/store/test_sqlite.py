"""The engine over SQLite: its handles and what is set on them, who checkpoints, and how little a change touches."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from store import changes
from store.engine import AppendOutput, ArchiveSession, Change, MoveSession, WriteState
from store.errors import StorageUnavailableError, StoreRefusedError
from store.limits import PART_BYTES
from store.records import Appended, Archived, Written
from store.sqlite import SqliteEngine, handles, log, open_sqlite
from store.sqlite import engine as engine_module
from store.sqlite.handle import SqliteHandle
from store.zones import agent_archive_zone, agent_current_zone
from tests.store.foreign import bytes_of, looking, meddling, parts, rows, size_of, wal_of

ZONE = agent_current_zone("agent")
NOW_MS = 1_750_000_000_000

_Found = TypeVar("_Found")


async def on_writer(engine: SqliteEngine, work: Callable[[sqlite3.Connection], _Found]) -> _Found:
    """Do something with the writing handle, on its thread."""
    return await engine._writer.call(lambda: work(engine._handle()))


async def apply(engine: SqliteEngine, *changes: Change) -> Sequence[object]:
    """Apply changes, all of which must go through."""
    outcomes = await engine.apply(changes)
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    return outcomes


def setting(connection: sqlite3.Connection, name: str) -> object:
    """Read a setting back."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def wal_bytes(path: Path) -> int:
    """Return the size of the write-ahead log."""
    return size_of(wal_of(path))


def is_due(engine: SqliteEngine) -> bool:
    """Tell whether the engine asks for housekeeping now."""
    return engine.maintenance_due


async def test_the_writing_handle_keeps_the_promises(sqlite: SqliteEngine) -> None:
    """WAL, synchronous=FULL, no checkpoint by itself, foreign keys, no mmap: read back from the open handle."""
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "wal_autocheckpoint": 0,
        "foreign_keys": 1,
        "mmap_size": 0,
        "fullfsync": 1,
        "checkpoint_fullfsync": 1,
        "busy_timeout": 5_000,
        "query_only": 0,
    }
    found = await on_writer(sqlite, lambda connection: {name: setting(connection, name) for name in expected})
    assert found == expected


async def test_readers_can_only_read(sqlite: SqliteEngine) -> None:
    """Several handles, each `mode=ro` and `query_only`: none of them can write, and a temporary table neither."""
    await asyncio.gather(*(sqlite.stat(["agent"]) for _ in range(64)))
    assert 1 <= len(sqlite._readers.handles) <= 4
    for handle in sqlite._readers.handles:
        assert isinstance(handle, SqliteHandle)
        connection = handle.connection
        assert (setting(connection, "query_only"), setting(connection, "mmap_size")) == (1, 0)
        connection.execute("PRAGMA query_only = 0")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM zones")
        connection.execute("PRAGMA query_only = 1")


async def test_a_setting_that_does_not_take_refuses_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are read back: where SQLite keeps another value the promises would not hold."""
    monkeypatch.setitem(handles._WRITING, "synchronous", 7)
    with pytest.raises(StoreRefusedError, match="synchronous"):
        await open_sqlite(path)


async def test_the_event_loop_never_holds_a_handle(sqlite: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements run on the writer's thread or on a reader's, never on the loop's."""
    threads: set[str] = set()

    def note(_: str) -> None:
        threads.add(threading.current_thread().name)

    def open_noted(path: Path) -> sqlite3.Connection:
        connection = handles.open_reading(path)
        connection.set_trace_callback(note)
        return connection

    monkeypatch.setattr("store.sqlite.engine.open_reading", open_noted)
    await on_writer(sqlite, lambda connection: connection.set_trace_callback(note))
    await apply(sqlite, AppendOutput(ZONE, b"x\n", NOW_MS))
    await asyncio.gather(*(sqlite.stat(["agent"]) for _ in range(16)))
    await sqlite.maintain()
    assert {name.partition("_")[0] for name in threads} == {"sqlite-writer", "sqlite-reader"}


async def test_a_batch_is_one_transaction(sqlite: SqliteEngine) -> None:
    """However many changes: one BEGIN, one COMMIT."""
    statements: list[str] = []
    await on_writer(sqlite, lambda connection: connection.set_trace_callback(statements.append))
    zones = [agent_current_zone(f"agent-{number}") for number in range(50)]
    await apply(sqlite, *(AppendOutput(zone, b"x\n", NOW_MS) for zone in zones))
    assert [each for each in statements if each.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]


async def test_a_foreign_reader_may_look_at_the_running_store(sqlite: SqliteEngine, path: Path) -> None:
    """Before, during and after changes another program sees whole commits, and disturbs nobody."""
    with looking(path) as connection:
        for number in range(1, 20):
            await apply(sqlite, AppendOutput(ZONE, b"x\n", NOW_MS), WriteState(ZONE, b"%d" % number, NOW_MS))
            found = connection.execute(
                "SELECT name, max(start_byte + size_bytes) FROM file_parts GROUP BY name"
            ).fetchall()
            assert found == [("output", 2 * number), ("output.state.json", len(str(number)))]
        connection.execute("BEGIN")
        before = connection.execute("SELECT count(*) FROM zones").fetchall()
        await apply(sqlite, AppendOutput(agent_current_zone("other"), b"x\n", NOW_MS))
        await sqlite.maintain()
        assert connection.execute("SELECT count(*) FROM zones").fetchall() == before == [(1,)]
    assert rows(path, "SELECT count(*) FROM zones") == [(2,)]


async def test_only_the_writing_handle_checkpoints(sqlite: SqliteEngine, path: Path) -> None:
    """Until `maintain` the database file does not change, whoever reads; then the log's content is in it."""
    before = bytes_of(path)
    for number in range(20):
        await apply(sqlite, WriteState(ZONE, b"%d" % number + b"x" * 500_000, NOW_MS))
        await asyncio.gather(*(sqlite.read_session_state(ZONE) for _ in range(8)))
    assert bytes_of(path) == before
    await sqlite.maintain()
    assert size_of(path) > 500_000


async def test_a_checkpoint_becomes_due_with_what_was_written(sqlite: SqliteEngine, path: Path) -> None:
    """Not before much is in the log, then once; and the log is used again from its beginning."""
    assert not is_due(sqlite)
    rounds = 0
    while not is_due(sqlite):
        await apply(sqlite, WriteState(ZONE, bytes([rounds]) * 1_000_000, NOW_MS))
        rounds += 1
    assert rounds > 8
    await sqlite.maintain()
    assert not is_due(sqlite)
    size = wal_bytes(path)
    await apply(sqlite, WriteState(ZONE, b"again" * 200_000, NOW_MS))
    assert wal_bytes(path) == size


async def test_small_changes_make_a_checkpoint_due_as_well(sqlite: SqliteEngine, path: Path) -> None:
    """The log does not grow without bound where every change is a few bytes: the pages they touch count."""
    while not is_due(sqlite):
        await apply(sqlite, *(AppendOutput(ZONE, b"x\n", NOW_MS) for _ in range(20)))
    assert wal_bytes(path) < 64 << 20


async def test_a_checkpoint_that_failed_is_still_due(sqlite: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Housekeeping that failed is tried again after the next batch."""
    monkeypatch.setattr(log, "_CHECKPOINT_BYTES", 1)
    await apply(sqlite, AppendOutput(ZONE, b"x\n", NOW_MS))
    await on_writer(sqlite, lambda connection: connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY))
    with pytest.raises(sqlite3.DatabaseError):
        await sqlite.maintain()
    await on_writer(sqlite, lambda connection: connection.set_authorizer(None))
    assert is_due(sqlite)
    await sqlite.maintain()
    assert not is_due(sqlite)


async def test_a_checkpoint_does_not_wait_for_a_reader(sqlite: SqliteEngine, path: Path) -> None:
    """A long look of another program holds back what it still needs, and neither checkpoint nor changes wait."""
    await apply(sqlite, WriteState(ZONE, b"x" * 100_000, NOW_MS))
    with looking(path) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM zones").fetchall()
        await apply(sqlite, WriteState(ZONE, b"y" * 100_000, NOW_MS))
        await asyncio.wait_for(sqlite.maintain(), 4)
        await apply(sqlite, WriteState(ZONE, b"z" * 100_000, NOW_MS))
    state = await sqlite.read_session_state(ZONE)
    assert state is not None
    assert b"".join(state.content or ()) == b"z" * 100_000


async def test_nobody_else_writes_while_the_log_is_moved(sqlite: SqliteEngine, path: Path) -> None:
    """A commit of another program that begins the log anew while a checkpoint starts would corrupt the file, before 3.51.3."""
    refused: list[str] = []
    await apply(sqlite, WriteState(ZONE, b"x" * 500_000, NOW_MS))
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)) as other:

        def write(*_: object) -> int:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                refused.append(error.sqlite_errorname)
            return sqlite3.SQLITE_OK

        await on_writer(sqlite, lambda connection: connection.set_authorizer(write))
        await sqlite.maintain()
        await on_writer(sqlite, lambda connection: connection.set_authorizer(None))
    assert (refused, sqlite.figures()["checkpoint_pages_left"]) == (["SQLITE_BUSY"], 0)
    assert size_of(path) > 500_000


async def test_a_checkpoint_is_put_off_while_another_program_writes(sqlite: SqliteEngine, path: Path) -> None:
    """It does not wait, moves nothing, and is soon due again."""
    while not is_due(sqlite):
        await apply(sqlite, WriteState(ZONE, os.urandom(1_000_000), NOW_MS))
    before = bytes_of(path)
    with meddling(path) as other:
        other.execute("BEGIN IMMEDIATE")
        await asyncio.wait_for(sqlite.maintain(), 4)
    assert (bytes_of(path), is_due(sqlite)) == (before, False)
    for _ in range(2):
        await apply(sqlite, WriteState(ZONE, os.urandom(1_000_000), NOW_MS))
    assert is_due(sqlite)
    await sqlite.maintain()
    assert bytes_of(path) != before


async def test_closing_leaves_one_file(sqlite: SqliteEngine, path: Path) -> None:
    """After a clean stop everything is in the database, and log and shared memory are gone; closing twice is harmless."""
    await apply(sqlite, AppendOutput(ZONE, b"x\n", NOW_MS))
    await sqlite.stat(["agent"])
    await sqlite.maintain()
    await sqlite.close()
    await sqlite.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_a_locked_store_is_unavailable_not_refused(
    sqlite: SqliteEngine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file another program holds for itself can be tried again: it is not damaged, and nobody needs a backup."""
    await sqlite.close()
    monkeypatch.setattr(handles, "BUSY_WAIT_MS", 50)
    monkeypatch.setitem(handles._SHARED, "busy_timeout", 50)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StorageUnavailableError):
            await open_sqlite(path)
    finally:
        holder.close()


async def test_archive_and_move_change_one_row_whatever_the_size(sqlite: SqliteEngine, path: Path) -> None:
    """The session's row and no other: the same number of rows and of pages for 1 KB and for 8 MB."""

    async def cost(change: Change) -> tuple[int, int]:
        before = await on_writer(sqlite, lambda connection: connection.total_changes)
        await sqlite.maintain()
        log_before = bytes_of(wal_of(path))
        await apply(sqlite, change)
        after = await on_writer(sqlite, lambda connection: connection.total_changes)
        log_after = bytes_of(wal_of(path))
        frames = sum(
            log_before[at : at + 4_120] != log_after[at : at + 4_120] for at in range(32, len(log_after), 4_120)
        )
        return after - before, frames

    for size in (1_000, 8_000_000):
        lines = b"".join(b"%0999d\n" % number for number in range(size // 1_000))
        await apply(sqlite, AppendOutput(ZONE, lines, NOW_MS), WriteState(ZONE, lines, NOW_MS))
        changed, frames = await cost(ArchiveSession(ZONE, NOW_MS))
        assert (changed, frames <= 8) == (1, True)
        changed, frames = await cost(
            MoveSession(agent_archive_zone("agent", NOW_MS), agent_archive_zone("other", NOW_MS))
        )
        assert (changed, frames <= 8) == (1, True)


async def test_a_small_change_in_a_large_snapshot_writes_a_little(sqlite: SqliteEngine, path: Path) -> None:
    """20 MB in which some bytes near the end differ: the part that holds them and the last one are written."""
    content = bytearray(b"0123456789abcdef" * (20 * 65_536))
    await apply(sqlite, WriteState(ZONE, bytes(content), NOW_MS))
    before = wal_bytes(path)
    content[-300_000:-299_990] = b"CHANGED..."
    await apply(sqlite, WriteState(ZONE, bytes(content), NOW_MS))
    assert 0 < wal_bytes(path) - before < 4 * PART_BYTES
    changed = rows(path, "SELECT count(*) FROM file_parts WHERE revision = 2")
    assert changed == [(2,)]
    before = wal_bytes(path)
    await apply(sqlite, WriteState(ZONE, bytes(content), NOW_MS + 5))
    assert wal_bytes(path) - before <= 2 * 4_120


async def test_growing_a_large_snapshot_writes_its_end(sqlite: SqliteEngine, path: Path) -> None:
    """A snapshot that got longer, or shorter, leaves the parts before as they are."""
    content = b"0123456789abcdef" * 300_000
    await apply(sqlite, WriteState(ZONE, content, NOW_MS))
    for number, size in enumerate((len(content) + 10, len(content) - 200_000), 2):
        await apply(sqlite, WriteState(ZONE, (content + b"0123456789")[:size], NOW_MS))
        assert rows(path, "SELECT count(*) FROM file_parts WHERE revision = ?", number)[0][0] <= 2
        assert parts(path, "output.state.json")[-1] == (size // PART_BYTES * PART_BYTES, size % PART_BYTES)


@pytest.mark.parametrize(
    ("appends", "size_bytes"), [(1_500, 100), (800, 1_000), (500, 5_000), (200, 30_000), (80, 60_000)]
)
async def test_an_append_rewrites_a_little_and_parts_stay_few(
    sqlite: SqliteEngine, path: Path, appends: int, size_bytes: int
) -> None:
    """Whatever their size, one commit each: parts fill up, and the bytes rewritten per append are bounded."""
    text = b"x" * (size_bytes - 1) + b"\n"
    written = sqlite._changes.written_bytes
    for _ in range(appends):
        await apply(sqlite, AppendOutput(ZONE, text, NOW_MS))
    total = appends * size_bytes
    stored = parts(path)
    assert sum(size for _, size in stored) == total
    assert len(stored) <= total / (PART_BYTES / 2) + 24
    rewritten = sqlite._changes.written_bytes - written - appends * engine_module._CHANGE_BYTES - total
    assert rewritten <= appends * 3_072 + 2 * total


async def test_a_page_in_the_middle_reads_only_its_parts(sqlite: SqliteEngine, path: Path) -> None:
    """Of a large output the parts that hold the page are read: a damaged part elsewhere is not even seen."""
    lines = b"".join(b"%09d\n" % number for number in range(200_000))
    await apply(sqlite, AppendOutput(ZONE, lines, NOW_MS))
    with meddling(path) as connection:
        connection.execute("UPDATE file_parts SET data = x'00' WHERE first_line NOT BETWEEN 90000 AND 110000")
    page = await sqlite.read_output(ZONE, 100_000, 200, 1 << 20)
    assert page is not None
    assert page.lines == [f"{number:09d}" for number in range(100_000, 100_200)]
    assert page.total_lines == 200_000


async def test_a_page_behind_many_blank_lines_does_not_read_them(sqlite: SqliteEngine, path: Path) -> None:
    """A part of blank lines begins with the same line as the part behind it, and is not the one that is read."""
    for text in (b"a\n" * 100, b"\n" * 200_000, b"b\n" * 100):
        await apply(sqlite, AppendOutput(ZONE, text, NOW_MS))
    with meddling(path) as connection:
        connection.execute("UPDATE file_parts SET data = x'00' WHERE line_count = 0")
    page = await sqlite.read_output(ZONE, 100, 50, 1 << 20)
    assert page is not None
    assert page.lines == ["b"] * 50


async def test_what_the_writer_remembers_is_bounded(sqlite: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more agents than it keeps in mind some are looked up again, and each goes on where it was."""
    monkeypatch.setattr(changes, "_KNOWN_SESSIONS_MAX", 3)
    ids: dict[int, str] = {}
    for round_number in range(4):
        for number in range(7):
            (outcome,) = await apply(sqlite, AppendOutput(agent_current_zone(f"agent-{number}"), b"x\n", NOW_MS))
            assert isinstance(outcome, Appended)
            assert outcome.offset == 2 * round_number
            assert ids.setdefault(number, outcome.session_id) == outcome.session_id
    assert len(sqlite._changes._known) <= 3


async def test_changes_of_one_batch_see_each_other(sqlite: SqliteEngine) -> None:
    """Write, append, archive, retry and append again in one transaction give what they give one by one."""
    first, second, third, fourth = await apply(
        sqlite,
        WriteState(ZONE, b"{}", NOW_MS),
        AppendOutput(ZONE, b"a\n", NOW_MS),
        ArchiveSession(ZONE, NOW_MS),
        AppendOutput(ZONE, b"b\n", NOW_MS),
    )
    assert isinstance(first, Written)
    assert isinstance(second, Appended)
    assert isinstance(third, Archived)
    assert isinstance(fourth, Appended)
    assert first.session_id == second.session_id == third.session_id != fourth.session_id
    (again,) = await apply(sqlite, ArchiveSession(ZONE, NOW_MS + 9, first.session_id))
    assert again == third
