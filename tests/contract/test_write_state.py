"""`agent:session:write_state`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from store.engine import Engine, WriteState
from store.errors import RevisionMismatchError, StaleSessionError, TooLargeError
from store.limits import PART_BYTES, Limits
from store.records import SessionState, Written
from store.sessions import Sessions
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore, StoreOpener
from tests.contract.made import AGENT, OTHER, content_of


async def test_the_first_write_makes_the_session(sessions: Sessions) -> None:
    """The answer tells bytes, time, revision and session id, and the session id is an opaque text."""
    written = await sessions.write_session_state(AGENT, "{“ü”}".encode())
    assert written == Written(10, BEGINNING_MS, 1, written.session_id)
    assert written.session_id


async def test_each_change_raises_the_revision_and_keeps_the_session(store: OpenStore) -> None:
    """Writes of other content count the revision up, take the clock's time and stay in the session."""
    first = await store.sessions.write_session_state(AGENT, b"1")
    store.clock.now_ms += 5
    second = await store.sessions.write_session_state(AGENT, b"22")
    assert second == Written(2, BEGINNING_MS + 5, 2, first.session_id)


async def test_a_write_replaces_the_whole(sessions: Sessions) -> None:
    """A shorter snapshot leaves nothing of a longer one, in whatever parts they are."""
    for content in (b"a" * (3 * PART_BYTES + 5), b"a" * (PART_BYTES + 1), b"a" * PART_BYTES, b"a", b"", b"b" * 70_000):
        await sessions.write_session_state(AGENT, content)
        assert content_of(await sessions.read_session_state(AGENT)) == content


async def test_every_length_of_change_raises_the_revision_by_one(sessions: Sessions) -> None:
    """Growing, shrinking to a part that is the same already, and a change in the first part count one each."""
    contents = [b"a" * PART_BYTES, b"a" * (PART_BYTES + 9), b"a" * PART_BYTES, b"b" + b"a" * (PART_BYTES - 1), b""]
    revisions = [(await sessions.write_session_state(AGENT, content)).revision for content in contents]
    assert revisions == [1, 2, 3, 4, 5]
    assert (await sessions.read_session_state(AGENT)).revision == 5


@pytest.mark.parametrize("content", [b"", b"{}", b"a" * PART_BYTES, b"a" * 200_001])
async def test_writing_what_is_stored_changes_nothing(store: OpenStore, content: bytes) -> None:
    """The same bytes again leave revision and modts, and the answer tells the old ones."""
    first = await store.sessions.write_session_state(AGENT, content)
    store.clock.now_ms += 1_000
    assert await store.sessions.write_session_state(AGENT, content) == first
    state = await store.sessions.read_session_state(AGENT)
    assert (state.revision, state.modts) == (1, BEGINNING_MS)


async def test_writing_what_is_stored_still_sets_covers_line(sessions: Sessions) -> None:
    """The same bytes with another `covers_line` set that, and without one set it to null; the revision stays."""
    await sessions.append_session_output(AGENT, ["a", "b"])
    found = []
    for covers_line in (None, 1, 2, None):
        await sessions.write_session_state(AGENT, b"{}", covers_line=covers_line)
        mount = await sessions.mount(AGENT)
        found.append((mount.covers_line, mount.state.revision))
    assert found == [(None, 1), (1, 1), (2, 1), (None, 1)]


async def test_covers_line_is_null_after_a_write_without_it(sessions: Sessions) -> None:
    """A write that does not say how many lines it contains makes the older word void."""
    await sessions.write_session_state(AGENT, b"1", covers_line=7)
    await sessions.write_session_state(AGENT, b"2")
    assert (await sessions.mount(AGENT)).covers_line is None


async def test_covers_line_may_be_the_largest_number(sessions: Sessions) -> None:
    """2^53 - 1 is kept as it was sent."""
    await sessions.write_session_state(AGENT, b"1", covers_line=2**53 - 1)
    assert (await sessions.mount(AGENT)).covers_line == 2**53 - 1


