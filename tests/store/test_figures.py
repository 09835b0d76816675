"""What the engine over SQLite tells of itself: sizes, the log and its checkpoints, parts."""

from __future__ import annotations

from pathlib import Path

from store.engine import AppendOutput, WriteState
from store.sqlite import SqliteEngine
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.store.foreign import looking, size_of, wal_of

ZONE = agent_current_zone("agent")


def number(sqlite: SqliteEngine, name: str) -> int:
    """Return one of the figures."""
    value = sqlite.figures()[name]
    assert isinstance(value, int)
    return value


async def test_a_reader_that_keeps_pages_back_shows_until_a_checkpoint_moves_all(
    sqlite: SqliteEngine, path: Path
) -> None:
    """The age of the last whole checkpoint goes on while pages wait, and begins anew with one that leaves none."""
    await sqlite.apply([WriteState(ZONE, b"x" * 100_000, BEGINNING_MS)])
    with looking(path) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM zones").fetchall()
        await sqlite.apply([WriteState(ZONE, b"y" * 100_000, BEGINNING_MS)])
        whole_at = sqlite._log._whole_at
        await sqlite.maintain()
        assert number(sqlite, "checkpoint_pages_left") >= 100_000 // 4_096
        assert sqlite._log._whole_at == whole_at
    await sqlite.maintain()
    assert number(sqlite, "checkpoint_pages_left") == 0
    assert sqlite._log._whole_at > whole_at


async def test_sizes_are_those_of_the_files(sqlite: SqliteEngine, path: Path) -> None:
    """Of the database and of its log."""
    await sqlite.apply([WriteState(ZONE, b"x" * 100_000, BEGINNING_MS)])
    assert number(sqlite, "database_bytes") == size_of(path)
    assert number(sqlite, "wal_bytes") == size_of(wal_of(path)) > 100_000


async def test_parts_that_are_merged_are_counted(sqlite: SqliteEngine) -> None:
    """Appends too large to grow a part pile up small ones, until those that fill a large one become it."""
    for _ in range(30):
        await sqlite.apply([AppendOutput(ZONE, b"x" * 3_999 + b"\n", BEGINNING_MS)])
    merged = number(sqlite, "parts_merged")
    assert merged >= 15
    await sqlite.apply([AppendOutput(ZONE, b"y\n", BEGINNING_MS)])
    assert number(sqlite, "parts_merged") == merged
