"""Whose a store is, where a daemon and a copy want it at once: one of them has it, and the other is told so."""

from __future__ import annotations

import asyncio

import pytest

from store.engine import AppendOutput
from store.errors import StorageUnavailableError, StoreRefusedError
from store.postgres import open_postgres
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.postgres.conftest import Opener
from tests.postgres.foreign import WAITING, connected
from tests.postgres.test_two_daemons import output_of
from tests.waiting import until

AGENT = agent_current_zone("maks")


async def test_what_a_daemon_has_taken_since_a_copy_looked_at_it_is_not_copied_over(
    open_engine: Opener, url: str
) -> None:
    """It came and went while the copy compared what is there: the copy is refused before it has changed anything."""
    await (await open_engine(url)).close()
    with connected(url) as foreign:
        foreign.execute("UPDATE version SET standing = 'copied'")
    target = await open_postgres(url, is_target=True)
    daemon = await open_engine(url)
    await daemon.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)])
    await daemon.close()
    with pytest.raises(StoreRefusedError, match="has sessions of its own"):
        await target.begin_copy()
    await target.close()
    assert await output_of(await open_engine(url), AGENT) == ["a"]


async def test_a_daemon_that_starts_as_a_copy_begins_does_not_take_the_store(open_engine: Opener, url: str) -> None:
    """It waits for what the copy makes of the standing, and does not go by what that was before."""
    await (await open_engine(url)).close()
    with connected(url) as copy, connected(url) as looker:
        copy.execute("UPDATE version SET standing = 'copied'")
        copy.execute("BEGIN; UPDATE version SET standing = 'copying'")
        opened = asyncio.ensure_future(open_engine(url))
        await until(lambda: looker.value(WAITING) == 1)
        copy.execute("COMMIT")
        with pytest.raises(StoreRefusedError, match="not whole"):
            await opened
        assert looker.value("SELECT standing FROM version") == "copying"


async def test_a_daemon_that_no_connection_tells_of_stores_nothing_in_a_copy(open_engine: Opener, url: str) -> None:
    """It has lost its connections, or a pooler gave them to others: what it would store, the copy would delete."""
    daemon = await open_engine(url)
    with connected(url) as foreign:
        foreign.execute("UPDATE version SET standing = 'copying'")
        with pytest.raises(StorageUnavailableError, match="begun to copy"):
            await daemon.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)])
        foreign.execute("UPDATE version SET standing = 'own'")
    await daemon.apply([AppendOutput(AGENT, b"b\n", BEGINNING_MS)])
    assert await output_of(daemon, AGENT) == ["b"]
