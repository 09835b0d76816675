"""Pages of an output, against a slow reference over the whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from store.lines import count_lines, split_lines
from store.pages import page_before_end, page_from
from store.parts import Part

LINES: Final = st.lists(
    st.sampled_from([b"", b" ", b"\r", b"a", b"bb\r", b"\xe3\x80\x80", b"c" * 10, b"d" * 30, b"\x1c"]), max_size=30
)
CUTS: Final = st.lists(st.integers(0, 30), max_size=6)
MAXIMA: Final = st.tuples(st.integers(1, 12), st.integers(1, 60))


def parts_of(lines: list[bytes], ended: bool, cuts: list[int]) -> list[Part]:
    """Cut an output at some of its line ends, into parts of no lines as well."""
    pieces = [line + b"\n" for line in lines]
    if pieces and not ended:
        pieces[-1] = pieces[-1][:-1]
    bounds = sorted({0, len(pieces), *(min(cut, len(pieces)) for cut in cuts)})
    found: list[Part] = []
    start_byte = first_line = 0
    for start, end in pairwise(bounds):
        data = b"".join(pieces[start:end])
        found.append(Part.of(data, start_byte, first_line, count_lines(data)))
        start_byte, first_line = found[-1].end_byte, found[-1].end_line
    return found


def sized(stored: list[Part]) -> list[tuple[bytes, int]]:
    """Return each line with the stored bytes it takes."""
    data = b"".join(part.data for part in stored)
    *ended, last = data.split(b"\n")
    return [
        (lines[0], len(piece)) for piece in (*(each + b"\n" for each in ended), last) if (lines := split_lines(piece))
    ]


def fitting(lines: list[tuple[bytes, int]], lines_max: int, bytes_max: int) -> list[bytes]:
    """Take lines while they fit, one in any case."""
    taken: list[bytes] = []
    used = 0
    for line, size in lines[:lines_max]:
        used += size
        if taken and used > bytes_max:
            break
        taken.append(line)
    return taken


@given(LINES, st.booleans(), CUTS, st.integers(0, 30), MAXIMA)
def test_a_page_from_a_line_holds_the_oldest_that_fit(
    lines: list[bytes], ended: bool, cuts: list[int], first_line: int, maxima: tuple[int, int]
) -> None:
    """However the output is cut into parts, and from whichever part that begins with the line or before it."""
    stored = parts_of(lines, ended, cuts)
    expected = fitting(sized(stored)[first_line:], *maxima)
    for begin, part in enumerate(stored):
        if part.first_line <= first_line:
            assert page_from(stored[begin:], first_line, *maxima) == expected


@given(LINES, st.booleans(), CUTS, MAXIMA)
def test_a_page_before_the_end_holds_the_newest_that_fit(
    lines: list[bytes], ended: bool, cuts: list[int], maxima: tuple[int, int]
) -> None:
    """Read from the last part backwards, and given in order."""
    stored = parts_of(lines, ended, cuts)
    assert page_before_end(stored[::-1], *maxima) == fitting(sized(stored)[::-1], *maxima)[::-1]


@given(LINES, st.booleans(), CUTS, MAXIMA)
def test_no_part_is_read_that_is_not_needed(
    lines: list[bytes], ended: bool, cuts: list[int], maxima: tuple[int, int]
) -> None:
    """A page ends with the part in which it is full: what lies beyond it is not asked for."""
    stored = parts_of(lines, ended, cuts)
    asked: list[Part] = []

    def watched() -> Iterator[Part]:
        for part in stored:
            asked.append(part)
            yield part

    page = page_from(watched(), 0, *maxima)
    if len(page) == maxima[0]:
        assert sum(part.line_count for part in asked[:-1]) < maxima[0]


def test_no_lines_are_none() -> None:
    """A page of no lines reads no part."""
    assert page_before_end(iter([Part.of(b"a\n", 0, 0, 1)]), 0, 100) == []
