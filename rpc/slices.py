"""JSON decoded in slices, so that no single step holds the interpreter's lock for long, however large the body.

`orjson.loads` of 64 MB keeps every other thread waiting for 100 ms and more, the event loop too. So a body is walked once, from
bracket to bracket. What fits a slice stays text until `orjson` decodes the slice around it. What does not fit is taken out and
a placeholder string put in its place:

- a string of a window's length or more is decoded window by window, cut where neither an escape nor a character is split;
- an array or object that outgrows a slice is decoded a run of members at a time.

Placeholders begin with a random word that never leaves the process, so nothing a client sends can pass for one. Nothing here
recurses, so no depth of nesting can exhaust the stack; `orjson` judges every slice, so what is JSON here is what is JSON to it,
but for numbers: one beyond a double is kept as it is, one of more than `UNCUT_BYTES_MAX` refused (RFC 8259, section 9, leaves
both to the reader).
"""

from __future__ import annotations

import io
import math
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from store import limits
from store.errors import TooLargeError
from store.limits import KIB, MIB

WINDOW_BYTES: Final = 64 * KIB
"""What one step looks at: half a millisecond of work. At least 16: a surrogate pair as escapes has 12 bytes."""

LEVELS_MAX: Final = 200_000
"""Deeper nesting is refused without a look at the rest, so that a body of brackets cannot fill the memory."""

UNCUT_BYTES_MAX: Final = 1 * MIB
"""Text without a comma to cut it at is refused beyond this: strings, arrays, objects and white space of a window's length being
taken out of it, no JSON is left that has so much but a number."""

SLICE_LEVELS: Final = 512
"""Levels given to `orjson` at once; it takes 1024."""

_WORD: Final = secrets.token_hex(16)
_WORD_BYTES: Final = _WORD.encode()

# Possessive throughout: linear, and nothing is remembered for going back.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TO_BRACKET: Final = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+', re.DOTALL)
_TO_LAST_COMMA: Final = re.compile(rb'(?:[^",]*+(?:' + _STRING + rb'[^",]*+)*+,)*+', re.DOTALL)
_STRING_OR_NUMBER: Final = re.compile(_STRING + rb"|-?[0-9][-+.0-9Ee]*+", re.DOTALL)
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[Ee][-+]?[0-9]++)?+")
# Runs of characters and whole escapes. A high surrogate counts only with what follows it, so a lone one ends the match.
_TEXT: Final = re.compile(
    rb'[^"\\]*+(?:\\(?:[^u]|u(?![Dd][89ABab])....|u[Dd][89ABab]..\\u....)[^"\\]*+)*+',
    re.DOTALL,
)
_WHITE_SPACE: Final = b" \t\n\r"
_CLOSERS: Final = {ord("["): b"]", ord("{"): b"}"}
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_BACKSLASHES_AT_END: Final = re.compile(rb"\\++\Z")
_BACKSLASHES_MAX: Final = 256
_ESCAPE_BYTES_MAX: Final = 12
"""Of a surrogate pair."""

_UTF8_LENGTH_MAX: Final = 4


class ParseError(ValueError):
    """The text is not JSON, or not Unicode."""


@dataclass(frozen=True, slots=True)
class LongText:
    """A string too long to be decoded in one go, as its UTF-8 bytes."""

    data: bytes = field(repr=False)

    def decode(self) -> str:
        """Return it as a string; takes a millisecond for some MiB."""
        return self.data.decode()


@dataclass(frozen=True, slots=True)
class Number:
    """A number as its characters: one that no double holds, or one that must come back exactly as it was sent."""

    characters: bytes


class _Frame:
    """An open array or object.

    Attributes:
        opener: its bracket.
        start: where in the text it begins.
        slice_start: where in the text begin the members that are not decoded yet.
        members: those that are; None while it may still stay text.
    """

    __slots__ = ("members", "opener", "slice_start", "start")

    def __init__(self, opener: int, start: int) -> None:
        self.opener = opener
        self.start = start
        self.slice_start = start + 1
        self.members: list[Any] | dict[str, Any] | None = None


def decode(
    body: bytes | bytearray, nesting_max: int, *, numbers_as_sent: bool = False, window_bytes: int = WINDOW_BYTES
) -> Any:
    """Decode a body as `orjson.loads` does, in steps of `window_bytes`.

    Args:
        body: JSON in UTF-8.
        nesting_max: how deep arrays and objects may be nested.
        numbers_as_sent: give each number as a `Number`.
        window_bytes: the length of a step, and from which on a string becomes a `LongText`.

    Returns:
        The value. Long strings are `LongText`, numbers beyond a double `Number`.

    Raises:
        ParseError: not JSON, or not Unicode.
        TooLargeError: JSON, but nested too deep; or of too many arrays and objects, whatever comes behind them.
    """
    return _Decoder(body, nesting_max, numbers_as_sent, window_bytes).run()


