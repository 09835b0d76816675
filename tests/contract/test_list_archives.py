"""`agent:session:list_archives`."""

from __future__ import annotations

import asyncio

import pytest

from store import limits
from store.engine import KeepPreview, MoveSession
from store.previews import Preview
from store.records import ArchiveSummary
from store.sessions import Sessions
from store.zones import Zone, agent_archive_zone, agent_current_zone
from tests.conftest import OpenStore
from tests.contract.made import AGENT, OTHER, archived_at, take_over

SNAPSHOT = b'{"nodes": [{"type": "user_message", "message": "Hello,\\n  you"}, {"type": "text"}]}'


class NeverReady:
    """Previews that are never worked out in time."""

    def __init__(self) -> None:
        self.given_up = asyncio.Event()

    def notify(self) -> None:
        """Hear of an archive, and do nothing."""

    async def work_out(self, zone: Zone) -> Preview:  # noqa: ARG002 - `Previews` has it
        """Wait for what never happens; tell when the caller gives up."""
        try:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return] # it has no result
        except asyncio.CancelledError:
            self.given_up.set()
            raise


async def times(sessions: Sessions, limit: int | None = None, before_ms: int | None = None) -> list[int]:
    """Return the times of the rows."""
    return [row.archived_at_ms for row in await sessions.list_archives(AGENT, limit, before_ms)]


async def preview_kept(store: OpenStore, zone: Zone) -> None:
    """Wait until an archive's preview is stored."""
    await store.previews._work(zone).kept


async def make_archives(store: OpenStore, count: int) -> None:
    """Make `count` archives, of the milliseconds from 1 on."""
    zones = [agent_archive_zone(AGENT, at_ms) for at_ms in range(1, count + 1)]
    await asyncio.gather(*(take_over(store, zone, {"output": b"x\n"}) for zone in zones))


async def test_a_fresh_agent_has_none(sessions: Sessions) -> None:
    """No archives are an empty array, with a current session as well."""
    assert await sessions.list_archives(AGENT) == []
    await sessions.append_session_output(AGENT, ["x"])
    assert await sessions.list_archives(AGENT) == []


async def test_a_row_says_all_of_an_archive(store: OpenStore) -> None:
    """Zone, time, preview, number of nodes, lines, size of all files together, and the session's id."""
    written = await store.sessions.write_session_state(AGENT, SNAPSHOT)
    await store.sessions.append_session_output(AGENT, ["one", "", "two"])
    archived = await store.sessions.archive_session(AGENT)
    (row,) = await store.sessions.list_archives(AGENT)
    at_ms = archived.archived_at_ms or 0
    size = len(SNAPSHOT) + 9
    assert row == ArchiveSummary(agent_archive_zone(AGENT, at_ms), at_ms, "Hello, you", 2, 2, size, written.session_id)


async def test_newest_first(store: OpenStore) -> None:
    """Rows come in order of time, the newest first."""
    for at_ms in (5, 7, 300, 1_000):
        await archived_at(store, AGENT, at_ms)
    assert await times(store.sessions) == [1_000, 300, 7, 5]


async def test_limit_0_or_absent_is_20_and_above_100_is_100(store: OpenStore) -> None:
    """The limit is clamped, never an error."""
    await make_archives(store, 105)
    for limit, rows in ((None, 20), (0, 20), (1, 1), (99, 99), (100, 100), (101, 100), (2**53 - 1, 100)):
        assert await times(store.sessions, limit) == list(range(105, 105 - rows, -1))


async def test_before_ms_pages_further(store: OpenStore) -> None:
    """Only rows older than `before_ms`: page after page gives each archive once."""
    await make_archives(store, 45)
    found: list[int] = []
    before_ms: int | None = None
    while page := await times(store.sessions, before_ms=before_ms):
        found += page
        before_ms = page[-1]
    assert found == list(range(45, 0, -1))


@pytest.mark.parametrize(("before_ms", "expected"), [(0, []), (1, [0]), (2**53 - 1, [1, 0]), (None, [2**53 - 1, 1, 0])])
async def test_before_ms_itself_is_not_among_them(store: OpenStore, before_ms: int | None, expected: list[int]) -> None:
    """`before_ms` excludes its own millisecond, at both ends of time; 0 is a time and not "absent"."""
    for at_ms in (0, 1, 2**53 - 1):
        await take_over(store, agent_archive_zone(AGENT, at_ms), {"output": b"x\n"})
    assert await times(store.sessions, before_ms=before_ms) == expected


async def test_only_the_agents_own_are_listed(store: OpenStore) -> None:
    """An underscore is no wildcard, case matters, and a common beginning makes no relation."""
    for definition_id in ("a_b", "aXb", "A_b", "a_b-archive", "a_"):
        await store.sessions.append_session_output(definition_id, ["x"])
        await store.sessions.archive_session(definition_id)
    rows = await store.sessions.list_archives("a_b")
    assert [row.archive_zoneid.definition_id for row in rows] == ["a_b"]


async def test_size_is_that_of_all_files(store: OpenStore) -> None:
    """A migrated session's further files count in `size_bytes`, and only output has lines."""
    files = {"output": b"a\nb\n", "output.state.json": b"{}\n\n", "notes.txt": b"one\ntwo\n" * 20_000}
    await take_over(store, agent_archive_zone(AGENT, 5), files)
    (row,) = await store.sessions.list_archives(AGENT)
    assert (row.size_bytes, row.total_lines) == (4 + 4 + 160_000, 2)


