"""The server crashes and comes back while lines are appended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from store.engine import AppendOutput
from store.errors import StorageUnavailableError
from store.postgres import open_postgres
from store.records import Appended
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.postgres.server import Cluster, binary
from tests.postgres.test_two_daemons import output_of

AGENT = agent_current_zone("maks")
KILLS = 3


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Start a server of the test's own."""
    if binary("initdb") is None:
        pytest.skip("a server that can be killed needs PostgreSQL installed")
    cluster = Cluster()
    yield cluster
    cluster.remove()


async def test_no_line_is_lost_or_doubled(cluster: Cluster) -> None:
    """Acknowledged lines are there once, refused ones are not there, and neither writing nor reading needs a restart."""
    engine = await open_postgres(cluster.url)
    acknowledged: list[str] = []
    grown = asyncio.Event()
    is_over = False

    async def append() -> None:
        number = 0
        while not is_over:
            number += 1
            try:
                (outcome,) = await engine.apply([AppendOutput(AGENT, f"{number}\n".encode(), BEGINNING_MS)])
            except StorageUnavailableError:
                continue
            assert isinstance(outcome, Appended)
            acknowledged.append(str(number))
            grown.set()

    appending = asyncio.ensure_future(append())
    for _ in range(KILLS):
        before = len(acknowledged)
        assert (await output_of(engine, AGENT))[:before] == acknowledged[:before]
        while len(acknowledged) < before + 20:
            grown.clear()
            await grown.wait()
        await asyncio.to_thread(cluster.stop, "immediate")
        await asyncio.to_thread(cluster.start)
        assert (await output_of(engine, AGENT))[:before] == acknowledged[:before]
    grown.clear()
    await grown.wait()
    is_over = True
    await appending
    assert await output_of(engine, AGENT) == acknowledged
    await engine.close()
