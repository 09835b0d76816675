"""Another program that looks at the store, or puts a fault into it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE_NAME = "zones.db"


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a store read-only, as `sqlite3 -readonly` does beside the running daemon."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def meddling(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a store for writing, as nobody should."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    try:
        yield connection
    finally:
        connection.close()


def bytes_of(path: Path) -> bytes:
    """Read the whole file."""
    return path.read_bytes()


def wal_of(path: Path) -> Path:
    """Name a store's write-ahead log."""
    return path.with_name(path.name + "-wal")


def size_of(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def copy_of(directory: Path) -> Path:
    """Copy a store's directory as it is at this instant: what a power cut would leave. Returns the copy's directory."""
    copy = directory.with_name(directory.name + "-copy")
    shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*-shm"))
    return copy


def rows(path: Path, question: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask a store one question from outside."""
    with looking(path) as connection:
        return connection.execute(question, values).fetchall()


def parts(path: Path, name: str = "output") -> list[tuple[int, int]]:
    """Return start and size of the parts of every file of that name, in order."""
    found = rows(
        path, "SELECT start_byte, size_bytes FROM file_parts WHERE name = ? ORDER BY zone_id, start_byte", name
    )
    return [(start_byte, size_bytes) for start_byte, size_bytes in found]
