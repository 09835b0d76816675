"""A store over SQLite, where a fault can be put in, and hands on its writing handle."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from store.limits import Limits
from store.sqlite import SqliteEngine
from tests.conftest import ENGINE_KINDS, Clock, EngineKind, OpenStore
from tests.faults.site import PostgresSite, Site, SqliteSite
from tests.postgres.server import DATABASES
from tests.store.foreign import FILE_NAME

_SQLITE = next(kind for kind in ENGINE_KINDS if kind.name == "sqlite")

OnWriter = Callable[[str], Awaitable[object]]
"""Executes a statement on the writing handle, on its thread."""


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[OpenStore]:
    """Open an empty store over SQLite."""
    opened = OpenStore(_SQLITE, tmp_path, clock, Limits())
    await opened.open()
    yield opened
    await opened.close()


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


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Name a data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
async def site(engine_kind: EngineKind, data_dir: Path) -> AsyncIterator[Site]:
    """Return a new store for daemons, over each engine in turn."""
    if engine_kind is _SQLITE:
        yield SqliteSite(data_dir)
    else:
        yield PostgresSite(data_dir, await DATABASES.url_of(data_dir))
        DATABASES.release(data_dir)
