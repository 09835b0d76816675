"""Stores where a fault can be put in: from outside, or, over SQLite, through the writing handle."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from store.sqlite import SqliteEngine
from tests.conftest import ENGINE_KINDS, EngineKind, OpenStore
from tests.faults.site import PostgresSite, Site, SqliteSite
from tests.postgres.foreign import Foreign, connected
from tests.postgres.server import DATABASES
from tests.store.foreign import FILE_NAME, meddling, rows

SQLITE, POSTGRES = ENGINE_KINDS

OnWriter = Callable[[str], Awaitable[object]]
"""Executes a statement on the writing handle, on its thread."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the store's file is."""
    return tmp_path / FILE_NAME


@pytest.fixture
def sqlite(store: OpenStore) -> SqliteEngine:
    """Return the store's engine."""
    assert isinstance(store.engine, SqliteEngine)
    return store.engine


@pytest.fixture
def on_writer(sqlite: SqliteEngine) -> OnWriter:
    """Return a way to set something on the writing handle."""

    def execute(statement: str) -> object:
        handle: sqlite3.Connection = sqlite._handle()
        return handle.execute(statement).fetchone()

    async def on_its_thread(statement: str) -> object:
        return await sqlite._writer.call(lambda: execute(statement))

    return on_its_thread


class SqliteMeddler:
    """Another program on a store's file, that asks and changes as `tests.postgres.foreign.Foreign` does on a database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def change(self, text: str) -> int:
        """Carry out one change, and return how many rows it met."""
        with meddling(self._path) as connection:
            return connection.execute(text).rowcount

    def allow_nulls(self, *tables: str) -> None:
        """Let columns of tables hold nothing."""
        named = ", ".join(f"'{table}'" for table in tables)
        with meddling(self._path) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(f"UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name IN ({named})")
            connection.execute("PRAGMA writable_schema = RESET")

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Ask one question."""
        return rows(self._path, question)


Meddler = SqliteMeddler | Foreign


@pytest.fixture
async def meddler(store: OpenStore, engine_kind: EngineKind, path: Path) -> AsyncIterator[Meddler]:
    """Return another program on the store."""
    if engine_kind is SQLITE:
        yield SqliteMeddler(path)
    else:
        with connected(await DATABASES.url_of(store.directory)) as connection:
            yield connection


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Name a data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
async def site(engine_kind: EngineKind, data_dir: Path) -> AsyncIterator[Site]:
    """Return a new store for daemons, over each engine in turn."""
    if engine_kind is SQLITE:
        yield SqliteSite(data_dir)
    else:
        yield PostgresSite(data_dir, await DATABASES.url_of(data_dir))
        DATABASES.release(data_dir)
