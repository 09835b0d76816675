"""HTTP/1.1 at its strictest (RFC 9112), to have another opinion of where a request ends.

Whatever a client has sent, the daemon must not see more requests in it than are here, nor others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") +([!-~]+) +HTTP/1\.([01])")  # section 3 allows several spaces
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t -~]*)")
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*")
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t -~\x80-\xff]*)?")
_ENDS_IN_CHUNKS: Final = re.compile(rb"(?i)(?:" + _TOKEN + rb"[ \t]*,[ \t]*)*chunked")
_LENGTH: Final = re.compile(rb"[0-9]+")


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it was sent, or an answer.

    Attributes:
        start: method, target and minor version, or status and phrase.
        fields: names in lower case, and values, in order.
        body: its body, without the chunks' heads.
        is_whole: all of the body is there.
    """

    start: tuple[bytes, ...]
    fields: Sequence[tuple[bytes, bytes]]
    body: bytes = field(default=b"", repr=False)
    is_whole: bool = True

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all fields of that name, which is in lower case."""
        return [value for each, value in self.fields if each == name]

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start[0])


class BrokenError(ValueError):
    """This is no HTTP."""


class _CutOffError(Exception):
    """There is no more, although more should come."""


def requests_in(stream: bytes) -> list[Message]:
    """Return the requests at the beginning of a stream, up to what is none. The last may lack some of its body."""
    found: list[Message] = []
    position = 0
    try:
        while position < len(stream):
            while position < len(stream) and stream[position] in b"\r\n":
                position += 1  # section 2.2: empty lines before a request are passed over, whatever they are made of
            start, fields, position = _head(stream, position, _REQUEST_LINE)
            message = Message(start, fields, is_whole=False)
            _check_request(message)
            try:
                body, position = _request_body(message, stream, position)
            except _CutOffError:
                found.append(message)
                break
            found.append(Message(start, fields, body))
    except (BrokenError, _CutOffError):
        pass
    return found


def answers_in(stream: bytes, methods: Sequence[bytes]) -> list[Message]:
    """Return the final answers that a stream is made of, one behind the other; interim ones are passed over.

    Args:
        stream: all that was received.
        methods: of the requests, since HEAD gets no body; any further answer has one.

    Raises:
        BrokenError: it is no such stream, or the last answer is not whole.
    """
    found: list[Message] = []
    position = 0
    try:
        while position < len(stream):
            start, fields, position = _head(stream, position, _STATUS_LINE)
            message = Message(start, fields)
            if message.status < 200:
                continue
            has_none = len(found) < len(methods) and methods[len(found)] == b"HEAD" and not _is_body(stream, position)
            size = 0 if message.status in {204, 304} or has_none else _size(message)
            if len(stream) < position + size:
                raise BrokenError("an answer breaks off")
            found.append(Message(start, fields, stream[position : position + size]))
            position += size
    except _CutOffError as error:
        raise BrokenError("a head breaks off") from error
    return found


def _is_body(stream: bytes, position: int) -> bool:
    """Tell whether something follows that is no answer. HEAD itself may be answered so, where what follows it is no HTTP."""
    return position < len(stream) and not stream.startswith(b"HTTP/1.1 ", position)


def _head(
    stream: bytes, position: int, first: re.Pattern[bytes]
) -> tuple[tuple[bytes, ...], list[tuple[bytes, bytes]], int]:
    line, position = _line(stream, position)
    match = first.fullmatch(line)
    if match is None:
        raise BrokenError("no such first line")
    fields, position = _fields(stream, position)
    return match.groups(), fields, position


def _line(stream: bytes, position: int) -> tuple[bytes, int]:
    end = stream.find(b"\n", position)
    if end < 0:
        raise _CutOffError
    if end == position or stream[end - 1] != ord("\r"):
        raise BrokenError("a line that does not end with CR LF")
    return stream[position : end - 1], end + 1


def _fields(stream: bytes, position: int) -> tuple[list[tuple[bytes, bytes]], int]:
    fields: list[tuple[bytes, bytes]] = []
    while True:
        line, position = _line(stream, position)
        if not line:
            return fields, position
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BrokenError("no field")
        fields.append((match[1].lower(), match[2]))


def _size(message: Message) -> int:
    sizes = message.values(b"content-length")
    if len(sizes) > 1 or not all(map(_LENGTH.fullmatch, sizes)):
        raise BrokenError("no size")
    return _number(sizes[0], 10) if sizes else 0


def _number(digits: bytes, base: int) -> int:
    digits = digits.lstrip(b"0") or b"0"
    if len(digits) > 20 or int(digits, base) >= 2**64:
        raise BrokenError("a size that overflows")
    return int(digits, base)


def _check_request(message: Message) -> None:
    """Refuse what two readers could understand in two ways."""
    encodings = message.values(b"transfer-encoding")
    if len(message.values(b"host")) > 1 or (message.start[2] == b"1" and not message.values(b"host")):
        raise BrokenError("exactly one Host is needed")
    if encodings and (message.values(b"content-length") or message.start[2] == b"0"):
        raise BrokenError("a size and chunks, or chunks in HTTP/1.0")
    if encodings and (len(encodings) > 1 or not _ENDS_IN_CHUNKS.fullmatch(encodings[0])):
        raise BrokenError("nobody can tell where the body ends")
    _size(message)


def _request_body(message: Message, stream: bytes, position: int) -> tuple[bytes, int]:
    if message.values(b"transfer-encoding"):
        return _chunks(stream, position)
    size = _size(message)
    if len(stream) < position + size:
        raise _CutOffError
    return stream[position : position + size], position + size


def _chunks(stream: bytes, position: int) -> tuple[bytes, int]:
    body = b""
    while True:
        line, position = _line(stream, position)
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise BrokenError("no head of a chunk")
        size = _number(match[1], 16)
        if not size:
            return body, _fields(stream, position)[1]
        if len(stream) < position + size + 2:
            raise _CutOffError
        body += stream[position : position + size]
        position += size + 2
        if stream[position - 2 : position] != b"\r\n":
            raise BrokenError("a chunk that does not end where it should")
