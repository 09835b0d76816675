"""The database's file has no byte any more, or is gone: what its log holds is not thrown away with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from store.engine import AppendOutput
from store.errors import StorageDamagedError, StoreRefusedError
from store.sqlite import SqliteEngine, open_sqlite
from store.sqlite.check import check_store
from store.sqlite.handles import open_reading
from store.zones import agent_current_zone
from tests.store.foreign import FILE_NAME, bytes_of, copy_of, rows, wal_of

LOG_HEAD_BYTES: Final = 32
FRAME_BYTES: Final = 24 + 4_096

GONE: Final[dict[str, Callable[[Path], object]]] = {"emptied": lambda path: os.truncate(path, 0), "gone": Path.unlink}


def mend(path: Path, database: bytes) -> None:
    """Put a database back."""
    path.write_bytes(database)


@pytest.fixture
async def killed(sqlite: SqliteEngine, path: Path) -> Path:
    """Return a store as a kill leaves it: what was acknowledged is in its log."""
    await sqlite.apply([AppendOutput(agent_current_zone("agent"), b"kept\n" * 1_000, 1)])
    return copy_of(path.parent) / FILE_NAME


@pytest.mark.parametrize("how", GONE)
async def test_a_log_with_changes_is_not_a_new_store(killed: Path, how: str) -> None:
    """The start is refused, in words that name both files and say what to do; nothing is touched, and mended it goes on."""
    database, log = bytes_of(killed), bytes_of(wal_of(killed))
    GONE[how](killed)
    for _ in range(2):
        with pytest.raises(
            StoreRefusedError,
            match=r"zones\.db is (empty|missing).*zones\.db-wal .*put that very zones\.db back, or move",
        ) as said:
            await open_sqlite(killed)
        assert str(killed) in str(said.value)
    assert bytes_of(wal_of(killed)) == log
    mend(killed, database)
    await (await open_sqlite(killed)).close()
    assert rows(killed, "SELECT size_bytes FROM file_parts") == [(5_000,)]


@pytest.mark.parametrize("how", GONE)
async def test_with_its_log_moved_away_it_is_a_new_store(killed: Path, how: str) -> None:
    """As the refusal says."""
    GONE[how](killed)
    wal_of(killed).rename(killed.with_name("old-log"))
    await (await open_sqlite(killed)).close()
    assert rows(killed, "SELECT count(*) FROM zones") == [(0,)]


@pytest.mark.parametrize("kept_bytes", [0, 10, LOG_HEAD_BYTES, LOG_HEAD_BYTES + 10, LOG_HEAD_BYTES + FRAME_BYTES])
@pytest.mark.parametrize("how", GONE)
async def test_a_log_without_a_commit_holds_nothing(killed: Path, how: str, kept_bytes: int) -> None:
    """Nothing was acknowledged of what it holds: a store is made beside it."""
    GONE[how](killed)
    os.truncate(wal_of(killed), kept_bytes)
    await (await open_sqlite(killed)).close()
    assert rows(killed, "SELECT count(*) FROM zones") == [(0,)]


@pytest.mark.parametrize("how", GONE)
async def test_the_check_finds_it(killed: Path, how: str) -> None:
    """The doctor does not say that there is no store yet, and leaves the log alone."""
    log = bytes_of(wal_of(killed))
    GONE[how](killed)
    found = check_store(killed)
    assert ([finding.word for finding in found.findings], found.is_sound) == (["STORE_EMPTIED"], False)
    assert bytes_of(wal_of(killed)) == log


def test_nobody_who_only_reads_opens_an_empty_file(killed: Path) -> None:
    """SQLite would delete the log beside it, even for a handle that may not write."""
    log = bytes_of(wal_of(killed))
    os.truncate(killed, 0)
    with pytest.raises(StorageDamagedError):
        open_reading(killed)
    assert bytes_of(wal_of(killed)) == log