async def test_expect_revision_takes_the_stored_one_only(sessions: Sessions) -> None:
    """Another revision is REVISION_MISMATCH with the stored one, and nothing is written."""
    await sessions.write_session_state(AGENT, b"1")
    await sessions.write_session_state(AGENT, b"2", expect_revision=1)
    for expected in (0, 1, 3, 2**53 - 1):
        with pytest.raises(RevisionMismatchError) as caught:
            await sessions.write_session_state(AGENT, b"3", expect_revision=expected, covers_line=9)
        assert (caught.value.word, caught.value.retry, caught.value.facts) == (
            "REVISION_MISMATCH",
            False,
            {"revision": 2},
        )
    mount = await sessions.mount(AGENT)
    assert (content_of(mount.state), mount.state.revision, mount.covers_line) == (b"2", 2, None)


async def test_expect_revision_0_means_that_there_must_be_no_snapshot(sessions: Sessions) -> None:
    """0 fits a fresh agent and a session with output alone; an empty snapshot is one."""
    await sessions.write_session_state(AGENT, b"", expect_revision=0)
    await sessions.append_session_output(OTHER, ["x"])
    await sessions.write_session_state(OTHER, b"{}", expect_revision=0)
    with pytest.raises(RevisionMismatchError):
        await sessions.write_session_state(AGENT, b"1", expect_revision=0)


async def test_a_mismatch_on_a_fresh_agent_makes_no_session(sessions: Sessions) -> None:
    """Where there is no snapshot the stored revision is 0, and the refusal leaves no zone behind."""
    with pytest.raises(RevisionMismatchError) as caught:
        await sessions.write_session_state(AGENT, b"1", expect_revision=1)
    assert caught.value.facts == {"revision": 0}
    assert await sessions.read_session_state(AGENT) == SessionState(None)
    assert await sessions.list_agents() == ([], None)


async def test_the_same_bytes_with_a_wrong_revision_are_a_mismatch(sessions: Sessions) -> None:
    """`expect_revision` is looked at before the content: an unchanged write does not hide a conflict."""
    await sessions.write_session_state(AGENT, b"1")
    with pytest.raises(RevisionMismatchError):
        await sessions.write_session_state(AGENT, b"1", expect_revision=0)


async def test_of_two_writers_with_one_revision_one_wins(sessions: Sessions) -> None:
    """Compare-and-set: of many concurrent writes that expect one revision exactly one is stored."""
    await sessions.write_session_state(AGENT, b"first")
    outcomes = await asyncio.gather(
        *(sessions.write_session_state(AGENT, b"%d" % number, expect_revision=1) for number in range(16)),
        return_exceptions=True,
    )
    won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Written)]
    assert len(won) == 1
    assert sum(isinstance(outcome, RevisionMismatchError) for outcome in outcomes) == 15
    assert content_of(await sessions.read_session_state(AGENT)) == b"%d" % won[0]


async def test_the_sessions_own_id_is_taken(sessions: Sessions) -> None:
    """A write with the current session's id goes through."""
    first = await sessions.write_session_state(AGENT, b"1")
    assert (await sessions.write_session_state(AGENT, b"2", session_id=first.session_id)).revision == 2


@pytest.mark.parametrize("session_id", ["", "00000000-0000-0000-0000-000000000000", "é\n", "x" * 10_000])
async def test_any_other_session_id_is_stale(sessions: Sessions, session_id: str) -> None:
    """A session id that is not the current one's is STALE_SESSION, on a fresh agent too, and nothing is written."""
    with pytest.raises(StaleSessionError) as caught:
        await sessions.write_session_state(AGENT, b"1", session_id=session_id)
    assert (caught.value.word, caught.value.retry, caught.value.facts) == ("STALE_SESSION", False, {})
    assert await sessions.read_session_state(AGENT) == SessionState(None)
    await sessions.write_session_state(AGENT, b"1")
    with pytest.raises(StaleSessionError):
        await sessions.write_session_state(AGENT, b"2", session_id=session_id)
    assert content_of(await sessions.read_session_state(AGENT)) == b"1"


