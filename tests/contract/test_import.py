"""Sessions that come from elsewhere: `ImportSession`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from store.engine import AppendOutput, Change, ImportSession
from store.records import Appended, FileStat, ImportFile, ZoneStat
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore
from tests.contract.made import AGENT, OTHER, content_of, file_from, refused, session_from, take_over

FILES = {"output": b"a\n\nb", "output.state.json": b"{}", "notes": b"x" * 200_000, "empty": b""}


async def test_all_files_come_with_their_times(store: OpenStore) -> None:
    """Every file is there byte for byte, an empty one as empty, with its own time; revisions begin at 1."""
    zone = agent_archive_zone(AGENT, 5)
    files = tuple(file_from(name, data, 100 + len(data)) for name, data in FILES.items())
    taken = await store.writer.submit(ImportSession(zone, files, created_at_ms=77))
    assert isinstance(taken, ZoneStat)
    expected = tuple(
        FileStat(name, len(FILES[name]), 2 if name == "output" else 0, 100 + len(FILES[name]), 1)
        for name in sorted(FILES)
    )
    assert taken == ZoneStat(zone, taken.session_id, 77, expected)
    assert await store.engine.zone_stat(zone) == taken
    for name, data in FILES.items():
        assert await store.engine.read_bytes(zone, name, 0, 1 << 20) == data
    assert (taken.size_bytes, taken.modified_at_ms) == (200_006, 200_100)


async def test_an_imported_session_reads_as_any_other(store: OpenStore) -> None:
    """Content, lines and times are found by the verbs, and the session id is new for each."""
    ids = {(await take_over(store, agent_archive_zone(AGENT, at_ms), FILES)).session_id for at_ms in (5, 6)}
    current = await take_over(store, agent_current_zone(AGENT), FILES)
    assert len(ids | {current.session_id}) == 3
    state = await store.sessions.read_session_state(AGENT)
    assert (content_of(state), state.modts, state.revision) == (b"{}", 1_000, 1)
    assert (await store.sessions.read_output(AGENT, 5)).lines == ["a", "b"]


async def test_a_taken_millisecond_means_the_next_free_one(store: OpenStore) -> None:
    """Archives of one time stand side by side, in the order they came; the answer says where."""
    await take_over(store, agent_archive_zone(AGENT, 7), {"output": b"7"})
    for expected_ms in (5, 6, 8):
        taken = await take_over(store, agent_archive_zone(AGENT, 5), {"output": b"%d" % expected_ms})
        assert taken.zone.archived_at_ms == expected_ms
    found = [(await store.sessions.read_output(AGENT, at_ms)).lines for at_ms in (5, 6, 7, 8)]
    assert found == [["5"], ["6"], ["7"], ["8"]]


async def test_at_the_end_of_time_the_free_millisecond_before_it_is_used(store: OpenStore) -> None:
    """No byte is lost where there is no later millisecond."""
    last_ms = 2**53 - 1
    times = [
        (await take_over(store, agent_archive_zone(AGENT, last_ms), {"output": b"x"})).zone.archived_at_ms
        for _ in range(3)
    ]
    assert times == [last_ms, last_ms - 1, last_ms - 2]


async def test_a_current_session_without_a_byte_is_replaced(store: OpenStore) -> None:
    """An empty current zone makes way, and its id is no longer anyone's."""
    empty = await store.sessions.write_session_state(AGENT, b"")
    taken = await take_over(store, agent_current_zone(AGENT), {"output.state.json": b"{}"})
    assert taken.session_id != empty.session_id
    state = await store.sessions.read_session_state(AGENT)
    assert (content_of(state), state.session_id) == (b"{}", taken.session_id)
    appended = await store.sessions.append_session_output(AGENT, ["x"])
    assert appended.session_id == taken.session_id


async def test_a_current_session_with_content_is_never_replaced(store: OpenStore) -> None:
    """The import is refused, and what is there stays as it is."""
    written = await store.sessions.write_session_state(AGENT, b"mine")
    error = await refused(store, session_from(agent_current_zone(AGENT), {"output.state.json": b"theirs"}))
    assert isinstance(error, ValueError)
    state = await store.sessions.read_session_state(AGENT)
    assert (content_of(state), state.session_id) == (b"mine", written.session_id)


@pytest.mark.parametrize(
    ("covers_line", "kept"),
    [(None, None), (0, 0), (1, 1), (2, 2), (3, None), (2**53 - 1, None), (-1, None), (2**63, None)],
)
async def test_covers_line_is_kept_where_it_lies_within_the_output(
    store: OpenStore, covers_line: int | None, kept: int | None
) -> None:
    """A mark beyond the lines of the output, or before its beginning, is dropped."""
    await take_over(store, agent_current_zone(AGENT), FILES, covers_line)
    assert (await store.sessions.mount(AGENT)).covers_line == kept


async def test_origins_are_remembered(store: OpenStore) -> None:
    """Every origin is found again, also after archive, move and a restart; a session without one adds none."""
    for number in range(3):
        change = session_from(agent_archive_zone(AGENT, number), {"output": b"x"})
        await store.writer.submit(replace(change, origin=f"block:{number}"))
    await store.writer.submit(
        replace(session_from(agent_current_zone(AGENT), {"output": b"x"}), origin="block:current")
    )
    await take_over(store, agent_archive_zone(OTHER, 1), {"output": b"x"})
    await store.sessions.archive_session(AGENT)
    await store.reopen()
    assert await store.engine.origins() == {"block:0", "block:1", "block:2", "block:current"}


