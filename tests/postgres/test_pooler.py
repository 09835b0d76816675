"""Through a pooler in transaction mode all is as without one: what daemons prove directly they prove here again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from store.postgres import PostgresEngine
from tests.postgres.conftest import Opener
from tests.postgres.pooler import Pooler
from tests.postgres.proxy import Proxy

# Collected here once more, over the pooler of this module's fixtures.
from tests.postgres.test_lost_answers import test_a_commit_is_neither_lost_nor_done_twice
from tests.postgres.test_two_daemons import (
    AGENT,
    output_of,
    test_a_line_appended_while_another_daemon_archives_is_in_one_session,
    test_a_snapshot_another_daemon_wrote_is_not_taken_for_the_own_one,
    test_two_daemons_that_begin_a_session_make_one,
)

__all__ = [
    "test_a_commit_is_neither_lost_nor_done_twice",
    "test_a_line_appended_while_another_daemon_archives_is_in_one_session",
    "test_a_snapshot_another_daemon_wrote_is_not_taken_for_the_own_one",
    "test_two_daemons_that_begin_a_session_make_one",
]


@pytest.fixture
def pooled(url: str) -> Iterator[str]:
    """Return the URL of an empty database, through a pooler."""
    with Pooler(url) as pooler:
        yield pooler.url


@pytest.fixture
async def pair(open_engine: Opener, pooled: str) -> tuple[PostgresEngine, PostgresEngine]:
    """Return two engines on one database."""
    return await open_engine(pooled), await open_engine(pooled)


@pytest.fixture
async def proxy(pooled: str) -> AsyncIterator[Proxy]:
    """Return a proxy before the pooler."""
    async with Proxy(pooled) as running:
        yield running


async def test_a_pooler_is_found_out(open_engine: Opener, url: str, pooled: str) -> None:
    """Nobody has to say so: statements are not kept prepared where the next one may come to another connection."""
    assert (await open_engine(url)).figures()["is_pooled"] is False
    engine = await open_engine(pooled)
    assert engine.figures()["is_pooled"] is True
    # More readers than the pooler has connections, so that they change hands.
    assert await asyncio.gather(*(output_of(engine, AGENT) for _ in range(40))) == [[]] * 40
