"""The connection is lost at every point of a batch: no change is reported as failed and stored, or done twice."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from store.engine import AppendOutput
from store.errors import StorageUnavailableError
from store.postgres import batches
from store.postgres.durability import Commits
from store.postgres.handle import PostgresHandle
from store.records import Appended
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.postgres.conftest import Opener
from tests.postgres.foreign import connected
from tests.postgres.proxy import Proxy
from tests.postgres.test_two_daemons import output_of
from tests.waiting import until

AGENT = agent_current_zone("maks")


def append(number: int) -> AppendOutput:
    """Make an append of one line."""
    return AppendOutput(AGENT, f"{number}\n".encode(), BEGINNING_MS)


@pytest.mark.parametrize("what", ["answer", "question"])
async def test_a_commit_is_neither_lost_nor_done_twice(open_engine: Opener, proxy: Proxy, what: str) -> None:
    """Whether the answer of the server was lost or our question: the change is there, once, and was answered so."""
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    proxy.lose = [what, what]
    outcomes = await engine.apply([append(1), append(2)])
    assert [each.offset for each in outcomes if isinstance(each, Appended)] == [2, 4]
    assert proxy.lost == 2
    proxy.lose = []
    (outcome,) = await engine.apply([append(3)])
    assert isinstance(outcome, Appended)
    assert await output_of(engine, AGENT) == ["0", "1", "2", "3"]


async def test_a_claim_whose_answer_was_lost_is_known_as_ours(open_engine: Opener, proxy: Proxy) -> None:
    """A commit never came, and neither did the answer to the question what became of it: the change is not taken for made."""
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    proxy.lose = ["question", "answer"]
    (outcome,) = await engine.apply([append(1)])
    assert isinstance(outcome, Appended)
    assert proxy.lost == 2
    assert await output_of(engine, AGENT) == ["0", "1"]


async def test_a_commit_that_an_outage_swallowed_is_done_once_that_is_over(
    open_engine: Opener, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it lasted, while it can be asked: a failover may take longer than tries are begun."""
    monkeypatch.setattr(batches, "_TRY_SECONDS_MAX", 0.05)
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    proxy.lose, proxy.refuse, before = ["question"], True, proxy.accepted
    applied = asyncio.ensure_future(engine.apply([append(1)]))
    await until(lambda: proxy.accepted > before + 2)
    proxy.refuse = False
    (outcome,) = await applied
    assert isinstance(outcome, Appended)
    assert await output_of(engine, AGENT) == ["0", "1"]


async def test_a_commit_that_is_lost_each_time_is_refused_in_the_end(
    open_engine: Opener, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tries are counted, whatever can be asked in between; nothing was stored, and that is said."""
    monkeypatch.setattr(batches, "_PAUSE_SECONDS", 0.0001)
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    proxy.lose = ["question", "nothing"] * batches._TRIES_MAX
    with pytest.raises(StorageUnavailableError, match="lost at the commit; nothing was stored"):
        await engine.apply([append(1)])
    assert proxy.lose == []
    await engine.apply([append(2)])
    assert await output_of(engine, AGENT) == ["0", "2"]


async def test_a_commit_is_asked_about_until_the_answer_is_safe_enough(
    open_engine: Opener, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server keeps things less safely for a moment, just when a lost answer is asked about: nothing is done twice."""
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    weigh = batches.Batches._weigh
    met: list[Commits] = []

    async def unsafe_once(self: batches.Batches, handle: PostgresHandle, now: Commits) -> None:
        if proxy.lost and not met:
            met.append(now)
            raise StorageUnavailableError("less safely")
        await weigh(self, handle, now)

    monkeypatch.setattr(batches.Batches, "_weigh", unsafe_once)
    proxy.lose = ["answer"]
    (outcome,) = await engine.apply([append(1)])
    assert isinstance(outcome, Appended)
    assert met
    assert await output_of(engine, AGENT) == ["0", "1"]


async def test_a_commit_that_arrives_late_has_no_effect(open_engine: Opener, proxy: Proxy, url: str) -> None:
    """One that reaches the server after it was given up and done anew: its id is taken by then."""
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    proxy.lose = ["late"]
    applied = asyncio.ensure_future(engine.apply([append(1)]))
    connection = await asyncpg.connect(url)
    # The lost transaction holds the agent, so nothing but the claim of its id can be there before its commit arrives.
    while await connection.fetchval("SELECT count(*) FROM zonekeeper.batches") < 2:
        assert not applied.done()
    await connection.close()
    proxy.release.set()
    (outcome,) = await applied
    assert isinstance(outcome, Appended)
    assert await output_of(engine, AGENT) == ["0", "1"]


async def test_who_cannot_be_told_what_became_of_a_commit_is_told_that(
    open_engine: Opener, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stays away for longer than is asked. The commit may have taken effect, as it has here."""
    monkeypatch.setattr(batches, "_ASK_SECONDS_MAX", 0)
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    proxy.lose, proxy.refuse = ["answer"], True
    with pytest.raises(StorageUnavailableError, match="cannot be asked whether it did"):
        await engine.apply([append(1)])
    proxy.refuse = False
    await engine.apply([append(2)])
    assert await output_of(engine, AGENT) == ["0", "1", "2"]


async def test_a_connection_that_was_lost_meanwhile_refuses_nobody(open_engine: Opener, url: str) -> None:
    """The server has ended all of them between two questions, as when it starts anew: what comes next has others."""
    engine = await open_engine(url)
    await engine.apply([append(0)])
    assert await output_of(engine, AGENT) == ["0"]
    ours = "FROM pg_stat_activity WHERE application_name = 'zonekeeper' AND datname = current_database()"
    with connected(url) as foreign:
        foreign.execute(f"SELECT pg_terminate_backend(pid) {ours}")
        await until(lambda: foreign.value(f"SELECT count(*) {ours}") == 0)
    assert await output_of(engine, AGENT) == ["0"]
    (outcome,) = await engine.apply([append(1)])
    assert isinstance(outcome, Appended)
    assert await output_of(engine, AGENT) == ["0", "1"]


async def test_ids_of_batches_are_deleted_once_nobody_asks_for_them(
    open_engine: Opener, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is when they are an hour old. It is done whenever so many batches have been stored, and leaves the younger ones."""
    monkeypatch.setattr("store.postgres.engine._CLEAN_AFTER_BATCHES", 2)
    engine = await open_engine(url)
    await engine.apply([append(0)])
    is_due = [engine.maintenance_due]
    with connected(url) as foreign:
        foreign.execute("UPDATE batches SET committed_at = now() - interval '61 minutes'")
        await engine.apply([append(1)])
        is_due.append(engine.maintenance_due)
        await engine.maintain()
        is_due.append(engine.maintenance_due)
        assert foreign.value("SELECT count(*) FROM batches") == 1
    assert is_due == [False, True, False]


async def test_a_database_that_stays_away_is_unavailable_until_it_is_back(
    open_engine: Opener, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes and reads say so, and work again without a restart."""
    monkeypatch.setattr(batches, "_PAUSE_SECONDS", 0.0001)
    engine = await open_engine(proxy.url)
    await engine.apply([append(0)])
    assert await output_of(engine, AGENT) == ["0"]
    proxy.refuse = True
    proxy.cut()
    with pytest.raises(StorageUnavailableError):
        await engine.apply([append(1)])
    with pytest.raises(StorageUnavailableError):
        await engine.read_output(AGENT, None, 10, 100)
    proxy.refuse = False
    await engine.apply([append(2)])
    assert await output_of(engine, AGENT) == ["0", "2"]
