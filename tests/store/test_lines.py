"""The line rule, against a slow reading of DESIGN.md section 1."""

from __future__ import annotations

import sys
import unicodedata
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store.lines import count_lines, is_blank, joined, line_text, split_lines
from tests.store.slow_lines import WHITE_SPACE, lines_of

LIKELY: Final = [
    "\n",
    "\r",
    " ",
    "\t",
    "a",
    "\x00",
    "\x1c",
    "\x1f",
    "\x85",
    "\xa0",
    "\u1680",
    "\u180e",
    "\u2000",
    "\u200b",
]
LIKELY_MORE: Final = ["\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "\r\n", "\n\n", "é", "😀"]
TEXTS: Final = st.lists(st.sampled_from(LIKELY + LIKELY_MORE), max_size=30).map("".join)
BYTES: Final = st.one_of(
    TEXTS.map(str.encode),
    st.lists(
        st.sampled_from([b"\n", b" ", b"\r", b"\xc2", b"\x85", b"\xe2", b"\x80", b"\xa8", b"\xe3", b"\xff"]),
        max_size=20,
    ).map(b"".join),
    st.binary(max_size=40),
)


@given(BYTES)
@example(b"")
@example(b"\n")
@example(b"a")
@example(b"a\r")
@example(b"\r\r\n")
@example(b"a\r\r\n")
@example(b"\xe2\x80\xa8\n")
@example(b"\xe2\x80\n\xa8")
def test_lines_are_counted_as_they_are_split(data: bytes) -> None:
    """Counting and splitting agree with the slow reading, for any bytes."""
    assert split_lines(data) == lines_of(data)
    assert count_lines(data) == len(lines_of(data))


@given(BYTES, BYTES)
def test_counts_of_whole_lines_add_up(first: bytes, second: bytes) -> None:
    """Cut at a line end, a file has the lines of its pieces: what lets a part keep a count of its own."""
    assert count_lines(first + b"\n" + second) == count_lines(first + b"\n") + count_lines(second)


def test_every_character_is_blank_exactly_where_unicode_says_so() -> None:
    """Over all of Unicode: a line of one character is blank where that is White_Space."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character != "\n" and not 0xD800 <= code < 0xE000:
            assert is_blank(character.encode()) == (character in WHITE_SPACE), f"U+{code:04X}"


def test_the_table_of_white_space_is_of_this_unicode() -> None:
    """What Python takes for blank is White_Space and U+001C to U+001F, so the table above is whole."""
    by_python = {chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()}
    assert by_python - WHITE_SPACE == set("\x1c\x1d\x1e\x1f"), unicodedata.unidata_version
    assert by_python >= WHITE_SPACE


@pytest.mark.parametrize("unit", [b" ", b"\r", b"\xe2\x80\xa8", b"\xc2\x85", b" \n", b"x", b"\xe2"])
def test_a_megabyte_of_anything_is_counted_at_once(unit: bytes) -> None:
    """No run of characters makes the count take more than one pass (pytest's timeout would end it)."""
    data = unit * 2_000_000
    assert count_lines(data) in {0, 1}
    assert count_lines(data + b"x") == 1


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_one_newline_is_added_where_there_is_none(texts: list[str]) -> None:
    """What is stored of each text ends with a newline and is otherwise what was sent."""
    stored = [text.encode() + (b"" if text.endswith("\n") else b"\n") for text in texts]
    assert joined(texts) == b"".join(stored)


@given(st.binary(max_size=40))
def test_any_line_is_text(line: bytes) -> None:
    """Valid UTF-8 comes back as it was; whatever is not becomes U+FFFD, and the text can be encoded again."""
    text = line_text(line)
    text.encode()
    try:
        assert text == line.decode()
    except UnicodeDecodeError:
        assert "\ufffd" in text
