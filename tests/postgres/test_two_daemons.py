"""Equal daemons on one database: the order is one, nothing is lost or doubled, ids, revisions and offsets hold."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import pytest

from store.engine import AppendOutput, ArchiveSession, Change, ImportSession, MoveSession, Outcome, WriteState
from store.errors import OffsetMismatchError, RevisionMismatchError, StaleSessionError, StorageFullError
from store.postgres import PostgresEngine, open_postgres
from store.postgres.handle import PostgresHandle
from store.records import Appended, Archived, Written
from store.zones import Zone, agent_archive_zone, agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.contract.made import file_from
from tests.postgres.foreign import connected, refusing_batches

Pair = tuple[PostgresEngine, PostgresEngine]
AGENT = agent_current_zone("maks")


async def one(engine: PostgresEngine, change: Change) -> Outcome:
    """Apply one change, in a batch of its own."""
    (outcome,) = await engine.apply([change])
    return outcome


async def output_of(engine: PostgresEngine, zone: Zone) -> list[str]:
    """Return all lines of a zone."""
    page = await engine.read_output(zone, 0, 100_000, 1 << 30)
    return page.lines if page else []


async def test_appends_of_two_daemons_have_one_order(pair: Pair) -> None:
    """Each append stands where its answer says, and no byte stands twice, over the merging of parts as well."""

    async def append(engine: PostgresEngine, name: str) -> list[Appended]:
        found = []
        for number in range(60):
            outcome = await one(engine, AppendOutput(AGENT, f"{name}-{number} {'x' * 2_000}\n".encode(), BEGINNING_MS))
            assert isinstance(outcome, Appended)
            found.append(outcome)
        return found

    both = await asyncio.gather(*map(append, pair, ["a", "b"]))
    appended = sorted(chain(*both), key=lambda each: each.offset)
    assert appended[0].offset == 0
    assert all(former.size_bytes == latter.offset for former, latter in pairwise(appended))
    assert [each.total_lines for each in appended] == list(range(1, 121))
    assert len({each.session_id for each in appended}) == 1
    for engine in pair:
        lines = [line.split()[0] for line in await output_of(engine, AGENT)]
        assert sorted(lines) == sorted(f"{name}-{number}" for name in "ab" for number in range(60))
        assert [line for line in lines if line[0] == "a"] == [f"a-{number}" for number in range(60)]


async def test_a_line_appended_while_another_daemon_archives_is_in_one_session(pair: Pair) -> None:
    """It is in the session that its answer names, and there once."""
    told: dict[str, str] = {}
    archived: list[Archived] = []

    async def append() -> None:
        for number in range(80):
            outcome = await one(pair[0], AppendOutput(AGENT, f"{number}\n".encode(), BEGINNING_MS))
            assert isinstance(outcome, Appended)
            told[str(number)] = outcome.session_id

    async def archive() -> None:
        for _ in range(40):
            outcome = await one(pair[1], ArchiveSession(AGENT, BEGINNING_MS))
            assert isinstance(outcome, Archived)
            archived.append(outcome)

    await asyncio.gather(append(), archive())
    found: dict[str, str] = {}
    for stat in await pair[0].zones_of("maks"):
        for line in await output_of(pair[1], stat.zone):
            assert line not in found
            found[line] = stat.session_id
    assert found == told
    times = [each.archived_at_ms for each in archived if each.archived_at_ms is not None]
    assert times == sorted(set(times))


async def test_of_two_writes_that_expect_one_revision_one_is_refused(pair: Pair) -> None:
    """The one that comes second is told the revision of the first, which stands."""
    for revision in range(30):
        changes = [
            WriteState(AGENT, f"{engine}-{revision}".encode() * 40_000, BEGINNING_MS, expect_revision=revision)
            for engine in range(2)
        ]
        outcomes = await asyncio.gather(*map(one, pair, changes))
        (refusal,) = [each for each in outcomes if isinstance(each, RevisionMismatchError)]
        assert refusal.facts == {"revision": revision + 1}
        won = next(number for number, each in enumerate(outcomes) if isinstance(each, Written))
        state = await pair[1 - won].read_session_state(AGENT)
        assert state is not None
        assert b"".join(state.content or ()) == changes[won].content


async def test_two_daemons_that_begin_a_session_make_one(pair: Pair) -> None:
    """Both answers name it."""
    for number in range(30):
        zone = agent_current_zone(f"agent-{number}")
        outcomes = await asyncio.gather(*(one(engine, AppendOutput(zone, b"x\n", BEGINNING_MS)) for engine in pair))
        assert {each.offset for each in outcomes if isinstance(each, Appended)} == {0, 2}
        assert len({each.session_id for each in outcomes if isinstance(each, Appended)}) == 1


async def test_batches_that_touch_the_same_agents_in_other_orders_never_fail(pair: Pair) -> None:
    """Agents are locked in one order, whatever order their changes stand in."""
    zones = [agent_current_zone(f"agent-{number}") for number in range(8)]

    async def apply(engine: PostgresEngine, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            chance.shuffle(zones)
            batch = [AppendOutput(zone, b"x\n", BEGINNING_MS) for zone in zones]
            assert all(isinstance(outcome, Appended) for outcome in await engine.apply(batch))

    await asyncio.gather(*map(apply, pair, range(2)))
    assert [stat.total_lines for stat in await pair[0].stat([zone.definition_id for zone in zones])] == [50] * 8


async def test_what_another_daemon_changed_is_seen_before_the_next_change(pair: Pair) -> None:
    """A session that was archived, moved or rewritten elsewhere is not what this daemon remembers any more."""
    first, second = pair
    begun = await one(first, AppendOutput(AGENT, b"a\n", BEGINNING_MS))
    assert isinstance(begun, Appended)
    await one(second, ArchiveSession(AGENT, BEGINNING_MS))
    assert isinstance(
        await one(first, AppendOutput(AGENT, b"b\n", BEGINNING_MS, session_id=begun.session_id)), StaleSessionError
    )
    anew = await one(first, AppendOutput(AGENT, b"c\n", BEGINNING_MS))
    assert isinstance(anew, Appended)
    assert (anew.offset, anew.session_id != begun.session_id) == (0, True)
    await one(second, AppendOutput(AGENT, b"d\n", BEGINNING_MS))
    mismatch = await one(first, AppendOutput(AGENT, b"e\n", BEGINNING_MS, expect_offset=2))
    assert isinstance(mismatch, OffsetMismatchError)
    await one(second, MoveSession(AGENT, agent_archive_zone("other", 5)))
    await one(second, ImportSession(AGENT, (file_from("output", b"imported"),), 1))
    grown = await one(first, AppendOutput(AGENT, b"f\n", BEGINNING_MS))
    assert isinstance(grown, Appended)
    assert await output_of(second, AGENT) == ["imported", "f"]
    assert await output_of(first, agent_archive_zone("other", 5)) == ["c", "d"]


async def test_sessions_are_looked_at_where_another_daemon_changed_them_last(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And at the first change of each daemon: whoever goes on with its own sessions knows them."""
    first, second = pair
    looked_at: list[tuple[str, ...]] = []
    asked = PostgresHandle.ask

    async def ask(handle: PostgresHandle, statement: str, **values: Any) -> Any:
        if statement == "take_agents":
            looked_at.append(tuple(values["definition_ids"]))
        return await asked(handle, statement, **values)

    monkeypatch.setattr(PostgresHandle, "ask", ask)
    for engine, agents, unknown in (
        (first, "abc", "abc"),
        (first, "abc", ""),
        (second, "b", "b"),
        (first, "ac", ""),
        (second, "b", ""),
        (first, "abc", "b"),
        (second, "bc", "bc"),
    ):
        await engine.apply([AppendOutput(agent_current_zone(agent), b"x\n", BEGINNING_MS) for agent in agents])
        assert "".join(chain(*looked_at)) == unknown
        looked_at.clear()
    assert [stat.total_lines for stat in await first.stat(["a", "b", "c"])] == [4, 6, 5]


