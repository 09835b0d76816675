"""Parts of an output to a page of lines; pure. Bounded by lines and by stored bytes, but never empty where there is a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from store.lines import is_blank
from store.parts import Part


class MiscountedError(Exception):
    """A part holds another number of lines than it says."""

    def __init__(self, part: Part) -> None:
        """Keep where it begins."""
        super().__init__(f"the part at byte {part.start_byte} does not hold {part.line_count} lines")
        self.start_byte = part.start_byte


def page_from(parts: Iterable[Part], first_line: int, lines_max: int, bytes_max: int) -> list[bytes]:
    """Return the oldest lines from `first_line` on that fit.

    Args:
        parts: in order, the first one holding `first_line`.
        first_line: number of the first line wanted.
        lines_max: lines at most.
        bytes_max: stored bytes at most, newlines counted, unless the first line alone is larger.

    Raises:
        MiscountedError: lines of a part that was taken up whole were counted wrong.
    """
    lines: list[bytes] = []
    left = bytes_max
    for part in parts:
        number = part.first_line
        for line, size_bytes in _stored_lines(part.data):
            if number >= first_line:
                if len(lines) == lines_max or (lines and size_bytes > left):
                    return lines
                lines.append(line)
                left -= size_bytes
            number += 1
        if number != part.end_line:
            raise MiscountedError(part)
        if len(lines) == lines_max or left <= 0:
            return lines
    return lines


def page_before_end(parts: Iterable[Part], lines_max: int, bytes_max: int) -> list[bytes]:
    """Return the newest lines that fit, in order.

    Args:
        parts: from the end of the output.
        lines_max: lines at most.
        bytes_max: as in `page_from`, for the last line.

    Raises:
        MiscountedError: as `page_from`.
    """
    newest_first: list[bytes] = []
    left = bytes_max
    if lines_max == 0:
        return newest_first
    for part in parts:
        stored = list(_stored_lines(part.data))
        if len(stored) != part.line_count:
            raise MiscountedError(part)
        for line, size_bytes in reversed(stored):
            if newest_first and size_bytes > left:
                return newest_first[::-1]
            newest_first.append(line)
            left -= size_bytes
            if len(newest_first) == lines_max:
                return newest_first[::-1]
    return newest_first[::-1]


def _stored_lines(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each line that is not blank, without its end, and the bytes it takes with it."""
    pieces = data.split(b"\n")
    last = pieces.pop()
    for piece in pieces:
        if not is_blank(piece):
            yield piece.removesuffix(b"\r"), len(piece) + 1
    if not is_blank(last):
        yield last, len(last)
