"""The version of the stored form: whose file this is, whether we may open it, and how it is brought up to date.

A new step is a further group of statements in `store/sql/sqlite_schema.sql` and a further row of `_STEPS`. Steps are
never edited once released; a store made anew takes them all.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from store.errors import StorageUnavailableError, StoreRefusedError
from store.place import half_a_copy, is_no_target, taken_meanwhile
from store.records import Standing
from store.sql import load
from store.sqlite.failures import store_error
from store.sqlite.handles import open_reading
from store.sqlite.looking import LOG_SUFFIX, size_of

APPLICATION_ID: Final = 0x5A4F4E45
"""`ZONE`: marks the file as ours, where `file(1)` and we look for it."""

_MARKS: Final = {Standing.OWN: APPLICATION_ID, Standing.COPYING: 0x5A4F4E43, Standing.COPIED: 0x5A4F4E44}
"""The same for a copy that is not whole, `ZONC`, and for one that nobody has served yet, `ZOND`."""

_STATEMENTS: Final = load("sqlite_schema.sql")
_ANY_SESSION: Final = load("sqlite_zones.sql")["any_session"]
_STEPS: Final = (
    (
        "step_one_zones",
        "step_one_zones_by_agent",
        "step_one_zones_without_preview",
        "step_one_file_parts",
        "step_one_file_parts_by_line",
    ),
    ("step_two_zones_is_compressed", "step_two_zones_to_compress"),
)
SCHEMA_VERSION: Final = len(_STEPS)

_FILE_HEAD: Final = struct.Struct(">16s44xi4xi")
"""Of a database: its magic, `user_version` and `application_id` (https://sqlite.org/fileformat.html#the_database_header)."""

_FILE_MAGIC: Final = b"SQLite format 3\x00"
_JOURNAL_HEAD: Final = struct.Struct(">8s8xI4xI")
"""Of a rollback journal: its magic, how many pages the database had before, the size of one in bytes (section 3 there)."""

_JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")

_LOG_HEAD: Final = struct.Struct(">8xI20x")
"""Of a write-ahead log: the size of a page in bytes (section 4 there)."""

_FRAME_HEAD: Final = struct.Struct(">4xI16x")
"""Of a page in the log: how many pages the database has after the commit that the page ends, 0 where it ends none."""


def check_file(path: Path, *, is_target: bool = False) -> None:
    """Look at a file before anything may change it. One that is not there, or is empty, is a new store.

    Args:
        path: of the file.
        is_target: it is opened to be copied to, so half a copy will do.

    Raises:
        StoreRefusedError: written by a newer program, by another program, or not a database at all; or only its log is left; or
            it is half a copy.
        StorageUnavailableError: it cannot be read at the moment.
    """
    if not path.exists() or path.stat().st_size == 0:
        if (log := log_left_of(path)) is not None:
            raise StoreRefusedError(
                f"{path} is {'empty' if path.exists() else 'missing'}, but {log} holds changes to it; put that very {path.name}"
                " back, or move the log away and restore a backup, or start empty. Nothing was touched"
            )
        return
    try:
        connection = open_reading(path)
        try:
            check_version(connection, path, is_target=is_target)
        finally:
            connection.close()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
            _check_cut_off(path, is_target=is_target)
            return
        if isinstance(failure := store_error(error, str(path)), StorageUnavailableError):
            raise failure from error
        raise StoreRefusedError(
            f"{path} cannot be read as a database ({error}); restore it from a backup, or move it away to start empty"
        ) from error


def log_left_of(path: Path) -> Path | None:
    """Return the log of a database that has no byte any more, or is gone, where that log holds changes; else None.

    SQLite takes such a log for another database's, and deletes it. A start that is cut off leaves none: the database has its
    first page on disk before there is a log.
    """
    if size_of(path):
        return None
    log = Path(os.path.realpath(path) + LOG_SUFFIX)
    return log if size_of(log) and _holds_commit(log) else None


def upgrade(connection: sqlite3.Connection, path: Path, *, is_target: bool = False) -> None:
    """Take the steps that the file lacks, all or none, and make it the daemon's own where it is not to be copied to.

    Raises:
        StoreRefusedError: as `check_file` does, for a change that happened in between; or a target has sessions of its own.
    """
    with _transaction(connection):
        version = check_version(connection, path, is_target=is_target)
        for step in _STEPS[version:]:
            for name in step:
                connection.execute(_STATEMENTS[name])
        if version < SCHEMA_VERSION:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if version and is_target:
            _check_target(connection, path)
        else:
            _set_standing(connection, Standing.OWN)


def begin_copy(connection: sqlite3.Connection, path: Path) -> None:
    """Make the store half a copy, which no daemon opens.

    Raises:
        StoreRefusedError: a daemon has taken it since it was looked at.
    """
    with _transaction(connection):
        _check_target(connection, path)
        _set_standing(connection, Standing.COPYING)


def finish_copy(connection: sqlite3.Connection) -> None:
    """Make half a copy a whole one, which a daemon may take. Raises as `check_copying` does."""
    with _transaction(connection):
        check_copying(connection)
        _set_standing(connection, Standing.COPIED)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _set_standing(connection: sqlite3.Connection, standing: Standing) -> None:
    if _mark(connection) != _MARKS[standing]:
        connection.execute(f"PRAGMA application_id = {_MARKS[standing]}")


def check_copying(connection: sqlite3.Connection) -> None:
    """Look whether the store is half a copy still, in the transaction that is open.

    Raises:
        StorageUnavailableError: another program has made it whole; a daemon may have taken it by now.
    """
    if _mark(connection) != _MARKS[Standing.COPYING]:
        raise StorageUnavailableError(taken_meanwhile())


def check_version(connection: sqlite3.Connection, path: Path, *, is_target: bool = False) -> int:
    """Return the version of the stored form, 0 for a new store.

    Raises:
        StoreRefusedError: written by a newer program, or by another one; or half a copy, where it is not to be copied to.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    _check_owner(path, version, _mark(connection), has_tables=tables > 0, is_target=is_target)
    return int(version)


def _check_target(connection: sqlite3.Connection, path: Path) -> None:
    if _mark(connection) == APPLICATION_ID and connection.execute(_ANY_SESSION).fetchone():
        raise StoreRefusedError(is_no_target(str(path)))


def _mark(connection: sqlite3.Connection) -> int:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    return int(application_id)


def _holds_commit(log: Path) -> bool:
    """Tell whether a log has the end of any commit, also of one that was moved into the database since."""
    with log.open("rb") as file:
        head = file.read(_LOG_HEAD.size)
        if len(head) < _LOG_HEAD.size:
            return False
        (page_bytes,) = _LOG_HEAD.unpack(head)
        while len(frame_head := file.read(_FRAME_HEAD.size)) == _FRAME_HEAD.size:
            if any(_FRAME_HEAD.unpack(frame_head)):
                return True
            file.seek(page_bytes, os.SEEK_CUR)
    return False


def _check_cut_off(path: Path, *, is_target: bool) -> None:
    """Look at a file whose last transaction was cut off half way, and has yet to be undone from its journal.

    Undoing it changes the file, so that is left to the writing handle, and whose file it is to the bytes as they are. The
    switch to a write-ahead log, our one transaction with such a journal, changes neither mark nor version. On a new store it
    makes the first page, which may be anything then, and that nothing was there before tells that nothing is lost.

    Raises:
        StoreRefusedError: as `check_version`.
    """
    with path.open("rb") as file:
        head = file.read(_FILE_HEAD.size)
    # SQLite keeps it beside the file itself, not beside a link to it.
    with Path(os.path.realpath(path) + "-journal").open("rb") as file:
        journal_head = file.read(_JOURNAL_HEAD.size)
    if len(journal_head) == _JOURNAL_HEAD.size:
        magic, pages_before, page_bytes = _JOURNAL_HEAD.unpack(journal_head)
        if magic == _JOURNAL_MAGIC and pages_before == 0 and path.stat().st_size <= page_bytes:
            return
    version = application_id = 0
    if len(head) == _FILE_HEAD.size and head.startswith(_FILE_MAGIC):
        _, version, application_id = _FILE_HEAD.unpack(head)
    _check_owner(path, version, application_id, has_tables=True, is_target=is_target)


def _check_owner(path: Path, version: int, application_id: int, *, has_tables: bool, is_target: bool) -> None:
    is_ours = application_id in _MARKS.values()
    if version > SCHEMA_VERSION and (is_ours or not has_tables):
        raise StoreRefusedError(
            f"{path} was written by a newer version of Zonekeeper (stored form {version}, this program knows"
            f" {SCHEMA_VERSION}); install that version or a later one. The file was not touched"
        )
    if not is_ours and (has_tables or version or application_id):
        raise StoreRefusedError(
            f"{path} is a database of another program; move it away or choose another --data-dir. The file was not touched"
        )
    if application_id == _MARKS[Standing.COPYING] and not is_target:
        raise StoreRefusedError(half_a_copy(str(path)))
