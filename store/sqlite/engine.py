"""`Engine` over SQLite: which thread does what, and when a transaction begins and ends.

All writing happens on one thread, which owns the one read-write handle; each batch costs one hop to it and one commit.
Reading happens on a few threads with a read-only handle each. The event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from store.engine import (
    AppendOutput,
    ArchiveSession,
    Change,
    CompleteSession,
    Engine,
    ImportSession,
    KeepPreview,
    MoveSession,
    Outcome,
    WriteState,
)
from store.errors import StoreError, StoreRefusedError
from store.records import AgentStat, ArchiveSummary, Mount, Page, SessionState, ZoneStat
from store.sqlite import reads
from store.sqlite.changes import Changes
from store.sqlite.failures import translated
from store.sqlite.handles import open_reading, open_writing
from store.sqlite.imports import Imports, SourceFailedError
from store.sqlite.log import WriteAheadLog
from store.sqlite.readers import Readers
from store.sqlite.schema import SCHEMA_VERSION, check_file, upgrade
from store.sqlite.thread import WriterThread
from store.zones import Zone

_CHANGE_BYTES: Final = 12 * 1024
"""What a change puts into the WAL besides its data: three pages."""


async def open_sqlite(path: Path) -> SqliteEngine:
    """Open the store, make it where there is none, and bring its stored form up to date.

    Args:
        path: of the database file. Its directory must exist.

    Raises:
        StoreRefusedError: damaged, foreign, or written by a newer program; the file is as it was.
        StorageUnavailableError, StorageFullError: the file cannot be used at the moment.
    """
    engine = SqliteEngine(path)
    try:
        await engine.open()
    except BaseException:
        await engine.close()
        raise
    return engine


class SqliteEngine(Engine):
    """Keeps sessions in one SQLite file."""

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        """Say where; `open` does the rest."""
        self._path = path
        self._writer = WriterThread("sqlite-writer")
        self._readers = Readers(path)
        self._writing_handle: sqlite3.Connection | None = None
        self._changes: Changes
        self._verbs: dict[type[Any], Callable[[Any], Any]]
        self._log: WriteAheadLog
        self._closed = False

    async def open(self) -> None:
        """Open the writing handle. Raises as `open_sqlite` does."""
        await self._writer.call(self._open)

    async def apply(self, batch: Sequence[Change]) -> list[Outcome]:
        """See `Engine.apply`."""
        return await self._writer.call(partial(self._apply, batch))

    @property
    def maintenance_due(self) -> bool:
        """See `Engine.maintenance_due`."""
        return self._log.is_due(self._changes.written_bytes)

    async def maintain(self) -> None:
        """Move what the WAL holds into the database, as far as readers allow; never waits for them."""
        await self._writer.call(self._checkpoint)

    async def read_session_state(
        self, zone: Zone, if_revision: int | None = None, content_bytes_max: int | None = None
    ) -> SessionState | None:
        """See `Engine.read_session_state`."""
        return await self._readers.ask(f"zone {zone}", reads.read_session_state, zone, if_revision, content_bytes_max)

    async def read_output(self, zone: Zone, first_line: int | None, limit: int, max_bytes: int) -> Page | None:
        """See `Engine.read_output`."""
        return await self._readers.ask(
            f"zone {zone}, file output", reads.read_output, zone, first_line, limit, max_bytes
        )

    async def mount(
        self,
        zone: Zone,
        tail_lines: int,
        max_bytes: int,
        content_bytes_max: int | None = None,
        if_revision: int | None = None,
    ) -> Mount | None:
        """See `Engine.mount`."""
        return await self._readers.ask(
            f"zone {zone}", reads.mount, zone, tail_lines, max_bytes, content_bytes_max, if_revision
        )

    async def stat(self, definition_ids: Sequence[str]) -> list[AgentStat]:
        """See `Engine.stat`."""
        return await self._readers.ask("the state of these agents", reads.stat, definition_ids)

    async def list_agents(self, limit: int, after: str | None) -> list[AgentStat]:
        """See `Engine.list_agents`."""
        return await self._readers.ask("the list of agents", reads.list_agents, limit, after)

    async def list_archives(self, definition_id: str, limit: int, before_ms: int | None) -> list[ArchiveSummary]:
        """See `Engine.list_archives`."""
        place = f"the list of archives of agent {definition_id}"
        return await self._readers.ask(place, reads.list_archives, definition_id, limit, before_ms)

    async def archives_without_preview(self, limit: int) -> list[Zone]:
        """See `Engine.archives_without_preview`."""
        return await self._readers.ask("the list of archives", reads.archives_without_preview, limit)

    async def zone_stat(self, zone: Zone) -> ZoneStat | None:
        """See `Engine.zone_stat`."""
        return await self._readers.ask(f"zone {zone}", reads.zone_stat, zone)

    async def zones_of(self, definition_id: str) -> list[ZoneStat]:
        """See `Engine.zones_of`."""
        return await self._readers.ask(f"the list of zones of agent {definition_id}", reads.zones_of, definition_id)

    async def read_bytes(self, zone: Zone, name: str, start_byte: int, max_bytes: int) -> bytes:
        """See `Engine.read_bytes`."""
        return await self._readers.ask(f"zone {zone}, file {name}", reads.read_bytes, zone, name, start_byte, max_bytes)

    async def read_session_bytes(self, session_id: str, name: str, start_byte: int, max_bytes: int) -> bytes:
        """See `Engine.read_session_bytes`."""
        place = f"session {session_id}, file {name}"
        return await self._readers.ask(place, reads.read_session_bytes, session_id, name, start_byte, max_bytes)

    async def origins(self) -> set[str]:
        """See `Engine.origins`."""
        return await self._readers.ask("the list of sessions", reads.origins)

    async def status(self) -> dict[str, object]:
        """See `Engine.status`."""
        counts = await self._readers.ask("the list of sessions", reads.count_sessions)
        return self.figures() | asdict(counts)

    def figures(self) -> dict[str, object]:
        """See `Engine.figures`."""
        return {
            "sqlite_version": sqlite3.sqlite_version,
            "schema_version": SCHEMA_VERSION,
            "database_bytes": _size_of(self._path),
            "wal_bytes": _size_of(self._path.with_name(self._path.name + "-wal")),
            "checkpoint_age_ms": round(1_000 * self._log.whole_seconds_ago),
            "checkpoint_pages_left": self._log.pages_left,
            "oldest_reader_ms": round(1_000 * self._readers.oldest_seconds),
            "parts_merged": self._changes.parts_merged,
            "sync_failed": self._log.must_stay,
        }

    async def close(self) -> None:
        """See `Engine.close`. The writing handle goes last, so that SQLite checkpoints and removes the WAL."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        check_file(self._path)
        with translated(f"the store {self._path}"):
            try:
                self._writing_handle = open_writing(self._path)
                self._log = WriteAheadLog(self._writing_handle)
                upgrade(self._writing_handle, self._path)
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:
                    raise
                raise StoreRefusedError(f"{self._path} is damaged ({error}); restore it from a backup") from error
        self._changes = Changes(self._writing_handle)
        imports = Imports(self._writing_handle, self._changes)
        self._verbs = {
            WriteState: self._changes.write_state,
            AppendOutput: self._changes.append_output,
            ArchiveSession: self._changes.archive_session,
            KeepPreview: self._changes.keep_preview,
            ImportSession: imports.import_session,
            MoveSession: imports.move_session,
            CompleteSession: imports.complete_session,
        }

    def _apply(self, batch: Sequence[Change]) -> list[Outcome]:
        connection = self._handle()
        self.sync_seconds = 0.0
        if self._readers.found_damage:
            self._readers.found_damage = False
            self._changes.distrust()
            connection.execute("PRAGMA shrink_memory")  # what its cache still has is not what is stored either
        with translated(_place(batch)):
            is_complete = False
            try:
                connection.execute("BEGIN IMMEDIATE")
                outcomes = [self._outcome(change) for change in batch]
                self._changes.flush()
                is_complete = True
                self._commit(connection)
            except BaseException:
                self._changes.forget()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if is_complete:
                    self._log.cover_refused()
                raise
        self._changes.written_bytes += len(batch) * _CHANGE_BYTES
        return outcomes

    def _commit(self, connection: sqlite3.Connection) -> None:
        began = perf_counter()
        try:
            connection.execute("COMMIT")
        finally:
            self.sync_seconds = perf_counter() - began

    def _outcome(self, change: Change) -> Outcome:
        """Apply one change. What is refused is its outcome alone; what fails in the database fails the batch."""
        if type(change) is not AppendOutput:
            self._changes.flush()  # it may look at what was appended
        if isinstance(change, ImportSession | MoveSession | CompleteSession):
            self._changes.distrust()  # it may give a session files that another one had
        try:
            outcome: Outcome = self._verbs[type(change)](change)
        except SourceFailedError as error:
            return error.failure
        except StoreError as error:
            return error.with_traceback(None)  # which would hold the change, and all that came with it
        except (ValueError, OverflowError, sqlite3.IntegrityError, sqlite3.DataError) as error:
            if isinstance(change, ImportSession | MoveSession | CompleteSession):
                return error  # undone by its savepoint
            raise
        return outcome

    def _checkpoint(self) -> None:
        self._log.checkpoint(self._changes.written_bytes)

    def _handle(self) -> sqlite3.Connection:
        if self._writing_handle is None:
            raise RuntimeError("the store is not open")
        return self._writing_handle

    def _close(self) -> None:
        self._readers.shut_down()
        self._writer.close()
        handles = list(self._readers.handles)
        if self._writing_handle is not None:
            if self._log.must_stay:
                # The last handle to be closed moves the log, if it can write.
                handles.insert(0, self._writing_handle)
                handles.append(open_reading(self._path))
            else:
                handles.append(self._writing_handle)
        for connection in handles:
            connection.close()


def _place(batch: Sequence[Change]) -> str:
    """Say what a batch touches, exactly where it is one change: the writer tries those of a failed batch one by one."""
    if len(batch) != 1:
        return "one of these sessions"
    change = batch[0]
    return f"zone {change.source if isinstance(change, MoveSession | CompleteSession) else change.zone}"


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