async def test_a_second_session_of_one_origin_is_refused(store: OpenStore) -> None:
    """What makes the migration repeatable: one origin cannot come twice, whatever else goes wrong."""
    change = replace(session_from(agent_archive_zone(AGENT, 5), {"output": b"x"}), origin="block:1")
    await store.writer.submit(change)
    assert await refused(store, change) is not None
    assert len(await store.engine.zones_of(AGENT)) == 1
    await store.sessions.append_session_output(AGENT, ["the store goes on"])


@pytest.mark.parametrize(
    "failure", [OSError("the source is gone"), ValueError("not that"), sqlite3.DatabaseError("torn")]
)
async def test_a_source_that_fails_undoes_its_own_change_alone(store: OpenStore, failure: Exception) -> None:
    """An exception out of `chunks` is the outcome of that change; the others of its batch are stored."""

    def torn() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise failure

    zone = agent_current_zone(AGENT)
    batch: list[Change] = [
        AppendOutput(agent_current_zone(OTHER), b"before\n", BEGINNING_MS),
        ImportSession(zone, (file_from("output.state.json", b"{}"), ImportFile("output", 1, torn)), 1, "block:1"),
        AppendOutput(zone, b"after\n", BEGINNING_MS),
    ]
    before, imported, after = await store.engine.apply(batch)
    assert isinstance(before, Appended)
    assert imported is failure
    assert isinstance(after, Appended)
    assert [stat.zone for stat in await store.engine.zones_of(AGENT)] == [zone]
    assert await store.engine.read_bytes(zone, "output.state.json", 0, 10) == b""
    assert (await store.sessions.read_output(AGENT)).lines == ["after"]
    assert await store.engine.origins() == set()


async def test_an_empty_current_session_is_back_after_a_failed_import(store: OpenStore) -> None:
    """The empty zone that was to make way is there again with its id, on disk and in the writer's memory."""

    def torn() -> Iterable[bytes]:
        raise OSError("the source is gone")

    written = await store.sessions.write_session_state(AGENT, b"")
    change = ImportSession(agent_current_zone(AGENT), (ImportFile("output", 1, torn),), 1)
    assert isinstance(await refused(store, change), OSError)
    appended = await store.sessions.append_session_output(AGENT, ["x"], session_id=written.session_id)
    assert appended.session_id == written.session_id
    assert (await store.sessions.read_session_state(AGENT)).revision == 1


@pytest.mark.parametrize("chunk_bytes", [1, 7, 65_536, 1 << 20])
async def test_chunks_of_any_size_make_the_same_file(store: OpenStore, chunk_bytes: int) -> None:
    """However the source cuts its bytes, the file and its lines are the same."""
    data = b"".join(b"line %d\r\n\n" % number for number in range(1_500)) + b"x" * 70_000 + b"\nlast"
    zone = agent_archive_zone(AGENT, 5)
    change = ImportSession(zone, (file_from("output", data, chunk_bytes=chunk_bytes),), 1)
    await store.writer.submit(change)
    assert await store.engine.read_bytes(zone, "output", 0, 1 << 20) == data
    page = await store.sessions.read_output(AGENT, 5, first_line=1_499)
    assert (page.lines, page.total_lines) == (["line 1499", "x" * 70_000, "last"], 1_502)


async def test_no_files_make_an_empty_session(store: OpenStore) -> None:
    """A session without files is there, and its last change is its birth."""
    taken = await take_over(store, agent_current_zone(AGENT), {})
    assert (taken.files, taken.size_bytes, taken.modified_at_ms) == ((), 0, 500)
    (stat,) = await store.sessions.stat([AGENT])
    assert (stat.session_id, stat.modts, stat.total_lines) == (taken.session_id, None, 0)


@pytest.mark.parametrize(
    ("start_byte", "max_bytes"), [(0, 1), (65_535, 2), (65_536, 65_536), (199_999, 10), (130_000, 1 << 20)]
)
async def test_read_bytes_reads_any_slice(store: OpenStore, start_byte: int, max_bytes: int) -> None:
    """From a byte, at most so many, over the ends of parts."""
    data = bytes(number % 251 for number in range(200_000))
    zone = agent_archive_zone(AGENT, 5)
    await take_over(store, zone, {"notes": data})
    found = await store.engine.read_bytes(zone, "notes", start_byte, max_bytes)
    assert found == data[start_byte : start_byte + max_bytes]


@pytest.mark.parametrize("start_byte", [3, 4, 2**53 - 1])
async def test_read_bytes_at_or_past_the_end_is_empty(store: OpenStore, start_byte: int) -> None:
    """At the end, beyond it, in a file or a zone that is not there: no bytes and no error."""
    zone = agent_archive_zone(AGENT, 5)
    await take_over(store, zone, {"notes": b"abc", "empty": b""})
    for name in ("notes", "empty", "unknown"):
        assert await store.engine.read_bytes(zone, name, start_byte, 10) == b""
    assert await store.engine.read_bytes(agent_archive_zone(AGENT, 6), "notes", 0, 10) == b""
