"""`agent:session:read_output`."""

from __future__ import annotations

import pytest

from store.errors import StaleSessionError, ZoneNotFoundError
from store.limits import READ_BYTES_DEFAULT, READ_BYTES_MAX
from store.records import Page
from store.sessions import Sessions
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import OpenStore
from tests.contract.made import AGENT, OTHER, archived_at, take_over


async def fill(store: OpenStore, count: int, line_bytes: int = 20) -> list[str]:
    """Store `count` numbered lines; return them."""
    lines = [f"{number:08d}".ljust(line_bytes - 1, ".") for number in range(count)]
    await take_over(store, agent_current_zone(AGENT), {"output": "".join(line + "\n" for line in lines).encode()})
    return lines


async def test_a_fresh_agent_has_no_lines(sessions: Sessions) -> None:
    """A fresh agent is not an error: an empty page without a session id."""
    for first_line in (None, 0, 5):
        assert await sessions.read_output(AGENT, first_line=first_line) == Page([], 0, 0, 0, 0, None)


async def test_a_session_without_output_has_no_lines(sessions: Sessions) -> None:
    """A session of a snapshot alone answers an empty page with its id."""
    written = await sessions.write_session_state(AGENT, b"{}")
    assert await sessions.read_output(AGENT) == Page([], 0, 0, 0, 0, written.session_id)
    assert await sessions.read_output(AGENT, first_line=3) == Page([], 0, 0, 0, 0, written.session_id)


async def test_without_first_line_the_last_200_are_read(store: OpenStore) -> None:
    """Absent or 0 the limit is 200, and without `first_line` the page is the tail."""
    lines = await fill(store, 1_000)
    for limit in (None, 0):
        page = await store.sessions.read_output(AGENT, limit=limit)
        assert (page.lines, page.first_line, page.next_line) == (lines[800:], 800, 1_000)
        assert (page.total_lines, page.size_bytes) == (1_000, 20_000)


async def test_the_limit_is_10_000_at_most(store: OpenStore) -> None:
    """A larger limit is the maximum, at the tail and from a line on."""
    lines = await fill(store, 10_010)
    page = await store.sessions.read_output(AGENT, limit=2**53 - 1)
    assert page.lines == lines[10:]
    page = await store.sessions.read_output(AGENT, first_line=0, limit=10_001)
    assert (page.lines, page.next_line) == (lines[:10_000], 10_000)


@pytest.mark.parametrize("first_line", [0, 1, 3_276, 3_277, 5_000, 9_990, 9_999])
async def test_a_page_is_the_same_wherever_it_begins(store: OpenStore, first_line: int) -> None:
    """From `first_line` on the oldest lines are read: at the head, in the middle, at the ends of parts, at the tail."""
    lines = await fill(store, 10_000)
    page = await store.sessions.read_output(AGENT, first_line=first_line, limit=10)
    assert page.lines == lines[first_line : first_line + 10]
    assert (page.first_line, page.next_line) == (first_line, first_line + len(page.lines))
    assert (page.total_lines, page.size_bytes) == (10_000, 200_000)


async def test_pages_one_after_the_other_read_everything_once(store: OpenStore) -> None:
    """Following `next_line` gives every line, and ends where the total is."""
    lines = await fill(store, 7_003)
    found: list[str] = []
    next_line = 0
    while page := (answer := await store.sessions.read_output(AGENT, first_line=next_line, limit=1_000)).lines:
        found += page
        next_line = answer.next_line
    assert found == lines
    assert next_line == 7_003


@pytest.mark.parametrize("first_line", [10, 11, 2**53 - 1])
async def test_past_the_end_there_are_no_lines_and_the_true_total(store: OpenStore, first_line: int) -> None:
    """Past the end `first_line` and `next_line` both are `total_lines`."""
    await fill(store, 10)
    page = await store.sessions.read_output(AGENT, first_line=first_line)
    assert (page.lines, page.first_line, page.next_line, page.total_lines, page.size_bytes) == ([], 10, 10, 10, 200)


