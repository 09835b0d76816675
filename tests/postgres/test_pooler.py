"""Through a pooler in transaction mode all is as without one: what daemons prove directly they prove here again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from store.postgres import PostgresEngine, open_postgres
from tests.conftest import EngineKind

# Collected here once more, over the pooler of this module's fixtures; of the contract what keeps a connection busy for long.
from tests.contract.test_archive import test_lines_appended_while_archives_run_are_in_exactly_one_session
from tests.contract.test_import import test_a_source_that_fails_undoes_its_own_change_alone
from tests.contract.test_read_output import test_pages_one_after_the_other_read_everything_once
from tests.contract.test_write_state import test_of_two_writers_with_one_revision_one_wins
from tests.postgres.conftest import Opener
from tests.postgres.pooler import Pooler
from tests.postgres.proxy import Proxy
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
    "test_a_source_that_fails_undoes_its_own_change_alone",
    "test_lines_appended_while_archives_run_are_in_exactly_one_session",
    "test_of_two_writers_with_one_revision_one_wins",
    "test_pages_one_after_the_other_read_everything_once",
    "test_two_daemons_that_begin_a_session_make_one",
]


@pytest.fixture
def pooled(url: str) -> Iterator[str]:
    """Return the URL of an empty database, through a pooler."""
    with Pooler(url) as pooler:
        yield pooler.url


@pytest.fixture
def engine_kind(pooled: str) -> EngineKind:
    """Return the kind of engine that the contract is asked of here."""

    async def open_pooled(_directory: Path) -> PostgresEngine:
        return await open_postgres(pooled)

    return EngineKind("pooled", open_pooled, lambda _: None)


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
