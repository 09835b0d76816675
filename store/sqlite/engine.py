"""`Engine` over SQLite: which thread does what, and when a transaction begins and ends.

All writing happens on one thread, which owns the one read-write handle; each batch costs one hop to it and one commit.
Reading happens on a few threads with a read-only handle each. The event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from store.changes import Changes
from store.durability import Durability, Level
from store.engine import Change, Outcome
from store.errors import StoreRefusedError
from store.handle import Handle
from store.pieces import CompressParts
from store.readers import Readers
from store.reading import ReadingEngine
from store.sqlite import compression
from store.sqlite.compression import Compressions
from store.sqlite.failures import translated
from store.sqlite.handle import SqliteHandle
from store.sqlite.handles import open_reading, open_writing
from store.sqlite.log import WriteAheadLog
from store.sqlite.schema import SCHEMA_VERSION, begin_copy, check_copying, check_file, finish_copy, upgrade
from store.thread import WriterThread
from store.verbs import Verbs, place_of
from store.zones import Zone

_DURABILITY: Final = Durability(Level.DISK, "an acknowledged change is on the disk of this machine", {})

_CHANGE_BYTES: Final = 12 * 1024
"""What a change puts into the WAL besides its data: three pages."""


async def open_sqlite(path: Path, *, is_target: bool = False) -> SqliteEngine:
    """Open the store, make it where there is none, and bring its stored form up to date.

    Args:
        path: of the database file. Its directory must exist.
        is_target: open it to be copied to.

    Raises:
        StoreRefusedError: damaged, foreign, written by a newer program, half a copy, or a target that has sessions of its own;
            the file is as it was.
        StorageUnavailableError, StorageFullError: the file cannot be used at the moment.
    """
    engine = SqliteEngine(path, is_target=is_target)
    try:
        await engine.open()
    except BaseException:
        await engine.close()
        raise
    return engine


class SqliteEngine(ReadingEngine):
    """Keeps sessions in one SQLite file."""

    name = "sqlite"

    def __init__(self, path: Path, *, is_target: bool = False) -> None:
        """Say where, and what for; `open` does the rest."""
        self._path = path
        self._is_target = is_target
        self._writer = WriterThread("sqlite-writer")
        super().__init__(Readers("sqlite-reader", lambda: SqliteHandle(open_reading(path)), translated))
        self._writing_handle: sqlite3.Connection | None = None
        self._changes: Changes
        self._compressions: Compressions
        self._verbs: Verbs
        self._log: WriteAheadLog
        self._closed = False

    async def open(self) -> None:
        """Open the writing handle. Raises as `open_sqlite` does."""
        await self._writer.call(self._open)

    async def apply(self, batch: Sequence[Change]) -> list[Outcome]:
        """See `Engine.apply`."""
        return await self._writer.call(partial(self._apply, batch))

    async def archives_to_compress(self, limit: int) -> list[Zone]:
        """See `Engine.archives_to_compress`."""
        return await self._readers.ask("the list of archives", compression.archives_to_compress, limit)

    async def compressed_parts(self, zone: Zone, before: CompressParts | None) -> CompressParts | None:
        """See `Engine.compressed_parts`."""
        return await self._readers.ask(f"zone {zone}", compression.compressed_parts, zone, before)

    @property
    def maintenance_due(self) -> bool:
        """See `Engine.maintenance_due`."""
        return self._log.is_due(self._changes.written_bytes)

    async def maintain(self) -> None:
        """Move what the WAL holds into the database, as far as readers allow; never waits for them."""
        await self._writer.call(self._checkpoint)

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
            "compression_saved_bytes": self._compressions.saved_bytes,
            "sync_failed": self._log.must_stay,
            "durability": _DURABILITY.status(),
        }

    async def begin_copy(self) -> None:
        """See `Engine.begin_copy`."""
        await self._writer.call(self._begin_copy)

    async def finish_copy(self) -> None:
        """See `Engine.finish_copy`."""
        await self._writer.call(self._finish_copy)

    async def close(self) -> None:
        """See `Engine.close`. The writing handle goes last, so that SQLite checkpoints and removes the WAL."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        check_file(self._path, is_target=self._is_target)
        with translated(f"the store {self._path}"):
            try:
                self._writing_handle = open_writing(self._path)
                self._log = WriteAheadLog(self._writing_handle, self._path)
                upgrade(self._writing_handle, self._path, is_target=self._is_target)
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:
                    raise
                raise StoreRefusedError(f"{self._path} is damaged ({error}); restore it from a backup") from error
        handle = SqliteHandle(self._writing_handle)
        self._changes = Changes(handle)
        self._compressions = Compressions(handle, self._changes)
        refused_by_database = (sqlite3.IntegrityError, sqlite3.DataError)
        further = {CompressParts: self._compressions.compress_parts}
        self._verbs = Verbs(handle, self._changes, refused_by_database, further)

    def _apply(self, batch: Sequence[Change]) -> list[Outcome]:
        connection = self._handle()
        self.sync_seconds = 0.0
        if self._readers.found_damage:
            self._readers.found_damage = False
            self._changes.distrust()
            connection.execute("PRAGMA shrink_memory")  # what its cache still has is not what is stored either
        with translated(place_of(batch)):
            is_complete = False
            try:
                connection.execute("BEGIN IMMEDIATE")
                if self._is_target:
                    check_copying(connection)
                outcomes = [self._verbs.outcome(change) for change in batch]
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

    def _checkpoint(self) -> None:
        self._log.checkpoint(self._changes.written_bytes)

    def _begin_copy(self) -> None:
        with translated(f"the store {self._path}"):
            begin_copy(self._handle(), self._path)

    def _finish_copy(self) -> None:
        with translated(f"the store {self._path}"):
            finish_copy(self._handle())

    def _handle(self) -> sqlite3.Connection:
        if self._writing_handle is None:
            raise RuntimeError("the store is not open")
        return self._writing_handle

    def _close(self) -> None:
        self._readers.shut_down()
        self._writer.close()
        handles: list[Handle | sqlite3.Connection] = list(self._readers.handles)
        if self._writing_handle is not None:
            self._log.close()
            if self._log.must_stay:
                # The last handle to be closed moves the log, if it can write.
                handles.insert(0, self._writing_handle)
                handles.append(open_reading(self._path))
            else:
                handles.append(self._writing_handle)
        for connection in handles:
            connection.close()


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
