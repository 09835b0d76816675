"""JSON for people: indented by two spaces, from piece to piece, without being decoded.

Nothing but the brackets, commas and colons outside of strings is looked at, so answers of any size are done in small steps, and
every number and string leaves as it came.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from rpc.bodies import OffLoop
from store.limits import KIB

DIRECT_BYTES_MAX: Final = 4 * KIB
"""Up to this size JSON is indented at once, on the event loop: some hundred microseconds."""

STEP_BYTES: Final = 64 * KIB
"""What one step in another thread looks at."""

# Possessive throughout: linear, and nothing is remembered for going back.
_TEXT: Final = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_TOKEN: Final = re.compile(rb'"' + _TEXT + rb'"|[^\[\]{},:" \t\r\n]++|[ \t\r\n]++|.', re.DOTALL)
_IN_STRING: Final = re.compile(_TEXT, re.DOTALL)


class Indenter:
    """Indents one JSON text, which may come in pieces that end anywhere."""

    def __init__(self) -> None:
        """Begin a text."""
        self._line_end = b"\n"
        self._has_just_opened = False
        self._is_in_string = False
        self._is_escaped = False

    def feed(self, piece: bytes) -> bytes:
        """Return what becomes of a piece; one that lies within a string is given back as it is."""
        done: list[bytes] = []
        position = 0
        if self._is_in_string and piece:
            position = self._end_of_string(piece, 0)
            done.append(piece[:position])
        while position < len(piece) and (match := _TOKEN.match(piece, position)):
            token, position = match[0], match.end()
            self._add(token, done)
            if token == b'"':  # its end comes with another piece
                start, position = position, self._end_of_string(piece, position)
                done.append(piece[start:position])
        return done[0] if len(done) == 1 else b"".join(done)

    def _end_of_string(self, piece: bytes, position: int) -> int:
        """Go on within a string, to behind its end, or to the end of the piece."""
        if self._is_escaped:
            position += 1
        match = _IN_STRING.match(piece, position)
        position = match.end() if match else position
        last = piece[position : position + 1]
        self._is_in_string = last != b'"'
        self._is_escaped = last == b"\\"  # what it escapes comes with the next piece
        return position + len(last)

    def _add(self, token: bytes, done: list[bytes]) -> None:
        """Add a token with the space around it."""
        if token in b"]}":
            self._line_end = self._line_end[:-2]
            if not self._has_just_opened:
                done.append(self._line_end)
            self._has_just_opened = False
            done.append(token)
        elif not token.isspace():
            if self._has_just_opened:
                done.append(self._line_end)
            self._has_just_opened = token in b"[{"
            done.append(token)
            if self._has_just_opened:
                self._line_end += b"  "
            elif token == b",":
                done.append(self._line_end)
            elif token == b":":
                done.append(b" ")


def indented(text: bytes) -> bytes:
    """Indent a small text."""
    return Indenter().feed(text)


async def indented_in_steps(pieces: Iterable[bytes], off_loop: OffLoop) -> AsyncGenerator[bytes, None]:
    """Indent a text of any size, step by step in another thread, with a line end behind it."""
    indenter = Indenter()
    for piece in pieces:
        for start in range(0, len(piece), STEP_BYTES):
            if done := await off_loop.run(indenter.feed, piece[start : start + STEP_BYTES]):
                yield done
    yield b"\n"