async def test_max_bytes_bounds_a_page(store: OpenStore) -> None:
    """Newlines counted: a page from a line keeps the oldest that fit, a tail the newest."""
    lines = await fill(store, 100)
    for max_bytes, fits in ((19, 1), (20, 1), (39, 1), (40, 2), (41, 2), (199, 9), (200, 10)):
        page = await store.sessions.read_output(AGENT, first_line=50, max_bytes=max_bytes)
        assert page.lines == lines[50 : 50 + fits]
        page = await store.sessions.read_output(AGENT, max_bytes=max_bytes)
        assert (page.lines, page.first_line, page.next_line) == (lines[100 - fits :], 100 - fits, 100)


async def test_max_bytes_is_1_mib_by_default_and_8_mib_at_most(store: OpenStore) -> None:
    """0 and absent are the default; too large is the maximum."""
    line_bytes = 4_096
    await fill(store, 2_100, line_bytes)
    for max_bytes, expected in ((None, READ_BYTES_DEFAULT), (0, READ_BYTES_DEFAULT), (2**53 - 1, READ_BYTES_MAX)):
        for first_line in (None, 0):
            page = await store.sessions.read_output(AGENT, first_line=first_line, limit=10_000, max_bytes=max_bytes)
            assert len(page.lines) == expected // line_bytes
    assert (READ_BYTES_DEFAULT, READ_BYTES_MAX) == (1 << 20, 8 << 20)


@pytest.mark.parametrize("position", [0, 5, 9])
async def test_one_line_larger_than_max_bytes_comes_alone(store: OpenStore, position: int) -> None:
    """A huge line is never skipped and never blocks the way: it is a page of its own."""
    lines = [f"short {number}" for number in range(10)]
    lines[position] = "x" * 3_000_000
    await store.sessions.append_session_output(AGENT, lines)
    found: list[str] = []
    while len(found) < 10:
        page = await store.sessions.read_output(AGENT, first_line=len(found), max_bytes=1_000)
        assert len(page.lines) == 1 or "x" * 3_000_000 not in page.lines
        found += page.lines
    assert found == lines
    backwards = await store.sessions.read_output(AGENT, max_bytes=1_000)
    assert backwards.lines == (lines[9:] if position == 9 else lines[position + 1 :])


async def test_the_newline_and_one_carriage_return_are_not_part_of_the_text(sessions: Sessions) -> None:
    r"""Exactly one `\r` before the `\n` is dropped."""
    await sessions.append_session_output(AGENT, ["a\r\n", "b\r\r\n", "c\rd", "e\r", "\rf"])
    assert (await sessions.read_output(AGENT)).lines == ["a", "b\r", "c\rd", "e", "\rf"]


async def test_a_carriage_return_without_a_newline_stays(store: OpenStore) -> None:
    r"""In an unterminated last line nothing is dropped: its `\r` stands before no `\n`."""
    await take_over(store, agent_current_zone(AGENT), {"output": b"a\r\nb\r"})
    for first_line in (None, 0):
        page = await store.sessions.read_output(AGENT, first_line=first_line)
        assert (page.lines, page.total_lines, page.size_bytes) == (["a", "b\r"], 2, 5)


async def test_blank_lines_are_neither_counted_nor_returned(store: OpenStore) -> None:
    """Lines are numbered over those that are not blank, however many blank ones lie between, in parts of their own too."""
    blank = b" \t\n\xe3\x80\x80\r\n\n" * 20_000
    await take_over(
        store, agent_current_zone(AGENT), {"output": blank + b"a\n" + blank + b"b\n" + blank + b"c" + b"\n"}
    )
    page = await store.sessions.read_output(AGENT)
    assert (page.lines, page.total_lines, page.first_line) == (["a", "b", "c"], 3, 0)
    for number in range(3):
        page = await store.sessions.read_output(AGENT, first_line=number, limit=1)
        assert (page.lines, page.next_line) == (["abc"[number]], number + 1)
    assert (await store.sessions.read_output(AGENT, first_line=3)).lines == []


