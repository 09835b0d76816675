"""The version of the stored form: whose file this is, whether we may open it, and how it is brought up to date.

A new step is a further group of statements in `store/sql/sqlite_schema.sql` and a further row of `_STEPS`. Steps are
never edited once released; a store made anew takes them all.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from store.errors import StorageUnavailableError, StoreRefusedError
from store.sql import load
from store.sqlite.failures import store_error
from store.sqlite.handles import open_reading

APPLICATION_ID: Final = 0x5A4F4E45
"""`ZONE`: marks the file as ours, where `file(1)` and we look for it."""

_STATEMENTS: Final = load("sqlite_schema.sql")
_STEPS: Final = (
    (
        "step_one_zones",
        "step_one_zones_by_agent",
        "step_one_zones_without_preview",
        "step_one_file_parts",
        "step_one_file_parts_by_line",
    ),
)
SCHEMA_VERSION: Final = len(_STEPS)


def check_file(path: Path) -> None:
    """Look at a file before anything may change it. One that is not there, or is empty, is a new store.

    Raises:
        StoreRefusedError: written by a newer program, by another program, or not a database at all.
        StorageUnavailableError: it cannot be read at the moment.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        connection = open_reading(path)
        try:
            check_version(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        if isinstance(failure := store_error(error, str(path)), StorageUnavailableError):
            raise failure from error
        raise StoreRefusedError(
            f"{path} cannot be read as a database ({error}); restore it from a backup, or move it away to start empty"
        ) from error


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Take the steps that the file lacks, all or none.

    Raises:
        StoreRefusedError: as `check_file` does, for a change that happened in between.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check_version(connection, path)
        for step in _STEPS[version:]:
            for name in step:
                connection.execute(_STATEMENTS[name])
        if version < SCHEMA_VERSION:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the stored form, 0 for a new store.

    Raises:
        StoreRefusedError: written by a newer program, or by another one.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > SCHEMA_VERSION and (application_id == APPLICATION_ID or not tables):
        raise StoreRefusedError(
            f"{path} was written by a newer version of Zonekeeper (stored form {version}, this program knows"
            f" {SCHEMA_VERSION}); install that version or a later one. The file was not touched"
        )
    if application_id != APPLICATION_ID and (tables or version or application_id):
        raise StoreRefusedError(
            f"{path} is a database of another program; move it away or choose another --data-dir. The file was not touched"
        )
    return int(version)
