"""Bytes to parts and back, and what differs; pure. The stored form is pictured in `store/DESIGN.md`.

A snapshot is cut at fixed multiples of `PART_BYTES`, so that a change rewrites only the parts it touches. An output is
cut at line ends: a line never spans parts, and every part begins with a line.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple, Self

from store.limits import LINE_PART_BYTES_MAX, LOOSE_PART_BYTES_MAX, PART_BYTES, TAIL_PART_BYTES_MAX
from store.lines import count_lines


class Part(NamedTuple):
    """A stored slice of a file.

    Attributes:
        start_byte: where in the file it begins.
        first_line: number of lines (not blank) before it; 0 in files other than `output`.
        line_count: lines in it that are not blank; 0 in files other than `output`.
        crc32: of `data`.
        data: its bytes.
    """

    start_byte: int
    first_line: int
    line_count: int
    crc32: int
    data: bytes

    @classmethod
    def of(cls, data: bytes, start_byte: int, first_line: int = 0, line_count: int = 0) -> Self:
        """Make a part and its checksum."""
        return cls(start_byte, first_line, line_count, zlib.crc32(data), data)

    @property
    def end_byte(self) -> int:
        """Where in the file it ends."""
        return self.start_byte + len(self.data)

    @property
    def end_line(self) -> int:
        """Number of lines up to its end."""
        return self.first_line + self.line_count


def cut_opaque(chunks: Iterable[bytes]) -> Iterator[Part]:
    """Cut a file other than `output` into parts of `PART_BYTES`, the last one shorter; an empty one is one empty part."""
    rest = b""
    start = 0
    for chunk in chunks:
        missing = PART_BYTES - len(rest) if rest else 0
        view = memoryview(chunk)
        rest, view = rest + bytes(view[:missing]), view[missing:]
        if len(rest) == PART_BYTES:
            yield Part.of(rest, start)
            start += PART_BYTES
            rest = b""
        while len(view) >= PART_BYTES:
            yield Part.of(bytes(view[:PART_BYTES]), start)
            start += PART_BYTES
            view = view[PART_BYTES:]
        rest += bytes(view)
    if rest or start == 0:
        yield Part.of(rest, start)


def cut_again(content: bytes | bytearray, kept: Sequence[Part]) -> list[Part]:
    """Cut a file as `cut_opaque` does, with the very parts of `kept` where the bytes are theirs: only others are summed up."""
    parts = []
    view = memoryview(content)
    for number, start in enumerate(range(0, len(content) or 1, PART_BYTES)):
        old = kept[number] if number < len(kept) else None
        if old and len(old.data) == min(PART_BYTES, len(content) - start) and content.startswith(old.data, start):
            parts.append(old)
        else:
            parts.append(Part.of(bytes(view[start : start + PART_BYTES]), start))
    return parts


def cut_lines(chunks: Iterable[bytes], start_byte: int = 0, first_line: int = 0) -> Iterator[Part]:
    """Cut output into parts of at most `PART_BYTES` that end at a line end; a longer line is a part of its own.

    One above `LINE_PART_BYTES_MAX` is cut there.

    The last part may be short, and is unterminated where the data is; one empty part if the whole file is empty.
    """
    buffer = bytearray()
    searched = 0
    for chunk in chunks:
        buffer += chunk
        while len(buffer) > PART_BYTES:
            end = buffer.rfind(b"\n", 0, PART_BYTES) + 1 or buffer.find(b"\n", max(searched, PART_BYTES)) + 1
            if not end and len(buffer) < LINE_PART_BYTES_MAX:
                searched = len(buffer)
                break
            end = min(end or LINE_PART_BYTES_MAX, LINE_PART_BYTES_MAX)
            part = _line_part(bytes(buffer[:end]), start_byte, first_line)
            yield part
            del buffer[:end]
            searched = 0
            start_byte, first_line = part.end_byte, part.end_line
    if buffer or start_byte == 0:
        yield _line_part(bytes(buffer), start_byte, first_line)


def _line_part(data: bytes, start_byte: int, first_line: int) -> Part:
    return Part.of(data, start_byte, first_line, count_lines(data))


def differing(stored: Iterable[Part], new: Sequence[Part]) -> list[Part]:
    """Return the parts of `new` that are not stored as they are.

    Bytes are compared, not only checksums: two contents with one CRC must not pass for the same. A stored part whose
    checksum does not fit its own bytes differs too, so writing a damaged snapshot again mends it.
    """
    return [
        part
        for part, old in zip_longest(new, stored)
        if part is not None
        and (old is None or (old.start_byte, old.crc32) != (part.start_byte, part.crc32) or old.data != part.data)
    ]


class OpenPart(NamedTuple):
    """A part at the end of an output that a later append may still rewrite."""

    start_byte: int
    first_line: int
    size_bytes: int


class Tail(NamedTuple):
    r"""The end of an output, all that an append needs to know.

    Attributes:
        size_bytes: of the output.
        total_lines: of the output, not blank.
        revision: of the output; 0 where there is none.
        ends_line: the last byte is `\n`, or there is none.
        open_parts: the run of parts below `LOOSE_PART_BYTES_MAX` at the end, and the last one in any case where
        unterminated.
        last: the last part, where it is small enough to grow and at hand.
    """

    size_bytes: int = 0
    total_lines: int = 0
    revision: int = 0
    ends_line: bool = True
    open_parts: tuple[OpenPart, ...] = ()
    last: Part | None = None

    def rewrite_from(self, added_bytes: int) -> OpenPart:
        """Say where an append of that many bytes begins to rewrite.

        Returns an open part to take up again, or an empty one at the end of the output where nothing is rewritten. The
        last part is taken up while it fits a page, and to close an unterminated line; all open parts together once they
        fill a part: so neither the number of parts nor the bytes rewritten per append grow.
        """
        if self.open_parts:
            if self._merges(added_bytes):
                return self.open_parts[0]
            last = self.open_parts[-1]
            if not self.ends_line or last.size_bytes + added_bytes <= TAIL_PART_BYTES_MAX:
                return last
        return OpenPart(self.size_bytes, self.total_lines, 0)

    def _merges(self, added_bytes: int) -> bool:
        return len(self.open_parts) > 1 and self.size_bytes - self.open_parts[0].start_byte + added_bytes >= PART_BYTES

    def grown(self, text: bytes) -> Tail | None:
        """Return the tail after an append of whole lines by which only the last part grows, in `last`.

        What most appends come to, without reading or counting again what is there. None where there is more to do: then
        `rewrite_from` and `after` say what.
        """
        last = self.last
        if last is None or not self.ends_line or self._merges(len(text)):
            return None
        if len(last.data) + len(text) > TAIL_PART_BYTES_MAX:
            return None
        added_lines = count_lines(text)
        data = last.data + text
        part = Part(last.start_byte, last.first_line, last.line_count + added_lines, zlib.crc32(text, last.crc32), data)
        return Tail(
            self.size_bytes + len(text),
            self.total_lines + added_lines,
            self.revision + 1,
            ends_line=True,
            open_parts=(*self.open_parts[:-1], OpenPart(last.start_byte, last.first_line, len(data))),
            last=part,
        )

    def after(self, rewritten: OpenPart, parts: Sequence[Part], revision: int) -> Tail:
        """Return the tail once `parts` (one or more) are stored from `rewritten` on."""
        last = parts[-1]
        kept = tuple(part for part in self.open_parts if part.start_byte < rewritten.start_byte)
        stored = (OpenPart(part.start_byte, part.first_line, len(part.data)) for part in parts)
        ends_line = last.data.endswith(b"\n") or last.end_byte == 0
        return Tail(
            size_bytes=last.end_byte,
            total_lines=last.end_line,
            revision=revision,
            ends_line=ends_line,
            open_parts=open_run((*kept, *stored), ends_line=ends_line),
            last=last if len(last.data) <= TAIL_PART_BYTES_MAX else None,
        )


def open_run(parts: Sequence[OpenPart], *, ends_line: bool) -> tuple[OpenPart, ...]:
    """Pick the open parts from the parts at the end of an output, given in order."""
    start = len(parts)
    while start and parts[start - 1].size_bytes < LOOSE_PART_BYTES_MAX:
        start -= 1
    if not ends_line:
        start = min(start, len(parts) - 1)
    return tuple(parts[start:])
