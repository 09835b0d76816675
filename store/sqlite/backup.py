"""A consistent copy of a store, made while the daemon goes on writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store.errors import StoreRefusedError
from store.sqlite.failures import translated
from store.sqlite.handle import SqliteHandle
from store.sqlite.looking import look_at, transaction
from store.sqlite.schema import check_version

_PAGES_OF_STEP: Final = 1_024
"""4 MiB: between two steps progress is told, and an interruption is heard."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        size_bytes: size of the copy.
        sessions: number of sessions in it.
        archives: number of archived ones among them.
    """

    size_bytes: int
    sessions: int
    archives: int


def copy_store(path: Path, copy: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Copied:
    """Copy a store as it is at one instant into one file, which needs no log beside it.

    The pages are copied in steps within one read transaction, begun before the first: what is committed meanwhile is not
    in the copy, and no step begins again because of it.

    Args:
        path: of the store; it is only read.
        copy: an empty file.
        progress: told how many bytes are copied, and of how many.

    Raises:
        StoreRefusedError: it is not a store that this version knows, or there is none yet.
        StorageFullError: there is no room for the copy.
        StorageDamagedError, StorageUnavailableError: the store cannot be read, or the copy not written.
    """
    if not path.exists():
        raise StoreRefusedError(f"there is no store {path} yet, so there is nothing to copy")
    with translated(f"the store {path}"):
        return look_at(path, lambda source: _copied(source, path, copy, progress))


def _copied(source: sqlite3.Connection, path: Path, copy: Path, progress: Callable[[int, int], None]) -> Copied:
    with transaction(source):
        if check_version(source, path) == 0:
            raise StoreRefusedError(f"{path} is not a store yet, so there is nothing to copy")
        _copy_pages(source, copy, progress)
    return as_one_file(copy)


def as_one_file(copy: Path) -> Copied:
    """Have a copy that nobody has open need no write-ahead log beside it, which its first page says that it uses.

    Raises:
        StoreRefusedError: it still wants one.
        StorageFullError, StorageUnavailableError: it cannot be written.
    """
    with translated(f"the copy {copy}"), closing(sqlite3.connect(copy, isolation_level=None)) as target:
        target.execute("PRAGMA locking_mode = EXCLUSIVE")
        (mode,) = target.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode != "delete":
            raise StoreRefusedError(f"{copy} still wants a write-ahead log beside it (journal_mode {mode})")
        ((sessions, archives, _),) = SqliteHandle(target).rows("count_sessions")  # of an older form as well
    return Copied(copy.stat().st_size, sessions, archives)


def _copy_pages(source: sqlite3.Connection, copy: Path, progress: Callable[[int, int], None]) -> None:
    (page_bytes,) = source.execute("PRAGMA page_size").fetchone()
    with closing(sqlite3.connect(copy, isolation_level=None)) as target:
        # Nobody knows this file yet, and whoever made it syncs it when it is whole.
        target.execute("PRAGMA journal_mode = OFF")
        target.execute("PRAGMA synchronous = OFF")

        def tell(_status: int, remaining: int, total: int) -> None:
            progress((total - remaining) * page_bytes, total * page_bytes)

        source.backup(target, pages=_PAGES_OF_STEP, progress=tell)
