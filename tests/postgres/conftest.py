"""Engines on one database, as equal daemons have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bench.cluster import binary
from store.postgres import PostgresEngine, open_postgres
from tests.postgres.own_server import OwnServer
from tests.postgres.proxy import Proxy
from tests.postgres.server import DATABASES, absent

Opener = Callable[[str], Awaitable[PostgresEngine]]
"""Opens a further engine at a URL; it is closed at the test's end."""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Return the URL of an empty database."""
    yield await DATABASES.url_of(tmp_path)
    DATABASES.release(tmp_path)


@pytest.fixture
def empty_url(tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database, to a test that has no event loop."""
    yield asyncio.run(DATABASES.url_of(tmp_path))
    DATABASES.release(tmp_path)


@pytest.fixture
async def open_engine(url: str) -> AsyncIterator[Opener]:
    """Open engines as a test needs them."""
    opened: list[PostgresEngine] = []

    async def open_one(address: str) -> PostgresEngine:
        engine = await open_postgres(address)
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        await engine.close()


@pytest.fixture
async def pair(open_engine: Opener, url: str) -> tuple[PostgresEngine, PostgresEngine]:
    """Return two engines on one database."""
    return await open_engine(url), await open_engine(url)


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """Return a proxy before the database's server."""
    async with Proxy(url) as running:
        yield running


@pytest.fixture(scope="session")
def own_server() -> Iterator[OwnServer]:
    """Return a server whose settings a test may change, if it puts them back."""
    if binary("initdb") is None:
        absent("a server whose settings can be changed needs PostgreSQL installed")
    server = OwnServer()
    yield server
    server.cluster.remove()
