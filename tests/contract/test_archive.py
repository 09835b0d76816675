"""`agent:session:archive`."""

from __future__ import annotations

import asyncio

import pytest

from store.errors import StaleSessionError
from store.records import Archived, SessionState
from store.sessions import Sessions
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore
from tests.contract.made import AGENT, OTHER, content_of, take_over


async def test_the_current_session_becomes_an_archive(store: OpenStore) -> None:
    """Everything of it goes under the archive's name with the session id it had; the agent is fresh again."""
    written = await store.sessions.write_session_state(AGENT, b"{}", covers_line=1)
    await store.sessions.append_session_output(AGENT, ["a", "b"])
    store.clock.now_ms += 10
    archived = await store.sessions.archive_session(AGENT)
    zone = f"agent:{AGENT}:archive:{BEGINNING_MS + 10}"
    assert archived == Archived(agent_archive_zone(AGENT, BEGINNING_MS + 10), BEGINNING_MS + 10, written.session_id)
    assert archived.archive_zoneid == zone
    state = await store.sessions.read_archive(AGENT, BEGINNING_MS + 10)
    assert state == SessionState(written.session_id, (b"{}",), BEGINNING_MS, 1)
    assert (await store.sessions.read_output(AGENT, BEGINNING_MS + 10)).lines == ["a", "b"]
    assert await store.sessions.read_session_state(AGENT) == SessionState(None)


async def test_a_session_is_in_exactly_one_zone(store: OpenStore) -> None:
    """After archive there is the archive and nothing else; a restart does not bring the session back."""
    await store.sessions.write_session_state(AGENT, b"{}")
    archived = await store.sessions.archive_session(AGENT)
    await store.reopen()
    assert [stat.zone for stat in await store.engine.zones_of(AGENT)] == [archived.archive_zoneid]


async def test_the_next_session_is_another_one(sessions: Sessions) -> None:
    """What comes after archive has an id of its own and begins empty."""
    old = await sessions.append_session_output(AGENT, ["old"])
    await sessions.archive_session(AGENT)
    new = await sessions.append_session_output(AGENT, ["new"])
    assert (new.offset, new.total_lines) == (0, 1)
    assert new.session_id != old.session_id


async def test_a_fresh_agent_has_nothing_to_archive(sessions: Sessions) -> None:
    """The answer is all nulls, and no zone is made."""
    assert await sessions.archive_session(AGENT) == Archived(None, None, None)
    assert await sessions.list_archives(AGENT) == []
    assert await sessions.list_agents() == ([], None)


async def test_no_byte_is_nothing_to_archive(store: OpenStore) -> None:
    """A session with files but no byte in any of them is nothing; it stays the current one."""
    await take_over(store, agent_current_zone(AGENT), {"output": b"", "notes": b""})
    written = await store.sessions.write_session_state(AGENT, b"")
    for session_id in (None, written.session_id):
        assert await store.sessions.archive_session(AGENT, session_id) == Archived(None, None, None)
    assert (await store.sessions.read_session_state(AGENT)).session_id == written.session_id
    assert await store.sessions.list_archives(AGENT) == []


@pytest.mark.parametrize(
    "files", [{"output": b"\n"}, {"output": b" \r\n\n"}, {"notes": b"x"}, {"output.state.json": b" "}]
)
async def test_one_byte_of_any_file_is_something(store: OpenStore, files: dict[str, bytes]) -> None:
    """Output of blank lines is something, and so is a byte in any file."""
    taken = await take_over(store, agent_current_zone(AGENT), files)
    assert (await store.sessions.archive_session(AGENT)).session_id == taken.session_id
    (row,) = await store.sessions.list_archives(AGENT)
    assert (row.session_id, row.size_bytes) == (taken.session_id, sum(map(len, files.values())))


async def test_archives_are_strictly_ordered_whatever_the_clock_says(store: OpenStore) -> None:
    """One more than the newest where the clock stands still or goes back; now where it is later."""
    times = []
    for now_ms in (1_000, 1_000, 1_000, 500, 0, 1_003, 1_005, 1_005):
        store.clock.now_ms = now_ms
        await store.sessions.append_session_output(AGENT, ["x"])
        times.append((await store.sessions.archive_session(AGENT)).archived_at_ms)
    assert times == [1_000, 1_001, 1_002, 1_003, 1_004, 1_005, 1_006, 1_007]
    rows = await store.sessions.list_archives(AGENT)
    assert [row.archived_at_ms for row in rows] == times[::-1]


async def test_each_agent_has_times_of_its_own(store: OpenStore) -> None:
    """Another agent's archive of the same millisecond is in nobody's way."""
    for definition_id in (AGENT, OTHER):
        await store.sessions.append_session_output(definition_id, ["x"])
        assert (await store.sessions.archive_session(definition_id)).archived_at_ms == BEGINNING_MS


