"""Parts: that they hold every byte and line once, and what of them is written anew."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from store import parts
from store.lines import count_lines
from store.parts import OpenPart, Part, Tail, cut_lines, cut_opaque, differing

SMALL_PART: Final = 64
LONGEST_PART: Final = 4 * SMALL_PART
"""In place of 64 KiB: the same rules on data that Hypothesis can look through."""

LINES: Final = st.lists(
    st.sampled_from([b"", b"a", b" ", b"x" * 20, b"y" * 63, b"z" * 64, b"w" * 65, b"v" * 200]), max_size=25
)


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Make parts small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", SMALL_PART)
        patch.setattr(parts, "LOOSE_PART_BYTES_MAX", SMALL_PART // 2)
        patch.setattr(parts, "TAIL_PART_BYTES_MAX", SMALL_PART // 8)
        patch.setattr(parts, "LINE_PART_BYTES_MAX", LONGEST_PART)
        yield


def in_chunks(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut data into chunks of these sizes and a rest; empty chunks among them."""
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def contiguous(found: list[Part], start_byte: int = 0, first_line: int = 0) -> bool:
    """Tell whether each part begins where the one before it ended, and its checksum fits."""
    for part in found:
        if (part.start_byte, part.first_line, part.crc32) != (start_byte, first_line, zlib.crc32(part.data)):
            return False
        start_byte, first_line = part.end_byte, part.end_line
    return True


@given(st.binary(max_size=400), st.lists(st.integers(0, 150), max_size=8))
@example(b"", [])
@example(b"x" * SMALL_PART, [])
@example(b"x" * (SMALL_PART + 1), [SMALL_PART])
def test_an_opaque_file_is_cut_at_fixed_bytes(data: bytes, sizes: list[int]) -> None:
    """Joined, the parts are the data; each but the last is full; an empty file is one empty part."""
    found = list(cut_opaque(in_chunks(data, sizes)))
    assert b"".join(part.data for part in found) == data
    assert contiguous(found)
    assert [part.start_byte for part in found] == list(range(0, max(len(data), 1), SMALL_PART))
    assert all(part.line_count == 0 for part in found)


@given(LINES, st.booleans(), st.lists(st.integers(0, 150), max_size=8), st.integers(0, 3), st.integers(0, 3))
def test_an_output_is_cut_at_line_ends(
    lines: list[bytes], ended: bool, sizes: list[int], start_byte: int, first_line: int
) -> None:
    """Joined, the parts are the data; each but the last ends a line; a part above the size is one line alone."""
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    found = list(cut_lines(in_chunks(data, sizes), start_byte, first_line))
    assert b"".join(part.data for part in found) == data
    assert contiguous(found, start_byte, first_line)
    assert all(part.data.endswith(b"\n") for part in found[:-1])
    assert all(part.line_count == count_lines(part.data) for part in found)
    for part in found:
        assert len(part.data) <= SMALL_PART or b"\n" not in part.data[:-1]
    assert found or (data == b"" and start_byte)


@given(LINES, st.lists(st.integers(0, 150), max_size=8))
def test_how_the_source_cuts_its_chunks_makes_no_difference(lines: list[bytes], sizes: list[int]) -> None:
    """The parts of a file are a matter of its bytes alone."""
    data = b"\n".join(lines)
    assert list(cut_lines(in_chunks(data, sizes))) == list(cut_lines([data]))


@given(st.binary(max_size=900), st.lists(st.integers(0, 300), max_size=8))
def test_a_line_beyond_all_measure_is_cut(data: bytes, sizes: list[int]) -> None:
    """It takes several parts, none larger than the largest, and joined they are the data."""
    data = data.replace(b"\n", b"")
    found = list(cut_lines(in_chunks(data, sizes)))
    assert b"".join(part.data for part in found) == data
    assert contiguous(found)
    assert [len(part.data) for part in found[:-1]] == [LONGEST_PART] * (len(found) - 1)
    assert len(found[-1].data) <= LONGEST_PART
    assert found == list(cut_lines([data]))


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 300))
def test_storing_what_differs_makes_the_new_content(old: bytes, new: bytes, common: int) -> None:
    """Parts that differ, put over the old ones and cut off at the end, are the new content; equal parts are not among them."""
    new = old[:common] + new
    stored = {part.start_byte: part for part in cut_opaque([old])}
    wanted = list(cut_opaque([new]))
    changed = differing(list(stored.values()), wanted)
    assert all(stored.get(part.start_byte) != part for part in changed)
    stored |= {part.start_byte: part for part in changed}
    assert [stored[part.start_byte] for part in wanted] == wanted
    assert len(changed) <= (len(new) - min(common, len(old))) // SMALL_PART + 2