async def test_output_of_blank_lines_alone_is_a_size_without_lines(sessions: Sessions) -> None:
    """There is something, and nothing to show."""
    appended = await sessions.append_session_output(AGENT, ["", " ", "\u3000"])
    for first_line in (None, 0, 1):
        page = await sessions.read_output(AGENT, first_line=first_line)
        assert page == Page([], 0, 0, 0, 7, appended.session_id)


async def test_invalid_utf_8_is_shown_with_replacement_characters(store: OpenStore) -> None:
    """Migrated bytes that are not UTF-8 become U+FFFD and hide nothing beside them; NUL bytes stay."""
    await take_over(store, agent_current_zone(AGENT), {"output": b"a\xffb\n\x00\n\xed\xa0\x80\n\xe2\x80\nok\n"})
    page = await store.sessions.read_output(AGENT)
    assert page.lines == ["a\ufffdb", "\x00", "\ufffd\ufffd\ufffd", "\ufffd", "ok"]
    assert page.size_bytes == 16


async def test_an_archives_output_is_read_by_its_time(store: OpenStore) -> None:
    """With `archived_at_ms` the page is the archive's, with its session id; the current session's is another."""
    old = await store.sessions.append_session_output(AGENT, ["old"])
    archived = await store.sessions.archive_session(AGENT)
    new = await store.sessions.append_session_output(AGENT, ["new", "newer"])
    assert await store.sessions.read_output(AGENT, archived.archived_at_ms) == Page(["old"], 0, 1, 1, 4, old.session_id)
    assert await store.sessions.read_output(AGENT) == Page(["new", "newer"], 0, 2, 2, 10, new.session_id)


async def test_an_unknown_archive_is_not_found(store: OpenStore) -> None:
    """Another millisecond and another agent's are ZONE_NOT_FOUND; 0 is a time and not "absent"."""
    await archived_at(store, AGENT, 5)
    for definition_id, archived_at_ms in ((AGENT, 4), (OTHER, 5), (AGENT, 0)):
        with pytest.raises(ZoneNotFoundError):
            await store.sessions.read_output(definition_id, archived_at_ms)


async def test_the_archive_of_the_first_millisecond_is_found(store: OpenStore) -> None:
    """An `archived_at_ms` of 0 reads that archive and not the current session."""
    await take_over(store, agent_archive_zone(AGENT, 0), {"output": b"old\n"})
    await store.sessions.append_session_output(AGENT, ["new"])
    assert (await store.sessions.read_output(AGENT, 0)).lines == ["old"]


async def test_the_session_id_must_be_that_of_what_is_read(store: OpenStore) -> None:
    """For the current session the current id, for an archive that archive's; any other is STALE_SESSION."""
    old = await store.sessions.append_session_output(AGENT, ["old"])
    archived = await store.sessions.archive_session(AGENT)
    with pytest.raises(StaleSessionError):
        await store.sessions.read_output(AGENT, session_id=old.session_id)
    new = await store.sessions.append_session_output(AGENT, ["new"])
    at_ms = archived.archived_at_ms
    assert (await store.sessions.read_output(AGENT, session_id=new.session_id)).lines == ["new"]
    assert (await store.sessions.read_output(AGENT, at_ms, session_id=old.session_id)).lines == ["old"]
    for archived_at_ms, session_id in ((None, old.session_id), (at_ms, new.session_id), (None, ""), (at_ms, "unknown")):
        with pytest.raises(StaleSessionError):
            await store.sessions.read_output(AGENT, archived_at_ms, session_id=session_id)


async def test_a_session_id_on_a_fresh_agent_is_stale(sessions: Sessions) -> None:
    """Where there is no session no id is the current one's."""
    with pytest.raises(StaleSessionError):
        await sessions.read_output(AGENT, session_id="unknown")


async def test_lines_are_seen_as_soon_as_they_are_acknowledged(sessions: Sessions) -> None:
    """A read that begins after an append was answered finds its lines."""
    for number in range(50):
        appended = await sessions.append_session_output(AGENT, [str(number)])
        page = await sessions.read_output(AGENT, limit=1)
        assert (page.lines, page.total_lines, page.size_bytes) == ([str(number)], number + 1, appended.size_bytes)