async def test_the_order_outlives_a_restart_with_the_clock_set_back(store: OpenStore) -> None:
    """The newest archive is what counts, not what the process remembers."""
    await store.sessions.append_session_output(AGENT, ["x"])
    await store.sessions.archive_session(AGENT)
    await store.reopen()
    store.clock.now_ms -= 1_000_000
    await store.sessions.append_session_output(AGENT, ["y"])
    assert (await store.sessions.archive_session(AGENT)).archived_at_ms == BEGINNING_MS + 1


async def test_a_retry_by_session_id_returns_the_same_archive(store: OpenStore) -> None:
    """A lost reply can be asked for again, also after a new session began, was archived too, and after a restart."""
    old = await store.sessions.append_session_output(AGENT, ["old"])
    first = await store.sessions.archive_session(AGENT, old.session_id)
    assert await store.sessions.archive_session(AGENT, old.session_id) == first
    await store.sessions.append_session_output(AGENT, ["new"])
    assert await store.sessions.archive_session(AGENT, old.session_id) == first
    await store.reopen()
    assert await store.sessions.archive_session(AGENT, old.session_id) == first
    assert (await store.sessions.read_output(AGENT)).lines == ["new"]
    await store.sessions.archive_session(AGENT)
    assert await store.sessions.archive_session(AGENT, old.session_id) == first
    assert len(await store.sessions.list_archives(AGENT)) == 2


async def test_concurrent_retries_make_one_archive(sessions: Sessions) -> None:
    """Many requests to archive one session agree on one archive."""
    session_id = (await sessions.append_session_output(AGENT, ["x"])).session_id
    answers = await asyncio.gather(*(sessions.archive_session(AGENT, session_id) for _ in range(16)))
    assert len(set(answers)) == 1
    assert len(await sessions.list_archives(AGENT)) == 1


async def test_any_other_session_id_is_stale(sessions: Sessions) -> None:
    """An unknown id is STALE_SESSION, on a fresh agent too; so is another agent's, current or archived."""
    with pytest.raises(StaleSessionError):
        await sessions.archive_session(AGENT, "unknown")
    archived = await sessions.append_session_output(OTHER, ["x"])
    await sessions.archive_session(OTHER)
    current = await sessions.append_session_output(OTHER, ["y"])
    await sessions.append_session_output(AGENT, ["z"])
    for session_id in ("unknown", "", archived.session_id, current.session_id):
        with pytest.raises(StaleSessionError):
            await sessions.archive_session(AGENT, session_id)
    assert await sessions.list_archives(AGENT) == []
    assert (await sessions.read_output(AGENT)).lines == ["z"]


async def test_lines_appended_while_archives_run_are_in_exactly_one_session(sessions: Sessions) -> None:
    """Appends and archives submitted together take effect in the order written."""
    calls = []
    for number in range(60):
        calls.append(asyncio.ensure_future(sessions.append_session_output(AGENT, [str(number)])))
        if number % 7 == 6:
            calls.append(asyncio.ensure_future(sessions.archive_session(AGENT)))  # type: ignore[arg-type] # both kinds
    await asyncio.gather(*calls)
    rows = await sessions.list_archives(AGENT)
    pages = [(await sessions.read_output(AGENT, row.archived_at_ms)).lines for row in reversed(rows)]
    pages.append((await sessions.read_output(AGENT)).lines)
    assert pages == [[str(number) for number in range(60)[start : start + 7]] for start in range(0, 60, 7)]


async def test_two_sessions_of_one_agent_never_mix(store: OpenStore) -> None:
    """Each archive keeps its own snapshot, output, revision and id."""
    kept = []
    for number in range(5):
        written = await store.sessions.write_session_state(AGENT, b"%d" % number)
        await store.sessions.append_session_output(AGENT, [f"line {number}"])
        archived = await store.sessions.archive_session(AGENT)
        kept.append((archived.archived_at_ms, written.session_id))
    for number, (at_ms, session_id) in enumerate(kept):
        state = await store.sessions.read_archive(AGENT, at_ms or 0)
        page = await store.sessions.read_output(AGENT, at_ms)
        assert (content_of(state), state.session_id) == (b"%d" % number, session_id)
        assert (page.lines, page.session_id) == ([f"line {number}"], session_id)


async def test_archives_keep_their_order_at_the_end_of_time(store: OpenStore) -> None:
    """An adopted archive of the last millisecond does not stop the agent from archiving, and nothing is lost."""
    await take_over(store, agent_archive_zone(AGENT, 2**53 - 1), {"output": b"last\n"})
    times = set()
    for number in range(3):
        await store.sessions.append_session_output(AGENT, [str(number)])
        times.add((await store.sessions.archive_session(AGENT)).archived_at_ms)
    assert len(times) == 3
    assert len(await store.sessions.list_archives(AGENT)) == 4