async def test_a_pane_that_outlived_its_session_cannot_write(sessions: Sessions) -> None:
    """After archive the old id is stale, before and after a new session has come into being."""
    old = await sessions.write_session_state(AGENT, b"old")
    await sessions.archive_session(AGENT)
    for _ in range(2):
        with pytest.raises(StaleSessionError):
            await sessions.write_session_state(AGENT, b"back again", session_id=old.session_id)
        new = await sessions.write_session_state(AGENT, b"new")
    assert new.session_id != old.session_id
    assert content_of(await sessions.read_session_state(AGENT)) == b"new"


async def test_stale_is_said_before_mismatch(sessions: Sessions) -> None:
    """With both wrong the answer is STALE_SESSION: the revision of another session means nothing."""
    await sessions.write_session_state(AGENT, b"1")
    with pytest.raises(StaleSessionError):
        await sessions.write_session_state(AGENT, b"2", session_id="another", expect_revision=9)


async def test_another_agents_session_id_is_stale(sessions: Sessions) -> None:
    """The id of a session does not open another agent's."""
    other = await sessions.write_session_state(OTHER, b"1")
    await sessions.write_session_state(AGENT, b"1")
    with pytest.raises(StaleSessionError):
        await sessions.write_session_state(AGENT, b"2", session_id=other.session_id)


async def test_a_new_session_counts_its_revisions_from_one(sessions: Sessions) -> None:
    """The revision grows within a session; the next one begins again."""
    for content in (b"1", b"2", b"3"):
        await sessions.write_session_state(AGENT, content)
    await sessions.archive_session(AGENT)
    assert (await sessions.write_session_state(AGENT, b"3", expect_revision=0)).revision == 1


async def test_a_snapshot_above_the_limit_is_too_large(open_store: StoreOpener) -> None:
    """One byte over `snapshot_bytes_max` is TOO_LARGE, names the limit and stores nothing; the limit itself fits."""
    store = await open_store(replace(Limits(), snapshot_bytes_max=1_000))
    with pytest.raises(TooLargeError) as caught:
        await store.sessions.write_session_state(AGENT, b"x" * 1_001)
    assert caught.value.facts == {"limit": "snapshot_bytes_max", "max": 1_000}
    assert "snapshot_bytes_max" in str(caught.value)
    assert await store.sessions.read_session_state(AGENT) == SessionState(None)
    assert (await store.sessions.write_session_state(AGENT, b"x" * 1_000)).bytes_written == 1_000


async def test_the_output_is_not_touched(sessions: Sessions) -> None:
    """Snapshot and output have revisions of their own: a write leaves the lines, an append the snapshot's revision."""
    await sessions.append_session_output(AGENT, ["a"])
    assert (await sessions.write_session_state(AGENT, b"1")).revision == 1
    await sessions.append_session_output(AGENT, ["b"])
    assert (await sessions.write_session_state(AGENT, b"2")).revision == 2
    assert (await sessions.read_output(AGENT)).lines == ["a", "b"]


async def test_a_snapshot_may_come_in_a_buffer(sessions: Sessions) -> None:
    """What was read piece by piece into a `bytearray` is stored as it is, and compared as it is."""
    content = b"x" * 100_000
    for revision, sent in ((1, bytearray(content)), (1, content), (2, bytearray(content + b"y"))):
        assert (await sessions.write_session_state(AGENT, sent)).revision == revision
        assert content_of(await sessions.read_session_state(AGENT)) == bytes(sent)


async def test_a_batch_that_breaks_off_stores_nothing(engine: Engine) -> None:
    """Where a change fails in a way that nobody expects, what came before it in the batch is undone as well."""

    class Unknown(WriteState):
        """No engine knows this change."""

    zone = agent_current_zone(AGENT)
    with pytest.raises(KeyError):
        await engine.apply([WriteState(zone, b"{}", BEGINNING_MS), Unknown(zone, b"{}", BEGINNING_MS)])
    assert await engine.list_agents(10, None) == []
    (written,) = await engine.apply([WriteState(zone, b"{}", BEGINNING_MS)])
    assert isinstance(written, Written)
    assert written.revision == 1