class _Decoder:
    """One walk over a body.

    The text that `orjson` is to see is `_text`, which lags behind, and the body from `_copied` to where the walk is. Positions
    in the text count both.
    """

    def __init__(self, body: bytes | bytearray, nesting_max: int, numbers_as_sent: bool, window_bytes: int) -> None:  # noqa: FBT001 - passed on
        self._body = body
        self._nesting_max = nesting_max
        self._numbers_as_sent = numbers_as_sent
        self._window_bytes = window_bytes
        self._text = bytearray()
        self._copied = 0
        self._frames: list[_Frame] = []
        self._containers = 0
        self._too_deep = False
        self._taken_out: dict[str, Any] = {}

    def run(self) -> Any:
        body, end, position = self._body, len(self._body), 0
        while position < end:
            run_start = position
            position = self._skip(_TO_BRACKET, position)
            if position > run_start:
                self._cut_slice(run_start, position)
            elif body[position] == _QUOTE:
                position = self._take_out_string(position)
            elif body[position] in _CLOSERS:
                self._open(position)
                position += 1
            else:
                self._close(position)
                position += 1
        self._copy(end)
        value = self._loads(bytes(self._text))
        if self._too_deep:
            raise TooLargeError("json_nesting_max", self._nesting_max)
        return value

    def _skip(self, pattern: re.Pattern[bytes], position: int, window_end: int | None = None) -> int:
        """Return where a pattern that may match nothing ends."""
        match = pattern.match(self._body, position, window_end or position + self._window_bytes)
        return match.end() if match else position

    def _open(self, position: int) -> None:
        self._count_container()
        frames = self._frames
        frames.append(_Frame(self._body[position], len(self._text) + position - self._copied))
        if len(frames) <= self._nesting_max:
            return
        self._too_deep = True
        if len(frames) > LEVELS_MAX:
            closers = sum(self._body.count(closer, position) for closer in _CLOSERS.values())
            if closers < len(frames):
                raise ParseError
            raise TooLargeError("json_nesting_max", self._nesting_max)

    def _count_container(self) -> None:
        """Count an array, an object, or a number kept as its characters, which costs as much."""
        self._containers += 1
        if self._containers > limits.JSON_CONTAINERS_MAX:
            raise TooLargeError("json_containers_max", limits.JSON_CONTAINERS_MAX)

    def _close(self, position: int) -> None:
        """End an array or object. It stays text where it fits a slice, and `orjson` can take its depth."""
        if not self._frames:
            raise ParseError
        level = len(self._frames)
        frame = self._frames.pop()
        size_bytes = len(self._text) + position - self._copied - frame.start
        if frame.members is None and size_bytes <= self._window_bytes and level % SLICE_LEVELS:
            return
        if frame.members is None:
            self._copy(position + 1)
            value = self._loads(bytes(self._text[frame.start :]))
        else:
            self._copy(position)
            self._decode_members(frame, self._text[frame.slice_start :])
            self._copied = position + 1
            if self._body[position] != _CLOSERS[frame.opener][0]:
                raise ParseError
            value = frame.members
        del self._text[frame.start :]
        self._put_placeholder(None if self._too_deep else value)

    def _cut_slice(self, run_start: int, position: int) -> None:
        """Decode the members of the innermost array or object up to the last comma of this run, where they fill a slice."""
        frame = self._frames[-1] if self._frames else None
        uncut_bytes = len(self._text) + position - self._copied - (frame.slice_start if frame else 0)
        if uncut_bytes <= self._window_bytes:
            return
        if position - run_start == self._window_bytes and not self._body[run_start:position].strip(_WHITE_SPACE):
            self._copy(run_start + 1)  # one byte of it separates as well as all
            self._copied = position
            return
        cut = self._skip(_TO_LAST_COMMA, run_start, position) if frame else run_start
        if frame is None or cut == run_start:
            if uncut_bytes > UNCUT_BYTES_MAX:
                raise ParseError
            return
        self._copy(cut)
        self._decode_members(frame, self._text[frame.slice_start : -1])
        del self._text[frame.slice_start :]

    def _decode_members(self, frame: _Frame, members: bytearray) -> None:
        """Add members to those decoded before; between commas there is at least one."""
        added = self._loads(b"%c%b%b" % (frame.opener, bytes(members), _CLOSERS[frame.opener]))
        if not added:
            raise ParseError
        if frame.members is None or self._too_deep:
            frame.members = added
        elif isinstance(frame.members, dict):
            frame.members.update(added)
        else:
            frame.members.extend(added)

    def _take_out_string(self, opening: int) -> int:
        """Decode a string that no window holds; returns where it ends."""
        body, position = self._body, opening + 1
        decoded = io.BytesIO()
        while True:
            start = position
            if (cut := self._cut_within_string(start)) and (piece := _text_bytes(bytes(body[start:cut]))) is not None:
                decoded.write(piece)
                position = cut
                continue
            position = self._skip(_TEXT, start)
            if position < len(body) and body[position] != _QUOTE:
                position = self._character_start(start, position)
            piece = _text_bytes(bytes(body[start:position]))
            if piece is None:
                raise ParseError
            decoded.write(piece)
            if position < len(body) and body[position] == _QUOTE:
                break
            if position == start:
                raise ParseError
        self._copy(opening)
        self._copied = position + 1
        self._put_placeholder(LongText(decoded.getvalue()))
        return position + 1

    def _cut_within_string(self, start: int) -> int:
        """Return where a window of a string may be cut, without looking at what is before: at most a run of escapes earlier.

        The string may have ended by then; whoever decodes the window finds that out. 0 where there is no such place, or the
        body ends.
        """
        body, end = self._body, start + self._window_bytes
        if end >= len(body):
            return 0
        escape = body.rfind(b"\\", max(start, end - _ESCAPE_BYTES_MAX), end)
        if escape >= 0:
            run = _BACKSLASHES_AT_END.search(body, max(start, escape - _BACKSLASHES_MAX), escape + 1)
            end = run.start() if run else start
            if end <= start or body[end - 1] == _BACKSLASH:
                return 0
        for _ in range(_UTF8_LENGTH_MAX):
            if body[end] & 0xC0 != 0x80:  # noqa: PLR2004 - 10xxxxxx goes on with a character
                return end if end > start else 0
            end -= 1
        return 0

    def _character_start(self, start: int, position: int) -> int:
        """Go back to the beginning of the character that a window's end splits."""
        for _ in range(_UTF8_LENGTH_MAX):
            if position == start or self._body[position] & 0xC0 != 0x80:  # noqa: PLR2004 - 10xxxxxx goes on with a character
                return position
            position -= 1
        raise ParseError

    def _copy(self, position: int) -> None:
        """Let the text catch up with the walk."""
        self._text += self._body[self._copied : position]
        self._copied = position

    def _put_placeholder(self, value: Any) -> None:
        placeholder = f"{_WORD}{len(self._taken_out)}"
        self._taken_out[placeholder] = value
        self._text += f'"{placeholder}"'.encode()

    def _loads(self, text: bytes) -> Any:
        """Decode a slice and put back what was taken out of it."""
        if self._numbers_as_sent:
            text = _STRING_OR_NUMBER.sub(_keep_number, text)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            text = _STRING_OR_NUMBER.sub(_keep_infinite_number, text)
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise ParseError from error
        return self._put_back(value) if _WORD_BYTES in text else value

    def _put_back(self, root: Any) -> Any:
        """Replace every placeholder in a decoded slice."""
        if type(root) is str:
            return self._meant(root)
        nodes = [root]
        while nodes:
            node = nodes.pop()
            if type(node) is dict and any(name.startswith(_WORD) for name in node):
                members = [(self._name_meant(name), child) for name, child in node.items()]
                node.clear()
                node.update(members)
            for key, child in node.items() if type(node) is dict else enumerate(node):
                if type(child) is str:
                    if child.startswith(_WORD):
                        node[key] = self._meant(child)
                elif type(child) is dict or type(child) is list:
                    nodes.append(child)
        return root

    def _meant(self, text: str) -> Any:
        if not text.startswith(_WORD):
            return text
        if text.startswith(_NUMBER_WORD):
            self._count_container()
            return Number(text[len(_NUMBER_WORD) :].encode())
        return self._taken_out.pop(text)

    def _name_meant(self, name: str) -> str:
        meant = self._meant(name)
        return meant.decode() if isinstance(meant, LongText) else name


_NUMBER_WORD: Final = f"{_WORD}="


def _text_bytes(piece: bytes) -> bytes | None:
    """Decode a piece of a string to UTF-8, None where it is none. Without escapes it is that already, if it can be proved."""
    try:
        text = orjson.loads(b'"%b"' % piece)
    except orjson.JSONDecodeError:
        return None
    return text.encode() if b"\\" in piece else piece


def _keep_number(match: re.Match[bytes]) -> bytes:
    found = match[0]
    if found[0] == _QUOTE or _NUMBER.fullmatch(found) is None:
        return found
    return b'"%b%b"' % (_NUMBER_WORD.encode(), found)


def _keep_infinite_number(match: re.Match[bytes]) -> bytes:
    """Keep what `orjson` refuses although the grammar of JSON allows it: a number beyond a double."""
    found = match[0]
    return _keep_number(match) if found[0] != _QUOTE and _is_infinite(found) else found


def _is_infinite(characters: bytes) -> bool:
    try:
        return math.isinf(float(characters))
    except ValueError:
        return False
