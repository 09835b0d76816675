"""Reads request bodies, within bounds of size, time and memory."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from srv.auth import Refusal

BODY_SECONDS_MAX: Final = 60
"""For a whole body: on a loopback even the largest takes a second; who is slower only holds what others wait for."""

LARGE_BODY_BYTES: Final = 2**20
"""A body above this size takes one of the places of `LARGE_BODIES_MAX`; smaller ones are bounded by the connections."""

LARGE_BODIES_MAX: Final = 4
"""Large bodies in memory at once; the others wait unread. Together with `body_bytes_max` this bounds our memory."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LATE: Final = Refusal(HTTPStatus.BAD_REQUEST, f"the body did not arrive within {BODY_SECONDS_MAX} s")
_BROKEN: Final = Refusal(HTTPStatus.BAD_REQUEST, "the body cannot be read: its transfer encoding is broken")
_BUSY: Final = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many large requests at once; try again shortly")


class BodyReader:
    """Reads the bodies of one daemon."""

    def __init__(self, body_bytes_max: int) -> None:
        """Keep the largest size of a body."""
        self._body_bytes_max = body_bytes_max
        self._too_large = Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over the limit body_bytes_max: at most {body_bytes_max}"
        )
        self._large = asyncio.Semaphore(LARGE_BODIES_MAX)

    def arrived(self, request: web.BaseRequest) -> bytes | Refusal | None:
        """Return the body if all of it is here already, as it is with nearly every request; None if not."""
        if not request.content.is_eof():
            return None
        body = request.content.read_nowait()
        return body if len(body) <= self._body_bytes_max else self._too_large

    async def take_place(self, request: web.BaseRequest) -> bool | Refusal:
        """Wait until there is memory for the body; True if a place was taken that `leave_place` must give back.

        A size that is declared too large is refused at once, before anything of it is read or even sent.
        """
        size_bytes = request.content_length
        if size_bytes is not None and size_bytes > self._body_bytes_max:
            return self._too_large
        if size_bytes is not None and size_bytes <= LARGE_BODY_BYTES:
            return False
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                await self._large.acquire()
        except TimeoutError:
            return _BUSY
        return True

    def leave_place(self) -> None:
        """Give a place back: the body is no longer in memory."""
        self._large.release()

    async def read(self, request: web.BaseRequest) -> bytearray | Refusal:
        """Read what is still to come of a body, and all before it."""
        if request.version == HttpVersion11 and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > self._body_bytes_max:
                        return self._too_large
        except TimeoutError:
            return _LATE
        except web.RequestPayloadError:
            return _BROKEN
        return body