def test_one_checksum_does_not_make_two_contents_equal() -> None:
    """Bytes are compared too: of two contents with one CRC-32 the other one is written."""
    first, second = b"plumless", b"buckeroo"
    assert zlib.crc32(first) == zlib.crc32(second)
    assert differing([Part.of(first, 0)], [Part.of(second, 0)]) == [Part.of(second, 0)]


def test_a_stored_part_that_fails_its_checksum_differs() -> None:
    """Writing a damaged snapshot again mends it, where the bytes are right and the checksum is not as well."""
    wanted = Part.of(b"right", 0)
    assert differing([Part(0, 0, 0, wanted.crc32 + 1, b"right")], [wanted]) == [wanted]
    assert differing([Part(0, 0, 0, wanted.crc32, b"wrong")], [wanted]) == [wanted]


class Output:
    """An output that is kept as an engine keeps it: parts, and the tail that goes with them."""

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}
        self.tail = Tail()
        self.rewritten_bytes = 0

    @property
    def data(self) -> bytes:
        """The whole of it."""
        return b"".join(self.parts[start].data for start in sorted(self.parts))

    def append(self, text: bytes) -> None:
        """Append as `Changes` does."""
        grown = self.tail.grown(text)
        if grown is not None and grown.last is not None:
            assert grown == self.rewritten(text)
            self.parts[grown.last.start_byte] = grown.last
            self.tail = grown
        else:
            self.tail = self.rewritten(text)

    def rewritten(self, text: bytes) -> Tail:
        """Append the long way; returns the new tail."""
        added = text if self.tail.ends_line else b"\n" + text
        start = self.tail.rewrite_from(len(added))
        taken_up = self.data[start.start_byte :]
        if self.tail.last is not None and start.start_byte == self.tail.last.start_byte:
            assert self.tail.last.data == taken_up
        self.rewritten_bytes += len(taken_up)
        new = list(cut_lines([taken_up + added], start.start_byte, start.first_line))
        for key in [key for key in self.parts if key >= start.start_byte]:
            del self.parts[key]
        self.parts |= {part.start_byte: part for part in new}
        return self.tail.after(start, new, self.tail.revision + 1)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=120))
def test_neither_the_number_of_parts_nor_the_bytes_rewritten_grow(sizes: list[int]) -> None:
    """For appends of any sizes: all bytes are there, parts stay few, and each byte is rewritten a bounded number of times."""
    output, sent = Output(), b""
    for number, size in enumerate(sizes):
        text = b"%c" % (97 + number % 26) * (size - 1) + b"\n"
        output.append(text)
        sent += text
    assert output.data == sent
    assert contiguous([output.parts[start] for start in sorted(output.parts)])
    assert (output.tail.size_bytes, output.tail.total_lines) == (len(sent), count_lines(sent))
    assert len(output.parts) <= len(sent) / (SMALL_PART / 4) + SMALL_PART // 4
    assert output.rewritten_bytes <= 3 * len(sent) + len(sizes) * SMALL_PART // 8


@given(st.lists(st.integers(1, 150), max_size=60), st.booleans())
def test_the_open_parts_are_those_at_the_end_that_are_small(sizes: list[int], ends_line: bool) -> None:
    """What is read anew from the stored parts is what was remembered of them."""
    stored = [OpenPart(sum(sizes[:number]), number, size) for number, size in enumerate(sizes)]
    found = parts.open_run(stored, ends_line=ends_line)
    small = [part.size_bytes < SMALL_PART // 2 for part in stored]
    run = len(small) - small[::-1].index(False) if False in small else 0
    expected = stored[run:]
    assert found == tuple(expected or ([] if ends_line else stored[-1:]))
