"""The database is locked, or the system fails beneath it: STORAGE_UNAVAILABLE, nothing stored, and on it goes."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from store.engine import AppendOutput, ArchiveSession, Change
from store.errors import StorageUnavailableError
from store.sqlite import SqliteEngine
from store.sqlite.handle import SqliteHandle
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS, EngineKind, OpenStore
from tests.faults.conftest import SQLITE, OnWriter
from tests.store.foreign import meddling

ZONE = agent_current_zone("agent")


@pytest.fixture
def engine_kind() -> EngineKind:
    """Return SQLite: what fails here is below its engine."""
    return SQLITE


class FailingHandle:
    """A handle on which statements of one kind fail as if the disk had; the others go through to the real one."""

    def __init__(self, handle: sqlite3.Connection, failing: str, *, ended: bool = False) -> None:
        self._handle = handle
        self._failing = failing
        self._ended = ended
        self.failures = 0

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._handle.in_transaction

    def close(self) -> None:
        """Close the real handle."""
        self._handle.close()

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement, or fail; where asked for, SQLite has ended the transaction by then."""
        if self._failing not in statement:
            return self._handle.execute(statement, *values)
        self.failures += 1
        if self._ended:
            self._handle.execute("ROLLBACK")
        error = sqlite3.OperationalError("disk I/O error at /secret/path")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
        error.sqlite_errorname = "SQLITE_IOERR_READ"
        raise error


async def test_a_locked_database_is_unavailable(store: OpenStore, path: Path, on_writer: OnWriter) -> None:
    """While another program holds the lock changes are refused, worth a retry; reads go on; then everything works."""
    await store.sessions.append_session_output("agent", ["a"])
    await on_writer("PRAGMA busy_timeout = 20")
    with meddling(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        calls = (store.sessions.append_session_output("agent", [str(number)]) for number in range(3))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailableError] * 3
        assert isinstance(outcomes[0], StorageUnavailableError)
        assert (outcomes[0].word, outcomes[0].retry) == ("STORAGE_UNAVAILABLE", True)
        assert (await store.sessions.read_output("agent")).lines == ["a"]
        connection.execute("ROLLBACK")
    appended = await store.sessions.append_session_output("agent", ["b"], expect_offset=2)
    assert appended.total_lines == 2


async def test_a_commit_that_fails_has_stored_nothing(store: OpenStore, sqlite: SqliteEngine) -> None:
    """Every change of the batch is refused, and what the writer remembers is what is on disk."""
    first = await store.sessions.append_session_output("agent", ["a"])
    handle = sqlite._writing_handle
    assert handle is not None
    failing = FailingHandle(handle, "COMMIT")
    sqlite._writing_handle = failing  # type: ignore[assignment] # it has all that is used of a handle
    changes: list[Change] = [
        AppendOutput(ZONE, b"b\n", BEGINNING_MS),
        ArchiveSession(ZONE, 5),
        AppendOutput(ZONE, b"c\n", BEGINNING_MS),
    ]
    with pytest.raises(StorageUnavailableError) as caught:
        await sqlite.apply(changes)
    assert "/secret" not in str(caught.value)
    with pytest.raises(StorageUnavailableError):
        await store.sessions.archive_session("agent")
    assert failing.failures == 2
    sqlite._writing_handle = handle
    assert (await store.sessions.read_output("agent")).lines == ["a"]
    again = await store.sessions.append_session_output("agent", ["d"], session_id=first.session_id, expect_offset=2)
    assert (again.total_lines, again.size_bytes) == (2, 4)
    assert await store.sessions.list_archives("agent") == []


@pytest.mark.parametrize("ended", [False, True])
async def test_a_read_that_fails_is_unavailable(
    store: OpenStore, sqlite: SqliteEngine, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """Whether or not SQLite has ended the read transaction itself; the next read works."""
    await store.sessions.write_session_state("agent", b"{}")
    reading_handle = sqlite._readers._handle

    def failing_handle() -> SqliteHandle:
        handle = reading_handle()
        assert isinstance(handle, SqliteHandle)
        failing: Any = FailingHandle(handle.connection, "FROM zones", ended=ended)
        return SqliteHandle(failing)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite._readers, "_handle", failing_handle)
        with pytest.raises(StorageUnavailableError) as caught:
            await store.sessions.read_session_state("agent")
    assert "/secret" not in str(caught.value)
    assert (await store.sessions.read_session_state("agent")).revision == 1


async def test_a_change_of_many_waits_for_the_lock_once(store: OpenStore, path: Path, on_writer: OnWriter) -> None:
    """A locked database does not hold the writer up once for each change that waits."""
    await on_writer("PRAGMA busy_timeout = 200")
    with meddling(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        calls = [store.sessions.append_session_output("agent", [str(number)]) for number in range(100)]
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, StorageUnavailableError) for outcome in outcomes)
        assert loop.time() - started < 5
        connection.execute("ROLLBACK")
    assert (await store.sessions.append_session_output("agent", ["x"])).offset == 0


async def test_a_drain_during_changes_answers_every_one(store: OpenStore) -> None:
    """Stopping in the middle of a crowd: each call is stored and answered, or refused and not stored."""
    calls = [asyncio.ensure_future(store.sessions.append_session_output("agent", [str(n)])) for n in range(300)]
    await calls[0]
    await store.writer.drain()
    assert all(call.done() for call in calls)
    stored = [str(number) for number, call in enumerate(calls) if call.exception() is None]
    await store.reopen()
    assert (await store.sessions.read_output("agent", limit=1_000)).lines == stored
