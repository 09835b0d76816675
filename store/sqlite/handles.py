"""Database handles: how they are opened, and what is set on them.

The writing handle alone checkpoints, when it is told to. That keeps readers quick, and rules out the WAL-reset
corruption of SQLite before 3.51.3, which needs a checkpoint on one handle beside a write on another. What other programs
write, such as Litestream, the guarding handle keeps off meanwhile (`log`).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from store.errors import StorageDamagedError, StoreRefusedError

BUSY_WAIT_MS: Final = 5_000
"""A foreign program that looks at the store may hold a lock for a moment."""

_SUFFIXES: Final = ("", "-wal", "-shm")
"""Of the database, its log, and the index of that."""

_CACHE_KIB: Final = 16 * 1024
_WAL_KEPT_BYTES: Final = 20 * 1024 * 1024
"""A WAL that has grown beyond this is cut back once it starts anew. Somewhat more than what makes a checkpoint due."""

_SHARED: Final = {"busy_timeout": BUSY_WAIT_MS, "cache_size": -_CACHE_KIB, "mmap_size": 0, "trusted_schema": 0}
_WRITING: Final = {
    "foreign_keys": 1,
    "synchronous": 2,  # FULL: each commit waits for the disk
    "fullfsync": 1,  # macOS: fsync alone does not reach the disk there
    "checkpoint_fullfsync": 1,
    "wal_autocheckpoint": 0,  # see `SqliteEngine.maintain`
    "secure_delete": 0,  # some builds write zeros over what is deleted, into the log as well: a third of an append
    "journal_size_limit": _WAL_KEPT_BYTES,
}
_READING: Final = {"query_only": 1}
_GUARDING: Final = {"busy_timeout": 0, "wal_autocheckpoint": 0}


def open_writing(path: Path) -> sqlite3.Connection:
    """Open the one read-write handle, and make sure of its settings.

    Raises:
        StoreRefusedError: a setting did not take, so the promises would not hold; or one of its files cannot be written.
    """
    _check_writable(path)
    path.touch(mode=0o600)  # conversations are nobody else's business; the log beside it takes the same mode
    connection = _connect(path, "rw")
    try:
        _use_wal(connection, path)
        _set(connection, path, _SHARED | _WRITING)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reading(path: Path) -> sqlite3.Connection:
    """Open a read-only handle.

    Raises:
        StorageDamagedError: the file has no byte. SQLite would delete the log beside it, even through such a handle.
    """
    if path.exists() and path.stat().st_size == 0:
        raise StorageDamagedError("the database is damaged: its file is empty")
    connection = _connect(path, "ro")
    try:
        _set(connection, path, _SHARED | _READING)
    except BaseException:
        connection.close()
        raise
    return connection


def open_guarding(path: Path) -> sqlite3.Connection:
    """Open a handle that can hold the lock of whoever writes, waits for nobody, and writes nothing itself."""
    connection = _connect(path, "rw")
    try:
        _set(connection, path, _SHARED | _GUARDING)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_writable(path: Path) -> None:
    """Check what SQLite does not tell: a file that may not be written it opens all the same, to refuse every change later."""
    real = os.path.realpath(path)  # SQLite keeps companions beside the file itself, not beside a link to it
    for suffix in _SUFFIXES:
        file = Path(real + suffix)
        if file.exists() and not os.access(file, os.W_OK):
            raise StoreRefusedError(
                f"{file} cannot be written by this user; give it the right to write (chmod u+w, or chown) and start again"
            )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Autocommit: transactions are begun and ended by us, in words. Handles stay on their threads but are closed from
    # another.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_WAIT_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=64
    )


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = wal").fetchone()
    if mode != "wal":
        raise StoreRefusedError(f"{path} cannot use a write-ahead log (got {mode}); put the data on a local disk")


def _set(connection: sqlite3.Connection, path: Path, settings: dict[str, int]) -> None:
    """Set and read back. A setting that this build of SQLite does not know answers nothing, and has nothing to set."""
    for name, value in settings.items():
        connection.execute(f"PRAGMA {name} = {value}")
        row = connection.execute(f"PRAGMA {name}").fetchone()
        if row is not None and row[0] != value:
            raise StoreRefusedError(f"{path}: SQLite keeps {name} at {row[0]}, where {value} is needed")