async def test_a_snapshot_another_daemon_wrote_is_not_taken_for_the_own_one(pair: Pair) -> None:
    """What is compared with is what is stored: parts that another daemon has rewritten are stored anew."""
    first, second = pair
    one_content, other = b"a" * 200_000, b"a" * 100_000 + b"b" * 100_000
    await one(first, WriteState(AGENT, one_content, BEGINNING_MS))
    await one(second, WriteState(AGENT, other, BEGINNING_MS))
    await one(first, WriteState(AGENT, one_content, BEGINNING_MS))
    state = await second.read_session_state(AGENT)
    assert state is not None
    assert (b"".join(state.content or ()), state.revision) == (one_content, 3)


async def test_what_a_refused_batch_would_have_stored_is_not_remembered(pair: Pair, url: str) -> None:
    """Its disk was full. Another daemon comes to the same revision with other bytes, and these are what is compared with."""
    first, second = pair
    change = WriteState(AGENT, b"a" * 200_000, BEGINNING_MS)
    await one(first, replace(change, content=b"begun"))
    with connected(url) as foreign, refusing_batches(foreign, "53100"), pytest.raises(StorageFullError):
        await first.apply([change])
    await one(second, replace(change, content=b"b" * 200_000))
    await one(first, change)
    state = await second.read_session_state(AGENT)
    assert state is not None
    assert (b"".join(state.content or ()), state.revision) == (change.content, 3)


async def test_daemons_that_open_an_empty_database_at_once_make_one_store(url: str) -> None:
    """One makes the schema, the others wait, and all of them serve."""
    engines = await asyncio.gather(*(open_postgres(url) for _ in range(5)))
    try:
        outcomes = await asyncio.gather(*(one(engine, AppendOutput(AGENT, b"x\n", BEGINNING_MS)) for engine in engines))
        assert sorted(each.offset for each in outcomes if isinstance(each, Appended)) == [0, 2, 4, 6, 8]
    finally:
        for engine in engines:
            await engine.close()
