"""SQLite's errors become the store's, by their codes: the texts are not stable and may hold paths and statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from store.errors import StorageDamagedError, StorageFullError, StorageUnavailableError, StoreError

_PRIMARY_CODE: Final = 0xFF
_SHARED_MEMORY_GROWS: Final = 4874
"""SQLITE_IOERR_SHMSIZE, which the `sqlite3` module does not name before Python 3.12: the disk is full."""

_FULL: Final = {sqlite3.SQLITE_FULL}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
}


def store_error(error: sqlite3.Error, place: str) -> StoreError | None:
    """Say an SQLite error in the store's words; None where it is a fault of ours, such as a statement that is wrong.

    Args:
        error: what SQLite raised.
        place: what was being read or written, for people: `zone … file …`.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Without a code the module speaks for itself: of faults of ours, or of a stored text that is not Unicode.
        return _damaged(place) if type(error) is sqlite3.OperationalError else None
    primary = code & _PRIMARY_CODE
    if primary in _FULL or code == _SHARED_MEMORY_GROWS:
        return StorageFullError()
    if primary in _DAMAGED:
        return _damaged(place)
    if primary in _UNAVAILABLE:
        return StorageUnavailableError(f"the database cannot be used at the moment ({error.sqlite_errorname})")
    return None


def _damaged(place: str) -> StorageDamagedError:
    return StorageDamagedError(f"the database is damaged where {place} is stored")


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise the store's error in place of SQLite's; the cause is kept for the log."""
    try:
        yield
    except sqlite3.Error as error:
        translation = store_error(error, place)
        if translation is None:
            raise
        try:
            raise translation from error
        finally:
            del translation  # its traceback would hold it, and all that was to be stored
