"""What SQLite itself is, and what it says of a database: its version and settings, its schema, its pages."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from store.sql import load
from store.sqlite.handles import open_writing
from store.sqlite.schema import upgrade

_MESSAGES_MAX: Final = 100
_WATCH_SECONDS: Final = 0.02
_SETTINGS: Final = ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint", "mmap_size", "fullfsync")
_OBJECTS: Final = load("sqlite_check.sql")["objects"]
_VERSIONS_AT: Final = 18
"""In the header of a database: two bytes, each 2 where it uses a write-ahead log (https://sqlite.org/fileformat.html)."""


def sqlite_facts(scratch: Path) -> dict[str, Any]:
    """Tell which SQLite this is, and what the daemon's settings are once they are set and read back.

    Args:
        scratch: an empty directory, where a database is made for it.

    Raises:
        StoreRefusedError: a setting does not take.
    """
    with closing(open_writing(scratch / "settings.db")) as connection:
        settings = {name: row[0] for name in _SETTINGS if (row := connection.execute(f"PRAGMA {name}").fetchone())}
    version = sqlite3.sqlite_version
    return {"version": version, "has_wal_reset_bug": has_wal_reset_bug(sqlite3.sqlite_version_info), **settings}


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Tell whether a version of SQLite has the WAL-reset bug: 3.7.0 to 3.51.2, but for two that took the fix over.

    Source: https://sqlite.org/wal.html, "The WAL-Reset Bug".
    """
    if (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51):
        return False
    return (3, 7) <= version < (3, 51, 3)


def journal_mode(path: Path) -> str:
    """Return `wal` or `delete`, as the header of a database says: a handle to one at rest cannot tell."""
    with path.open("rb") as file:
        file.seek(_VERSIONS_AT)
        return "wal" if file.read(2) == b"\2\2" else "delete"


def schema_objects(connection: sqlite3.Connection) -> dict[str, tuple[str, str | None]]:
    """Return kind and statement of all that a schema holds, by name; how a statement is broken into lines says nothing."""
    rows = connection.execute(_OBJECTS).fetchall()
    return {name: (kind, None if sql is None else " ".join(sql.split())) for kind, name, sql in rows}


def fresh_schema_objects() -> dict[str, tuple[str, str | None]]:
    """Return the same of a store that is made anew."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        upgrade(fresh, Path(":memory:"))
        return schema_objects(fresh)


def check_structure(connection: sqlite3.Connection, is_enough: Callable[[], bool]) -> list[str] | None:
    """Let SQLite check a database; returns what it says is wrong, or None where it was given up.

    It runs on a thread of its own, since one statement may take minutes: so it can be interrupted, by a signal as well.

    Args:
        connection: a handle that may be used from another thread.
        is_enough: asked now and then whether to give up.

    Raises:
        sqlite3.Error: it cannot be checked.
    """
    messages: list[str] = []
    failures: list[sqlite3.Error] = []

    def ask() -> None:
        try:
            rows = connection.execute(f"PRAGMA integrity_check({_MESSAGES_MAX})").fetchall()
            messages.extend(line for (text,) in rows for line in str(text).split("\n") if not line.startswith("***"))
        except sqlite3.Error as error:
            failures.append(error)

    asking = threading.Thread(target=ask, name="integrity-check")
    asking.start()
    is_given_up = False
    try:
        while asking.is_alive():
            asking.join(_WATCH_SECONDS)
            is_given_up |= is_enough()
            if is_given_up:
                connection.interrupt()
    finally:
        while asking.is_alive():
            connection.interrupt()
            asking.join(_WATCH_SECONDS)
    if failures:
        if is_given_up and failures[0].sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise failures[0]
    return [message for message in messages if message != "ok"]
