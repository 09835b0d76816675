"""`agent:session:append_output`."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from store.engine import AppendOutput
from store.errors import InvalidParamsError, OffsetMismatchError, StaleSessionError, TooLargeError
from store.limits import Limits
from store.records import Appended, SessionState
from store.sessions import Sessions
from store.zones import OUTPUT_FILE, agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore, StoreOpener
from tests.contract.made import AGENT, OTHER, take_over

WHITE_SPACE = "\t\x0b\x0c\r \x85\xa0\u1680\u2000\u2005\u200a\u2028\u2029\u202f\u205f\u3000"
"""Unicode White_Space but for the separator: ends of its ranges included."""


async def stored(store: OpenStore, length_max: int = 1 << 20) -> bytes:
    """Return the bytes of the current output."""
    return await store.engine.read_bytes(agent_current_zone(AGENT), OUTPUT_FILE, 0, length_max)


async def test_the_first_append_makes_the_session_and_the_file(store: OpenStore) -> None:
    """The answer tells what was written, where, and how much there is."""
    appended = await store.sessions.append_session_output(AGENT, ['{"a":"ü"}'])
    assert appended == Appended(11, 0, 11, 1, appended.session_id, duplicate=False)
    assert await stored(store) == '{"a":"ü"}\n'.encode()


async def test_each_text_gets_a_newline_only_where_it_has_none(store: OpenStore) -> None:
    r"""One `\n` is added to a text that does not end with one; texts with it, and what is inside them, stay."""
    appended = await store.sessions.append_session_output(AGENT, ["a", "b\n", "c\n\n", "d\ne", "f\r\n", "g\r"])
    assert await stored(store) == b"a\nb\nc\n\nd\ne\nf\r\ng\r\n"
    assert (appended.bytes_written, appended.total_lines) == (17, 7)


async def test_appends_follow_each_other(store: OpenStore) -> None:
    """The offset of an append is the size before it."""
    first = await store.sessions.append_session_output(AGENT, ["one", "two"])
    second = await store.sessions.append_session_output(AGENT, ["three"])
    assert second == Appended(6, 8, 14, 3, first.session_id, duplicate=False)


async def test_no_lines_are_invalid(sessions: Sessions) -> None:
    """`lines: []` is INVALID_PARAMS naming the parameter, and makes no session."""
    with pytest.raises(InvalidParamsError) as caught:
        await sessions.append_session_output(AGENT, [])
    assert (caught.value.word, caught.value.facts) == ("INVALID_PARAMS", {"param": "lines"})
    assert await sessions.read_session_state(AGENT) == SessionState(None)


async def test_a_blank_line_is_stored_and_not_counted(store: OpenStore) -> None:
    """A line of nothing but Unicode White_Space is kept as it is, and no line."""
    for number, text in enumerate(["", "\n", " ", "\r", "\r\n", WHITE_SPACE, *WHITE_SPACE]):
        agent = f"{AGENT}-{number}"
        appended = await store.sessions.append_session_output(agent, [text])
        assert (appended.total_lines, appended.size_bytes) == (0, len(text.removesuffix("\n").encode()) + 1)
        assert (await store.sessions.read_output(agent)).lines == []


async def test_what_only_looks_blank_is_a_line(sessions: Sessions) -> None:
    """U+001C to U+001F, U+200B and their like are not White_Space."""
    texts = ["\x1c", "\x1d", "\x1e", "\x1f", "\u200b", "\ufeff", "\x00", "\u180e", "\x84", "\u2060"]
    for number, text in enumerate(texts, 1):
        assert (await sessions.append_session_output(AGENT, [text])).total_lines == number
    assert (await sessions.read_output(AGENT)).lines == texts


async def test_only_a_newline_splits(sessions: Sessions) -> None:
    r"""U+2028, U+0085, `\x0b`, `\x0c`, `\x1c` and a lone `\r` stand inside a line."""
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1eh\ri"
    assert (await sessions.append_session_output(AGENT, [text])).total_lines == 1
    assert (await sessions.read_output(AGENT)).lines == [text]


async def test_nul_bytes_are_kept(sessions: Sessions) -> None:
    """A NUL is a character like another."""
    await sessions.append_session_output(AGENT, ["a\x00b", "\x00"])
    assert (await sessions.read_output(AGENT)).lines == ["a\x00b", "\x00"]


async def test_expect_offset_equal_to_the_size_appends(sessions: Sessions) -> None:
    """The size as `expect_offset` goes through, 0 on a fresh agent."""
    await sessions.append_session_output(AGENT, ["a"], expect_offset=0)
    assert (await sessions.append_session_output(AGENT, ["b"], expect_offset=2)).offset == 2


@pytest.mark.parametrize("expect_offset", [0, 1, 2, 4, 5, 7, 2**53 - 1])
async def test_another_offset_is_a_mismatch_that_tells_the_size(sessions: Sessions, expect_offset: int) -> None:
    """OFFSET_MISMATCH carries the size, and nothing is stored."""
    await sessions.append_session_output(AGENT, ["a", "b", "c"])
    with pytest.raises(OffsetMismatchError) as caught:
        await sessions.append_session_output(AGENT, ["x"], expect_offset=expect_offset)
    assert (caught.value.word, caught.value.retry, caught.value.facts) == ("OFFSET_MISMATCH", False, {"size_bytes": 6})
    assert (await sessions.read_output(AGENT)).lines == ["a", "b", "c"]


async def test_a_mismatch_on_a_fresh_agent_makes_no_session(sessions: Sessions) -> None:
    """Where there is no output its size is 0, and the refusal leaves no zone behind."""
    with pytest.raises(OffsetMismatchError) as caught:
        await sessions.append_session_output(AGENT, ["x"], expect_offset=1)
    assert caught.value.facts == {"size_bytes": 0}
    assert await sessions.list_agents() == ([], None)


async def test_a_retry_of_what_is_stored_is_a_duplicate(store: OpenStore) -> None:
    """The same bytes at the same offset succeed again, are not stored again, and report the bytes sent."""
    await store.sessions.append_session_output(AGENT, ["a"])
    first = await store.sessions.append_session_output(AGENT, ["bé", "c"], expect_offset=2)
    await store.sessions.append_session_output(AGENT, ["d"])
    for reopened in (False, True):
        if reopened:
            await store.reopen()
        again = await store.sessions.append_session_output(AGENT, ["bé", "c"], expect_offset=2)
        assert again == Appended(6, 2, 10, 4, first.session_id, duplicate=True)
    assert await stored(store) == "a\nbé\nc\nd\n".encode()


@pytest.mark.parametrize("lines", [["b"], ["b", "c"], ["b\nc\n"], ["b\n", "c"]])
async def test_a_duplicate_is_a_matter_of_bytes(sessions: Sessions, lines: list[str]) -> None:
    """However the bytes were cut into texts: those stored at the offset are equal to those sent."""
    await sessions.append_session_output(AGENT, ["a", "b", "c"])
    assert (await sessions.append_session_output(AGENT, lines, expect_offset=2)).duplicate


@pytest.mark.parametrize("lines", [["c", "d"], ["c", ""], ["b"], ["C"]])
async def test_what_is_stored_only_in_part_is_no_duplicate(sessions: Sessions, lines: list[str]) -> None:
    """Bytes that go beyond what is stored, or differ from it, are a mismatch."""
    await sessions.append_session_output(AGENT, ["a", "b", "c"])
    with pytest.raises(OffsetMismatchError):
        await sessions.append_session_output(AGENT, lines, expect_offset=4)


async def test_a_duplicate_may_span_parts(store: OpenStore) -> None:
    """A retry of a large append is recognised however the bytes lie by then."""
    lines = [f"{number:07d}" + "x" * 992 for number in range(300)]
    await store.sessions.append_session_output(AGENT, ["first"])
    await store.sessions.append_session_output(AGENT, lines, expect_offset=6)
    for number in range(40):
        await store.sessions.append_session_output(AGENT, [f"later {number}"])
    again = await store.sessions.append_session_output(AGENT, lines, expect_offset=6)
    assert (again.duplicate, again.bytes_written, again.total_lines) == (True, 300_000, 341)
    with pytest.raises(OffsetMismatchError):
        await store.sessions.append_session_output(AGENT, [*lines[:-1], lines[-1][:-1] + "y"], expect_offset=6)


async def test_a_duplicate_still_needs_the_session(sessions: Sessions) -> None:
    """A retry whose session was archived in between is STALE_SESSION, not a duplicate and not a new line."""
    first = await sessions.append_session_output(AGENT, ["a"], expect_offset=0)
    await sessions.archive_session(AGENT)
    await sessions.append_session_output(AGENT, ["a"])
    with pytest.raises(StaleSessionError):
        await sessions.append_session_output(AGENT, ["a"], session_id=first.session_id, expect_offset=0)


async def test_the_session_id_is_checked(sessions: Sessions) -> None:
    """The current one's goes through; another's is STALE_SESSION, on a fresh agent too, and nothing is stored."""
    with pytest.raises(StaleSessionError):
        await sessions.append_session_output(AGENT, ["x"], session_id="unknown")
    assert await sessions.list_agents() == ([], None)
    first = await sessions.append_session_output(AGENT, ["a"])
    other = await sessions.append_session_output(OTHER, ["o"])
    await sessions.append_session_output(AGENT, ["b"], session_id=first.session_id)
    with pytest.raises(StaleSessionError):
        await sessions.append_session_output(AGENT, ["x"], session_id=other.session_id)
    assert (await sessions.read_output(AGENT)).lines == ["a", "b"]


async def test_a_late_append_cannot_enter_the_archive_or_the_new_session(sessions: Sessions) -> None:
    """After "New session" a line of the old pane is in neither."""
    old = await sessions.append_session_output(AGENT, ["old"])
    archived = await sessions.archive_session(AGENT)
    with pytest.raises(StaleSessionError):
        await sessions.append_session_output(AGENT, ["late"], session_id=old.session_id)
    assert (await sessions.read_output(AGENT, archived.archived_at_ms)).lines == ["old"]
    assert (await sessions.read_output(AGENT)).lines == []


@pytest.mark.parametrize("tail", ["unfinished", "a\nunfinished", "a\n   ", "x" * 70_000, "a\n" + "x" * 70_000])
async def test_an_unterminated_tail_is_closed_first(store: OpenStore, tail: str) -> None:
    """Migrated output that ends in a line never fuses with what is appended; the closing byte is not counted."""
    await take_over(store, agent_current_zone(AGENT), {"output": tail.encode()})
    before = await store.sessions.read_output(AGENT, max_bytes=1 << 20)
    appended = await store.sessions.append_session_output(AGENT, ["new"])
    assert (appended.bytes_written, appended.offset, appended.size_bytes) == (4, len(tail) + 1, len(tail) + 5)
    assert appended.total_lines == before.total_lines + 1
    assert await stored(store) == tail.encode() + b"\nnew\n"
    assert (await store.sessions.read_output(AGENT, max_bytes=1 << 20)).lines == [*before.lines, "new"]


async def test_a_retry_after_an_unterminated_tail_is_a_duplicate(store: OpenStore) -> None:
    """The retry names the size before the first try; the closing byte does not hide that the bytes are there."""
    await take_over(store, agent_current_zone(AGENT), {"output": b"a\nb"})
    first = await store.sessions.append_session_output(AGENT, ["c"], expect_offset=3)
    again = await store.sessions.append_session_output(AGENT, ["c"], expect_offset=3)
    assert again == replace(first, duplicate=True)
    by_offset = await store.sessions.append_session_output(AGENT, ["c"], expect_offset=first.offset)
    assert by_offset == replace(first, duplicate=True)
    assert await stored(store) == b"a\nb\nc\n"


@pytest.mark.parametrize("lines", [[""], ["", "c"], ["\n"], ["\nc"]])
async def test_a_retry_of_blank_lines_after_an_unterminated_tail_is_a_duplicate(
    store: OpenStore, lines: list[str]
) -> None:
    """What was sent may begin with a newline, as the byte that closed the tail does: it is not stored twice."""
    await take_over(store, agent_current_zone(AGENT), {"output": b"a\nb"})
    await store.sessions.append_session_output(AGENT, lines, expect_offset=3)
    before = await stored(store)
    assert (await store.sessions.append_session_output(AGENT, lines, expect_offset=3)).duplicate
    assert await stored(store) == before


async def test_imported_output_goes_on_where_it_ended(store: OpenStore) -> None:
    """An output that ends with a newline is continued without another byte."""
    await take_over(store, agent_current_zone(AGENT), {"output": b"a\n\xff\x00\n"})
    assert (await store.sessions.append_session_output(AGENT, ["b"], expect_offset=5)).total_lines == 3
    assert await stored(store) == b"a\n\xff\x00\nb\n"


async def test_an_empty_output_is_begun_at_zero(store: OpenStore) -> None:
    """An imported output of no bytes is continued at offset 0."""
    await take_over(store, agent_current_zone(AGENT), {"output": b""})
    assert (await store.sessions.append_session_output(AGENT, ["a"], expect_offset=0)).size_bytes == 2
    assert await stored(store) == b"a\n"


async def test_too_many_bytes_are_too_large(open_store: StoreOpener) -> None:
    """The newlines that are added count; over `append_bytes_max` nothing is stored and the limit is named."""
    store = await open_store(replace(Limits(), append_bytes_max=10, append_lines_max=3))
    with pytest.raises(TooLargeError) as caught:
        await store.sessions.append_session_output(AGENT, ["12345", "6789"])
    assert caught.value.facts == {"limit": "append_bytes_max", "max": 10}
    with pytest.raises(TooLargeError) as caught:
        await store.sessions.append_session_output(AGENT, ["1", "2", "3", "4"])
    assert caught.value.facts == {"limit": "append_lines_max", "max": 3}
    assert await store.sessions.list_agents() == ([], None)
    assert (await store.sessions.append_session_output(AGENT, ["12345", "678"])).bytes_written == 10


@pytest.mark.parametrize("lines", [["x" * 11], ["a", "x" * 11 + "\n"], ["a\n" + "x" * 11 + "\nb"]])
async def test_a_line_over_its_limit_is_refused(open_store: StoreOpener, lines: list[str]) -> None:
    """Wherever it stands in the texts; lines at the limit are stored, however many there are."""
    store = await open_store(replace(Limits(), line_bytes_max=10))
    await store.sessions.append_session_output(AGENT, ["x" * 10] * 3)
    with pytest.raises(TooLargeError) as caught:
        await store.sessions.append_session_output(AGENT, lines)
    assert caught.value.facts == {"limit": "line_bytes_max", "max": 10}
    assert await stored(store) == b"xxxxxxxxxx\n" * 3


async def test_concurrent_appends_are_each_whole_and_in_the_order_sent(sessions: Sessions) -> None:
    """Appends submitted together are stored in their order, each at the offset it was told."""
    answers = await asyncio.gather(
        *(sessions.append_session_output(AGENT, [f"{number}a", f"{number}b"]) for number in range(200))
    )
    page = await sessions.read_output(AGENT, limit=1_000)
    assert page.lines == [f"{number}{half}" for number in range(200) for half in "ab"]
    assert [answer.offset for answer in answers] == sorted(answer.offset for answer in answers)
    assert answers[-1].size_bytes == page.size_bytes


@pytest.mark.parametrize("line_bytes", [10, 1_000, 3_070, 3_100, 40_000, 65_535, 70_000])
async def test_lines_of_any_size_come_back_after_a_restart(store: OpenStore, line_bytes: int) -> None:
    """However lines fall into parts, merged or not, all are there in order after a restart, and more can follow."""
    lines = [f"{number:04d}" + "x" * (line_bytes - 4) for number in range(30)]
    for start in range(0, 30, 3):
        await store.sessions.append_session_output(AGENT, lines[start : start + 3])
        if start == 15:
            await store.reopen()
    found: list[str] = []
    while len(found) < 30:
        found += (await store.sessions.read_output(AGENT, first_line=len(found), max_bytes=1 << 20)).lines
    assert found == lines


@pytest.mark.parametrize("seed", range(2))
async def test_appends_of_one_batch_are_merged_as_those_of_many(store: OpenStore, seed: int) -> None:
    """Parts of which some are stored, some have grown since and some are yet to be stored: every byte is there once."""
    chance = random.Random(seed)
    texts: list[bytes] = []
    for _ in range(8):
        lines = [bytes(chance.choices(b"abc", k=chance.choice([9, 600, 2_000, 3_500]))) for _ in range(40)]
        lines[chance.randrange(40)] = b"x" * 30_000
        texts += [line + b"\n" for line in lines]
        appends = [AppendOutput(agent_current_zone(AGENT), text, BEGINNING_MS) for text in texts[-40:]]
        for outcome in await store.engine.apply(appends):
            assert isinstance(outcome, Appended)
        assert await stored(store, 10_000_000) == b"".join(texts)
    merged = store.engine.figures()["parts_merged"]
    for text in texts:
        await store.engine.apply([AppendOutput(agent_current_zone(OTHER), text, BEGINNING_MS)])
    assert isinstance(merged, int)
    assert store.engine.figures()["parts_merged"] == 2 * merged > 0