async def test_an_archive_without_anything_to_show_has_an_empty_preview(store: OpenStore) -> None:
    """An empty text where there is no preview, and 0 nodes where there are none."""
    for at_ms, content in (
        (1, b"{}"),
        (2, b"no JSON"),
        (3, b'{"nodes": []}'),
        (4, b'{"nodes": null}'),
        (5, b"\xff\x00"),
    ):
        await preview_kept(store, await archived_at(store, AGENT, at_ms, content))
    assert {(row.preview, row.node_count) for row in await store.sessions.list_archives(AGENT)} == {("", 0)}


async def test_the_preview_comes_from_the_output_where_the_snapshot_says_nothing(store: OpenStore) -> None:
    """Without a snapshot the first turn the user typed is shown."""
    await store.sessions.append_session_output(AGENT, ['{"type":"user","message":{"role":"user","content":"Typed"}}'])
    await store.sessions.archive_session(AGENT)
    (row,) = await store.sessions.list_archives(AGENT)
    assert (row.preview, row.node_count) == ("Typed", 0)


async def test_a_preview_is_worked_out_once_and_kept(store: OpenStore) -> None:
    """What a list showed is stored: it is there without any work after a restart."""
    zone = await archived_at(store, AGENT, 5, SNAPSHOT)
    await preview_kept(store, zone)
    await store.reopen()
    await store.previews.stop()
    (row,) = await store.engine.list_archives(AGENT, 1, None)
    assert (row.preview, row.node_count) == ("Hello, you", 2)
    assert await store.engine.archives_without_preview(10) == []


async def test_keeping_a_preview_where_there_is_one_or_nothing_to_keep_it_for_changes_nothing(store: OpenStore) -> None:
    """The first one worked out stays; for an archive that is gone, or a current session, there is nothing to keep."""
    zone = await archived_at(store, AGENT, 5, SNAPSHOT)
    await preview_kept(store, zone)
    await store.sessions.write_session_state(AGENT, b"{}")
    for each in (zone, agent_archive_zone(AGENT, 6), agent_current_zone(AGENT)):
        assert await store.writer.submit(KeepPreview(each, "another", 77)) is None
    (row,) = await store.sessions.list_archives(AGENT)
    assert (row.preview, row.node_count) == ("Hello, you", 2)
    await store.previews.stop()
    await store.sessions.archive_session(AGENT)
    rows = await store.engine.list_archives(AGENT, 5, None)
    assert [(each.preview, each.node_count) for each in rows] == [(None, 0), ("Hello, you", 2)]


async def test_what_takes_too_long_is_null(store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list does not wait longer than it may: preview null, everything else there, and no waiter left behind."""
    monkeypatch.setattr(limits, "LIST_PREVIEW_WAIT_MS", 1)
    await store.previews.stop()
    never = NeverReady()
    sessions = Sessions(store.engine, store.writer, never, limits.Limits(), store.clock)
    await sessions.write_session_state(AGENT, SNAPSHOT)
    await sessions.archive_session(AGENT)
    (row,) = await sessions.list_archives(AGENT)
    assert (row.preview, row.node_count, row.size_bytes) == (None, 0, len(SNAPSHOT))
    await never.given_up.wait()


async def test_the_list_waits_250_ms_at_most() -> None:
    """DESIGN.md names the time that `list_archives` may work on previews."""
    assert limits.LIST_PREVIEW_WAIT_MS == 250


async def test_a_damaged_or_unreadable_preview_does_not_fail_the_list(store: OpenStore) -> None:
    """A preview that fails leaves its own row without one and the others with theirs."""

    class HalfReady(NeverReady):
        async def work_out(self, zone: Zone) -> Preview:
            if zone.archived_at_ms == 1:
                raise OSError("cannot be read")
            return Preview("worked out", 3)

    await store.previews.stop()
    sessions = Sessions(store.engine, store.writer, HalfReady(), limits.Limits(), store.clock)
    for at_ms in (1, 2):
        await archived_at(store, AGENT, at_ms)
    rows = [(row.preview, row.node_count) for row in await sessions.list_archives(AGENT)]
    assert rows == [("worked out", 3), (None, 0)]


async def test_previews_of_a_hundred_archives_are_all_worked_out(store: OpenStore) -> None:
    """After the background is done with its work nothing lacks a preview; a list then has them all."""
    for at_ms in range(1, 101):
        content = b'{"nodes": [{"type": "user_message", "message": "number %d"}]}' % at_ms
        await take_over(store, agent_archive_zone(AGENT, at_ms), {"output.state.json": content})
    await asyncio.gather(*(store.previews.work_out(agent_archive_zone(AGENT, at_ms)) for at_ms in range(1, 101)))
    while await store.engine.archives_without_preview(1):
        pass  # found, and not all kept yet
    rows = await store.sessions.list_archives(AGENT, 100)
    assert [row.preview for row in rows] == [f"number {at_ms}" for at_ms in range(100, 0, -1)]


async def test_an_archive_that_moves_keeps_its_preview(store: OpenStore) -> None:
    """What was worked out once is not worked out again under another name; a current session has none to take along."""
    await preview_kept(store, await archived_at(store, AGENT, 5, SNAPSHOT))
    await store.previews.stop()
    await store.writer.submit(MoveSession(agent_archive_zone(AGENT, 5), agent_archive_zone(OTHER, 9)))
    (row,) = await store.engine.list_archives(OTHER, 1, None)
    assert (row.preview, row.node_count) == ("Hello, you", 2)
    await store.writer.submit(MoveSession(agent_archive_zone(OTHER, 9), agent_current_zone(OTHER)))
    await store.sessions.write_session_state(OTHER, b"changed")
    await store.sessions.archive_session(OTHER)
    (row,) = await store.engine.list_archives(OTHER, 1, None)
    assert (row.preview, row.node_count) == (None, 0)
