"""Opening what AgentMux left: read-only, whatever state a killed program left it in (LEGACY.md section 1)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from migrations.records import MigrationFailedError

OBJECTS_DB: Final = "objects.db"
FILESTORE_DB: Final = "filestore.db"
COMPANIONS: Final = ("-journal", "-wal")
"""What SQLite keeps beside a database and may hold commits, or the way back from a change that was cut off."""

_COPY_TRIES: Final = 3
# What SQLite says where a read-only opening would have to write first: roll a journal back, recover or make a WAL's
# index.
_NEEDS_WRITING: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN})
_PRIMARY_CODE: Final = 0xFF

_log = structlog.get_logger()


def find_legacy_file(data_dir: Path, name: str) -> Path | None:
    """Look for a database in `<data_dir>/db/`, then in `<data_dir>/`.

    An empty file holds nothing, so it is none, and hides none. A link that leads nowhere is found: it cannot be read.
    """
    candidates = (data_dir / "db" / name, data_dir / name)
    return next((path for path in candidates if os.path.lexists(path) and not _is_empty(path)), None)


def _is_empty(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_size


class LegacyReadError(Exception):
    """One row or file of a legacy database cannot be read; the others may well be."""


@contextmanager
def readable(path: Path, what: str = "the file") -> Iterator[None]:
    """Turn what SQLite or the system says about an unreadable database into the sentence that ends the start-up."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise MigrationFailedError(
            f"{path}: {what} is there but cannot be read ({error}). Close every program that uses it, restore it "
            f"from a backup, or move it out of the data directory to start without it; then start again."
        ) from error


def is_locked(error: BaseException) -> bool:
    """Tell whether it was another program's lock that an error speaks of, or was raised from."""
    codes = (getattr(each, "sqlite_errorcode", 0) & _PRIMARY_CODE for each in (error, error.__cause__))
    return sqlite3.SQLITE_BUSY in codes


def connect(path: Path, mode: str, busy_ms: int) -> sqlite3.Connection:
    """Open a database in the URI mode `ro` or `rw`, and read its schema, which is when SQLite notices that it cannot.

    Text that is not valid UTF-8 must not end a scan, so it is read with replacement characters. The connection may go
    from thread to thread: the migrations use it from one at a time.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False, cached_statements=16
    )
    try:
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True, slots=True)
class LegacyDatabase:
    """A legacy database, open for reading.

    Attributes:
        path: where it is.
        opened_path: what was opened: the same, or a temporary copy.
        connection: to `opened_path`.
    """

    path: Path
    opened_path: Path
    connection: sqlite3.Connection

    def columns(self, table: str) -> frozenset[str]:
        """Name the columns of a table, in lower case; none where there is no such table."""
        return frozenset(column.lower() for column in table_columns(self.connection, table))

    def require(self, table: str, *needed: str) -> bool:
        """Tell whether the table is there.

        Raises:
            MigrationFailedError: it is, but cannot be read or lacks one of the columns needed.
        """
        with readable(self.path, f"the table {table}"):
            columns = self.columns(table)
        missing = [name for name in needed if name not in columns]
        if columns and missing:
            raise MigrationFailedError(
                f"{self.path}: the table {table} lacks the column {', '.join(missing)}, which the migration cannot "
                f"do without. Restore the file from a backup, or move it out of the data directory to start without it; "
                f"then start again."
            )
        return bool(columns)

    def close(self) -> None:
        """Let go of it. Doing it twice is harmless."""
        self.connection.close()


def table_columns(connection: sqlite3.Connection, table: str) -> dict[str, bool]:
    """Return the columns of a table, with `True` for one that SQLite numbers itself; none where there is no such table."""
    rows = connection.execute("SELECT name, upper(type) = 'INTEGER' AND pk = 1 FROM pragma_table_info(?)", (table,))
    return {name: bool(numbered) for name, numbered in rows}


def open_for_reading(path: Path, scratch: Path, *, only_copy: bool, busy_ms: int) -> LegacyDatabase:
    """Open a legacy database in whatever state it was left.

    Where a read-only opening cannot work (a journal of a killed program; a WAL in a directory that cannot be written),
    SQLite may roll `objects.db` back once, and anything else is read from a copy in `scratch`.

    Args:
        path: the database.
        scratch: a directory for the copy; made where it is needed.
        only_copy: touch nothing beside the original, not even the index of a WAL.
        busy_ms: how long to wait for another program's lock.

    Raises:
        MigrationFailedError: it cannot be read.
    """
    with readable(path):
        if only_copy:
            return _open_copy(path, scratch, busy_ms)
        try:
            return LegacyDatabase(path, path, connect(path, "ro", busy_ms))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE not in _NEEDS_WRITING or not path.is_file():
                raise
            _log.warning("legacy_database_not_closed", path=str(path), reason=error.sqlite_errorname)
        if path.name == OBJECTS_DB and _rolled_back(path, busy_ms):
            return LegacyDatabase(path, path, connect(path, "ro", busy_ms))
        return _open_copy(path, scratch, busy_ms)


def _rolled_back(path: Path, busy_ms: int) -> bool:
    try:
        with closing(connect(path, "rw", busy_ms)):
            pass
    except sqlite3.OperationalError as error:
        _log.warning("legacy_database_not_rolled_back", path=str(path), reason=error.sqlite_errorname)
        return False
    return True


def _open_copy(path: Path, scratch: Path, busy_ms: int) -> LegacyDatabase:
    copy = _copied(path, scratch)
    connection = connect(copy, "rw", busy_ms)
    return LegacyDatabase(path, copy, connection)


def _copied(path: Path, scratch: Path) -> Path:
    scratch.mkdir(mode=0o700, exist_ok=True)
    copy = scratch / path.name
    original = os.path.realpath(path)  # SQLite keeps companions beside the file itself, not beside a link to it
    for _ in range(_COPY_TRIES):
        before = file_states(path)
        for suffix in ("", *COMPANIONS):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)
            if suffix in before:
                try:
                    shutil.copyfile(f"{original}{suffix}", f"{copy}{suffix}")
                except FileNotFoundError:
                    continue  # a companion that has just gone; the comparison below sees it
        if file_states(path) == before:
            return copy
    raise MigrationFailedError(f"{path}: another program keeps writing to it. Close that program, then start again.")


def file_states(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return size (bytes), inode and modification time (unix ns) of a database and of its companions, by suffix.

    Companions stand beside the file itself, where `path` is a link to it. An empty companion counts as none: reading
    alone may leave one behind.
    """
    states = {}
    original = os.path.realpath(path)
    for suffix in ("", *COMPANIONS):
        try:
            found = Path(f"{original}{suffix}").stat()
        except FileNotFoundError:
            continue
        if found.st_size or not suffix:
            states[suffix] = (found.st_size, found.st_ino, found.st_mtime_ns)
    return states
