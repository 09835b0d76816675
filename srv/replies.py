"""Writes HTTP answers: a prepared head and the pieces of a body, as they are.

aiohttp builds a response object, a header dictionary and their serialisation for each answer, which costs more than the rest of
our way from the socket to the writer. Ours are always the same few headers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Self

from rpc.trace import spent_on
from srv.requests import Request

WRITE_BYTES: Final = 2 * 2**20
"""Written in one go, before others get a turn: few calls for a large answer, a millisecond at most each."""

JOIN_BYTES_MAX: Final = 64 * 2**10
"""Answers up to this size leave in one piece with their head."""

JSON: Final = b"application/json"

_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"

_ALWAYS: Final = (
    b"Cache-Control: no-store\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    # Whoever opens an answer as a page, or puts it into one of another origin, gets nothing to run and nothing to read.
    b"Cross-Origin-Resource-Policy: same-origin\r\n"
    b"Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
)


async def reply(
    request: Request,
    status: HTTPStatus,
    pieces: Iterable[bytes] = (),
    size_bytes: int = 0,
    *,
    headers: bytes = b"",
    content_type: bytes = JSON,
    keep_alive: bool = True,
) -> bool:
    """Answer a request; returns whether the connection stays open.

    Args:
        request: the request.
        status: the HTTP status.
        pieces: the body in pieces of any size.
        size_bytes: their size together.
        headers: further header lines, each ended by CR LF.
        content_type: of the body.
        keep_alive: whether the connection may stay open. It does not where the caller says so, or has not sent all of its body.

    Raises:
        ConnectionError: the caller has gone.
    """
    keep_alive = keep_alive and request.keeps_alive and request.body.is_eof()
    transport = request.transport
    text = head(status, size_bytes, headers, content_type=content_type, keep_alive=keep_alive)
    request.is_answered = True
    if request.method == "HEAD":
        transport.write(text)
    elif size_bytes <= JOIN_BYTES_MAX:
        transport.write(b"".join((text, *pieces)))
        if request.connection.writing_paused:
            with _Patience(request), spent_on("send_seconds"):
                await request.connection.drain()
    else:
        transport.write(text)
        await _write_all(request, transport, pieces)
    return keep_alive


async def stream(
    request: Request,
    status: HTTPStatus,
    pieces: AsyncIterator[bytes],
    size_bytes: int | None,
    *,
    headers: bytes,
    content_type: bytes,
    keep_alive: bool,
    seconds_max: float | None,
) -> bool:
    """Answer a request with a body that is made while it is sent, so that only a piece of it is in memory.

    Args:
        request: the request; of HTTP/1.1 where the size is not known.
        status: the HTTP status.
        pieces: the body, none of them empty. Nothing is sent before the first is there: what fails until then can be answered.
        size_bytes: their size together; None where it is not known, which sends them in chunks.
        headers: as in `reply`, and so on.
        content_type: as there.
        keep_alive: as there.
        seconds_max: for the caller to take all of it; None where each piece may take as long as a whole answer otherwise.

    Raises:
        ConnectionError: the caller has gone, or was too slow.
        Exception: what `pieces` raises. Once something was sent the connection is cut, so that no part passes for the whole.
    """
    keep_alive = keep_alive and request.keeps_alive and request.body.is_eof()
    is_head = request.method == "HEAD"
    piece = b"" if is_head else await anext(pieces, b"")
    transport = request.transport
    request.is_answered = True
    transport.write(head(status, size_bytes, headers, content_type=content_type, keep_alive=keep_alive))
    if is_head:
        return keep_alive
    clock = asyncio.get_running_loop().time
    deadline = None if seconds_max is None else clock() + seconds_max
    try:
        while piece:
            framed = (piece,) if size_bytes is not None else (b"%x\r\n" % len(piece), piece, b"\r\n")
            await _write_all(request, request.transport, framed, deadline)
            piece = await anext(pieces, b"")
        if size_bytes is None:
            request.transport.write(b"0\r\n\r\n")
    except BaseException:
        transport.abort()
        raise
    return keep_alive


def head(
    status: HTTPStatus, size_bytes: int | None, headers: bytes = b"", *, content_type: bytes = JSON, keep_alive: bool
) -> bytes:
    """Write status line and headers; a size of None is that of a body in chunks."""
    size = _CHUNKED if size_bytes is None else b"Content-Length: %d\r\n" % size_bytes
    if status in _BODILESS:
        size = b""
    connection = b"" if keep_alive else b"Connection: close\r\n"
    return b"".join((_opening(status, content_type), _date(int(time.time())), size, headers, connection, b"\r\n"))


def json_body(facts: object, *, is_pretty: bool = False) -> bytes:
    """Write a small JSON body, with a line end for people, and indented where they want it so."""
    return json.dumps(facts, ensure_ascii=False, indent=2 if is_pretty else None).encode() + b"\n"


@lru_cache
def _opening(status: HTTPStatus, content_type: bytes) -> bytes:
    kind = b"" if status in _BODILESS else b"Content-Type: %b\r\n" % content_type
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + kind + _ALWAYS


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


async def _write_all(
    request: Request, transport: asyncio.Transport, pieces: Iterable[bytes], deadline: float | None = None
) -> None:
    with _Patience(request, deadline) as patience, spent_on("send_seconds"):
        for portion in _portions(pieces):
            if transport.is_closing():
                raise ConnectionResetError("the caller has gone")
            transport.writelines(portion)
            patience.written_bytes += sum(map(len, portion))
            await request.connection.drain()
            await asyncio.sleep(0)


def _portions(pieces: Iterable[bytes]) -> Iterator[list[memoryview]]:
    """Cut and gather pieces, without copying, into portions of at most `WRITE_BYTES`."""
    portion: list[memoryview] = []
    room = WRITE_BYTES
    for piece in pieces:
        view = memoryview(piece)
        while view:
            portion.append(view[:room])
            view = view[room:]
            room -= len(portion[-1])
            if not room:
                yield portion
                portion, room = [], WRITE_BYTES
    if portion:
        yield portion


class _Patience:
    """Ends the connection of a caller that takes nothing of its answer for a while, or not all of it in time.

    Attributes:
        written_bytes: how much of the answer was handed to the transport.
    """

    def __init__(self, request: Request, deadline: float | None = None) -> None:
        """Begin with what was handed over before. The deadline is a time of the event loop's clock."""
        self._transport = request.transport
        self._loop = asyncio.get_running_loop()
        self._silence_seconds = request.connection.bounds.silence_seconds_max
        seconds_max = request.connection.bounds.answer_seconds_max
        self._deadline = self._loop.time() + seconds_max if deadline is None else deadline
        self.written_bytes = 0

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._watch()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._timer.cancel()

    def _watch(self) -> None:
        self._taken_bytes = self._taken()
        self._timer = self._loop.call_at(min(self._deadline, self._loop.time() + self._silence_seconds), self._look)

    def _look(self) -> None:
        if self._taken() == self._taken_bytes or self._loop.time() >= self._deadline:
            self._transport.abort()
        else:
            self._watch()

    def _taken(self) -> int:
        return self.written_bytes - self._transport.get_write_buffer_size()
