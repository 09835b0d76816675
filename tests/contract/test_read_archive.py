"""`agent:session:read_archive`."""

from __future__ import annotations

import pytest

from store.errors import InvalidParamsError, ZoneNotFoundError
from store.records import SessionState
from store.sessions import Sessions
from store.zones import agent_archive_zone
from tests.conftest import BEGINNING_MS, OpenStore
from tests.contract.made import AGENT, OTHER, archived_at, content_of, take_over


async def test_an_archive_reads_as_its_session_did(store: OpenStore) -> None:
    """Content, modts, revision and session id are those the current session had when it was archived."""
    for content in (b"1", b"2", b"3" * 100_000):
        await store.sessions.write_session_state(AGENT, content)
    before = await store.sessions.read_session_state(AGENT)
    store.clock.now_ms += 60_000
    archived = await store.sessions.archive_session(AGENT)
    after = await store.sessions.read_archive(AGENT, archived.archived_at_ms or 0)
    assert after == before
    assert (after.modts, after.revision) == (BEGINNING_MS, 3)


async def test_an_archive_without_a_snapshot_has_an_id_and_nothing_else(sessions: Sessions) -> None:
    """A session of output alone is found, and has nulls for content, modts and revision."""
    appended = await sessions.append_session_output(AGENT, ["x"])
    archived = await sessions.archive_session(AGENT)
    assert await sessions.read_archive(AGENT, archived.archived_at_ms or 0) == SessionState(appended.session_id)


@pytest.mark.parametrize("archived_at_ms", [0, 4, 6, 2**53 - 1])
async def test_an_unknown_archive_is_not_found(store: OpenStore, archived_at_ms: int) -> None:
    """Any millisecond but the archive's own is ZONE_NOT_FOUND, in words that name it."""
    await archived_at(store, AGENT, 5)
    with pytest.raises(ZoneNotFoundError) as caught:
        await store.sessions.read_archive(AGENT, archived_at_ms)
    assert (caught.value.word, caught.value.retry, caught.value.facts) == ("ZONE_NOT_FOUND", False, {})
    assert str(archived_at_ms) in str(caught.value)


async def test_another_agents_archive_is_not_found(store: OpenStore) -> None:
    """The time of an archive belongs to its agent."""
    await archived_at(store, AGENT, 5)
    with pytest.raises(ZoneNotFoundError):
        await store.sessions.read_archive(OTHER, 5)


@pytest.mark.parametrize("archived_at_ms", [-1, 2**53])
async def test_a_time_beyond_its_bounds_is_invalid(sessions: Sessions, archived_at_ms: int) -> None:
    """Times go from 0 to 2^53 - 1; others are INVALID_PARAMS naming the parameter."""
    with pytest.raises(InvalidParamsError) as caught:
        await sessions.read_archive(AGENT, archived_at_ms)
    assert caught.value.facts == {"param": "archived_at_ms"}


@pytest.mark.parametrize("archived_at_ms", [0, 2**53 - 1])
async def test_both_ends_of_time_are_times(store: OpenStore, archived_at_ms: int) -> None:
    """A migrated archive may be of the first or of the last millisecond."""
    await take_over(store, agent_archive_zone(AGENT, archived_at_ms), {"output.state.json": b"{}"})
    assert content_of(await store.sessions.read_archive(AGENT, archived_at_ms)) == b"{}"


async def test_later_writes_do_not_reach_an_archive(store: OpenStore) -> None:
    """What is archived stays as it is, whatever the agent does next, and over a restart."""
    await archived_at(store, AGENT, 5, b"kept")
    await store.sessions.write_session_state(AGENT, b"new")
    await store.sessions.append_session_output(AGENT, ["new"])
    await store.reopen()
    assert content_of(await store.sessions.read_archive(AGENT, 5)) == b"kept"
    assert (await store.sessions.read_output(AGENT, 5)).lines == []
