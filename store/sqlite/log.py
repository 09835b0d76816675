"""The write-ahead log: when it is moved into the database, and what is done about it after the disk has failed.

Another program may write to the store: Litestream does, to copy it as it grows. In SQLite before 3.51.3 a checkpoint takes a
log that is begun anew while it starts for the one before, and a later one then leaves out pages (the WAL-reset bug). Only a
write begins the log anew. So ours run while nobody can write; that needs a second handle, as SQLite runs none inside a
transaction of the same one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Final

import structlog

from store.sqlite.failures import translated
from store.sqlite.handles import open_guarding
from store.sqlite.schema import SCHEMA_VERSION

_CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
"""So much in the log, roughly, makes a checkpoint due: few enough of them, and each one short."""

_PRIMARY_CODE: Final = 0xFF
_FSYNC_FAILED: Final = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}

_log = structlog.get_logger()


class WriteAheadLog:
    """Looks after the log through the writing handle, on the writer's thread.

    Attributes:
        must_stay: the database file could not be synced. What the kernel then holds of it is no longer known, while SQLite
            would take some of it for written. The log still has all of it, so it is kept; the next start moves it once more.
        pages_left: that the last checkpoint has left in the log, because a reader still needs what they are to replace.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Look after the log of this handle, which is to the database at this path."""
        self._connection = connection
        self._path = path
        self._guard: sqlite3.Connection | None = None
        self._moved_bytes = 0
        self._whole_at = perf_counter()
        self.pages_left = 0
        self.must_stay = False

    @property
    def whole_seconds_ago(self) -> float:
        """How long ago a checkpoint last moved all of the log, or, where none has yet, it was opened."""
        return perf_counter() - self._whole_at

    def is_due(self, written_bytes: int) -> bool:
        """Tell whether so much has been written that a checkpoint is due."""
        return not self.must_stay and written_bytes - self._moved_bytes >= _CHECKPOINT_BYTES

    def checkpoint(self, written_bytes: int) -> None:
        """Move the log into the database, as far as readers allow; never waits for them, nor for another program that writes.

        Raises:
            StorageUnavailableError, StorageFullError: it did not work; what is stored is as safe as before.
        """
        with translated("the write-ahead log"), self._others_kept_off() as are_off:
            is_whole = are_off and self._move()
        # What was kept back is tried again soon: the log begins anew only in a moment when all of it is moved.
        self._moved_bytes = written_bytes - (0 if is_whole else _CHECKPOINT_BYTES * 15 // 16)

    def close(self) -> None:
        """Close the handle that keeps others off. The writing one must be open yet, else this one would move the log."""
        if self._guard is not None:
            self._guard.close()

    @contextmanager
    def _others_kept_off(self) -> Iterator[bool]:
        """Hold the lock that whoever writes needs; gives False where somebody has it. Opens its handle the first time."""
        if self._guard is None:
            self._guard = open_guarding(self._path)
        try:
            self._guard.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                raise
            yield False
            return
        try:
            yield True
        finally:
            self._guard.execute("ROLLBACK")

    def _move(self) -> bool:
        """Checkpoint; returns whether all of the log is moved."""
        try:
            ((_, pages, moved),) = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in _FSYNC_FAILED:
                self.must_stay = True
                _log.error("sync_failed", hint="the log grows from now on; see to the disk and restart the daemon")
            raise
        self.pages_left = max(0, pages - moved)
        if not self.pages_left:
            self._whole_at = perf_counter()
        return not self.pages_left

    def cover_refused(self) -> None:
        """Write over what a failed commit has left in the log, whole perhaps, so that no later start takes it for stored.

        Where this fails too, the next commit does it; a crash before that may bring the refused changes back.
        """
        with suppress(sqlite3.Error):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._connection.execute("COMMIT")
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
