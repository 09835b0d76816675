"""`agent:session:read`."""

from __future__ import annotations

import asyncio

import pytest

from store import reads
from store.errors import InvalidDefinitionIdError, TooLargeError
from store.handle import Handle, SessionKey
from store.records import FileStat, SessionState
from store.sessions import Sessions
from store.stored import last_part
from store.zones import Zone, agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore
from tests.contract.made import AGENT, OTHER, content_of, take_over


async def test_a_fresh_agent_reads_as_nothing_at_all(sessions: Sessions) -> None:
    """A fresh agent is not an error: every field is null."""
    assert await sessions.read_session_state(AGENT) == SessionState(None)


async def test_reading_makes_no_session(sessions: Sessions) -> None:
    """A session that was read before it exists still does not exist."""
    await sessions.read_session_state(AGENT, if_revision=0)
    assert await sessions.list_agents() == ([], None)


async def test_what_was_written_is_read(sessions: Sessions) -> None:
    """Content, time and revision of the last write come back."""
    written = await sessions.write_session_state(AGENT, b'{"a": 1}')
    state = await sessions.read_session_state(AGENT)
    assert (content_of(state), state.modts, state.revision, state.unchanged) == (b'{"a": 1}', BEGINNING_MS, 1, False)
    assert state.session_id == written.session_id


async def test_a_session_without_a_snapshot_has_an_id_and_nothing_else(sessions: Sessions) -> None:
    """After an append only the session id is there: content, modts and revision are null."""
    appended = await sessions.append_session_output(AGENT, ["line"])
    assert await sessions.read_session_state(AGENT) == SessionState(appended.session_id)


async def test_an_empty_snapshot_is_not_no_snapshot(sessions: Sessions) -> None:
    """A snapshot of no bytes has a revision, and its content is empty rather than null."""
    await sessions.write_session_state(AGENT, b"")
    state = await sessions.read_session_state(AGENT)
    assert (content_of(state), state.revision) == (b"", 1)


async def test_what_is_stored_while_it_is_read_is_not_mixed_in(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read was true at one instant: another snapshot comes between the look at its size and its bytes."""
    await sessions.write_session_state(AGENT, b"a" * 200_000)
    loop = asyncio.get_running_loop()

    def look_and_wait(handle: Handle, key: SessionKey, zone: Zone, name: str) -> FileStat | None:
        found = last_part(handle, key, zone, name)
        asyncio.run_coroutine_threadsafe(sessions.write_session_state(AGENT, b"b" * 70_000), loop).result()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(reads, "last_part", look_and_wait)
        state = await sessions.read_session_state(AGENT)
    assert (content_of(state), state.revision) == (b"a" * 200_000, 1)
    state = await sessions.read_session_state(AGENT)
    assert (content_of(state), state.revision) == (b"b" * 70_000, 2)


@pytest.mark.parametrize("size_bytes", [1, 65_535, 65_536, 65_537, 200_000])
async def test_a_snapshot_of_any_size_comes_back_byte_for_byte(store: OpenStore, size_bytes: int) -> None:
    """What was written is read whole, below, at and above the size of a part, and after a restart too."""
    content = bytes(number % 251 for number in range(size_bytes))
    await store.sessions.write_session_state(AGENT, content)
    await store.reopen()
    assert content_of(await store.sessions.read_session_state(AGENT)) == content


async def test_if_revision_equal_to_the_stored_one_spares_the_content(sessions: Sessions) -> None:
    """`if_revision` equal to the stored revision answers `unchanged`, with modts, revision and session id."""
    written = await sessions.write_session_state(AGENT, b"{}")
    state = await sessions.read_session_state(AGENT, if_revision=1)
    assert state == SessionState(written.session_id, None, BEGINNING_MS, 1, unchanged=True)


@pytest.mark.parametrize("if_revision", [0, 1, 3, 2**53 - 1])
async def test_any_other_if_revision_reads_the_content(sessions: Sessions, if_revision: int) -> None:
    """`if_revision` other than the stored revision is as if it had not been given."""
    await sessions.write_session_state(AGENT, b"1")
    await sessions.write_session_state(AGENT, b"2")
    state = await sessions.read_session_state(AGENT, if_revision)
    assert (content_of(state), state.revision, state.unchanged) == (b"2", 2, False)


async def test_if_revision_without_a_snapshot_is_no_match(sessions: Sessions) -> None:
    """Where there is no snapshot nothing is unchanged, whatever revision is asked about."""
    await sessions.append_session_output(AGENT, ["line"])
    assert not (await sessions.read_session_state(AGENT, if_revision=0)).unchanged


async def test_the_agents_do_not_see_each_other(sessions: Sessions) -> None:
    """Each definition id has a session of its own, and ids are case-sensitive."""
    for definition_id in (AGENT, OTHER, AGENT.upper(), AGENT.lower()):
        await sessions.write_session_state(definition_id, definition_id.encode())
    states = [await sessions.read_session_state(each) for each in (AGENT, OTHER, AGENT.upper(), AGENT.lower())]
    assert [content_of(state) for state in states] == [b"agent_A-1", b"agent-B", b"AGENT_A-1", b"agent_a-1"]
    assert len({state.session_id for state in states}) == 4


async def test_nul_bytes_and_invalid_utf_8_are_kept(store: OpenStore) -> None:
    """A migrated snapshot is opaque: NUL bytes and bytes that are not UTF-8 are read as they were."""
    content = b'{"a":"\x00\xff\xfe\xed\xa0\x80"}\x00'
    await take_over(store, agent_current_zone(AGENT), {"output.state.json": content})
    assert content_of(await store.sessions.read_session_state(AGENT)) == content


@pytest.mark.parametrize("definition_id", ["", "a:b", "a\n", "é", "٣", "a b", "a/b", "agent:x:current", "\ud800"])
async def test_a_bad_id_is_refused_by_every_verb_in_the_same_words(sessions: Sessions, definition_id: str) -> None:
    """Every verb answers an id outside `[A-Za-z0-9_-]+` with the same stable message."""
    calls = [
        sessions.read_session_state(definition_id),
        sessions.write_session_state(definition_id, b"{}"),
        sessions.append_session_output(definition_id, ["x"]),
        sessions.archive_session(definition_id),
        sessions.list_archives(definition_id),
        sessions.read_archive(definition_id, 1),
        sessions.read_output(definition_id),
        sessions.read_output(definition_id, 1),
        sessions.mount(definition_id),
        sessions.stat([AGENT, definition_id]),
        sessions.list_agents(after=definition_id),
    ]
    messages = set()
    for call in calls:
        with pytest.raises(InvalidDefinitionIdError) as caught:
            await call
        assert (caught.value.word, caught.value.retry) == ("INVALID_DEFINITION_ID", False)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert messages.pop().startswith('INVALID_DEFINITION_ID: must match [A-Za-z0-9_-]+, got "')


async def test_an_id_of_512_characters_is_the_longest(sessions: Sessions) -> None:
    """512 characters are taken; 513 are TOO_LARGE, and the limit is named."""
    await sessions.write_session_state("a" * 512, b"{}")
    assert (await sessions.read_session_state("a" * 512)).revision == 1
    with pytest.raises(TooLargeError) as caught:
        await sessions.read_session_state("a" * 513)
    assert caught.value.facts == {"limit": "definition_id_characters_max", "max": 512}
