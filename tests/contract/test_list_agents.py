"""`agent:session:list_agents`."""

from __future__ import annotations

import asyncio

import pytest

from store.engine import MoveSession
from store.sessions import Sessions
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import OpenStore
from tests.contract.made import AGENT, OTHER, take_over


async def make_agents(store: OpenStore, count: int) -> list[str]:
    """Make sessions of `count` agents; return their ids in order."""
    ids = [f"agent-{number:04d}" for number in range(count)]
    await asyncio.gather(*(take_over(store, agent_current_zone(each), {"output": b"x\n"}) for each in reversed(ids)))
    return ids


async def test_an_empty_store_has_none(sessions: Sessions) -> None:
    """No agents, and nothing to continue with."""
    assert await sessions.list_agents() == ([], None)


async def test_ids_come_by_code_point(sessions: Sessions) -> None:
    """`-`, digits, capitals, `_`, small letters; a beginning comes before what it begins."""
    ids = ["-", "-a", "0", "10", "9", "A", "AB", "Z", "_", "__", "a", "a-b", "aB", "aa", "ab", "z"]
    for definition_id in ids[::-1]:
        await sessions.append_session_output(definition_id, ["x"])
    agents, after = await sessions.list_agents()
    assert [agent.definition_id for agent in agents] == ids == sorted(ids)
    assert after is None


async def test_agents_with_archives_only_are_among_them(store: OpenStore) -> None:
    """Current or archived: a session is a session. A row is what `stat` says of the agent."""
    await take_over(store, agent_archive_zone(AGENT, 5), {"output": b"x\n"})
    await take_over(store, agent_archive_zone(AGENT, 6), {"output": b"x\n"})
    await store.sessions.write_session_state(OTHER, b"{}")
    agents, _ = await store.sessions.list_agents()
    assert agents == await store.sessions.stat([OTHER, AGENT])
    assert [agent.archives for agent in agents] == [0, 2]


async def test_an_agent_whose_only_session_moved_away_is_gone(store: OpenStore) -> None:
    """Ids with a session: one that has none any more is not among them."""
    await store.sessions.append_session_output(AGENT, ["x"])
    await store.writer.submit(MoveSession(agent_current_zone(AGENT), agent_current_zone(OTHER)))
    agents, _ = await store.sessions.list_agents()
    assert [agent.definition_id for agent in agents] == [OTHER]


async def test_the_limit_is_100_and_1_000_at_most(store: OpenStore) -> None:
    """The limit is clamped, and `next` names the last id shown where there are more."""
    ids = await make_agents(store, 1_001)
    for limit, rows in ((None, 100), (0, 100), (1, 1), (250, 250), (1_000, 1_000), (2**53 - 1, 1_000)):
        agents, after = await store.sessions.list_agents(limit)
        assert [agent.definition_id for agent in agents] == ids[:rows]
        assert after == ids[rows - 1]


async def test_page_after_page_lists_everyone_once(store: OpenStore) -> None:
    """Following `next` ends with null exactly at the last agent, also where the last page is full."""
    ids = await make_agents(store, 30)
    found: list[str] = []
    pages = 0
    after: str | None = None
    while pages == 0 or after is not None:
        agents, after = await store.sessions.list_agents(10, after)
        found += [agent.definition_id for agent in agents]
        pages += 1
    assert (found, pages) == (ids, 3)


@pytest.mark.parametrize(
    ("after", "expected"), [("a", ["b", "ba"]), ("aa", ["b", "ba"]), ("b", ["ba"]), ("z", []), ("-", ["a", "b", "ba"])]
)
async def test_after_need_not_be_an_agent(sessions: Sessions, after: str, expected: list[str]) -> None:
    """`after` is a place in the order, whoever stands there."""
    for definition_id in ("a", "b", "ba"):
        await sessions.append_session_output(definition_id, ["x"])
    agents, _ = await sessions.list_agents(after=after)
    assert [agent.definition_id for agent in agents] == expected
