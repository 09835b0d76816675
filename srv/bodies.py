"""Reads request bodies, within bounds of size, time and memory."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp.web_protocol import RequestPayloadError

from srv.auth import RETRY_SHORTLY, Refusal
from srv.requests import Request

BODY_SECONDS_MAX: Final = 60
"""For a whole body: on a loopback even the largest takes a second; who is slower only holds what others wait for."""

SILENCE_SECONDS_MAX: Final = 10
"""Without another byte of a body: whoever sends none for so long has stopped."""

PLACE_SECONDS_MAX: Final = 12
"""A large body waits that long for a place: long enough to outlast those who have stopped. Then its caller waits."""

LARGE_BODY_BYTES: Final = 2**20
"""A body of which more than this has arrived takes one of `LARGE_BODIES_MAX` places; less is bounded by the connections."""

LARGE_BODIES_MAX: Final = 4
"""Large bodies in memory at once; the others wait unread. Together with `body_bytes_max` this bounds our memory."""

_LATE: Final = Refusal(HTTPStatus.BAD_REQUEST, f"the body did not arrive within {BODY_SECONDS_MAX} s")
_SILENT: Final = Refusal(HTTPStatus.BAD_REQUEST, f"nothing more of the body arrived for {SILENCE_SECONDS_MAX} s")
_BROKEN: Final = Refusal(
    HTTPStatus.BAD_REQUEST, "the body cannot be read: it breaks off, or its transfer encoding is broken"
)
_BUSY: Final = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many large requests at once; try again shortly", RETRY_SHORTLY
)


class Place:
    """The place of one body among the large ones. Whoever made it leaves it, however the request ends."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        """Take nothing yet."""
        self._places = places
        self._is_taken = False

    async def take(self) -> bool:
        """Wait for a place, unless it is taken already; False where none became free in time."""
        if self._is_taken:
            return True
        try:
            async with asyncio.timeout(PLACE_SECONDS_MAX):
                await self._places.acquire()
                self._is_taken = True
        except TimeoutError:
            return False
        return True

    def leave(self) -> None:
        """Give it back: the body is no longer in memory. Doing it twice is harmless."""
        if self._is_taken:
            self._is_taken = False
            self._places.release()


class BodyReader:
    """Reads the bodies of one daemon."""

    def __init__(self, body_bytes_max: int) -> None:
        """Keep the largest size of a body."""
        self._body_bytes_max = body_bytes_max
        self._too_large = Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over the limit body_bytes_max: at most {body_bytes_max}"
        )
        self._large = asyncio.Semaphore(LARGE_BODIES_MAX)

    def arrived(self, request: Request) -> bytes | Refusal | None:
        """Return the body if all of it is here already, as it is with nearly every request; None if not."""
        if not request.body.is_eof():
            return None
        body = request.body.read_nowait()
        return body if len(body) <= self._body_bytes_max else self._too_large

    def place(self) -> Place:
        """Return a place that a body takes while it is read, if it turns out to be large."""
        return Place(self._large)

    async def read(self, request: Request, place: Place) -> bytearray | Refusal:
        """Read what is still to come of a body, and all before it.

        A size that is declared too large is refused at once, before anything of it is read or even sent.

        Raises:
            ConnectionError: the caller has gone.
        """
        size_bytes = request.body_bytes
        if size_bytes is not None and size_bytes > self._body_bytes_max:
            return self._too_large
        try:
            request.ask_for_body()
            return await self._read(request, place)
        except RequestPayloadError:
            return _BROKEN
        except RuntimeError as error:
            if request.connection.connected:
                raise
            raise ConnectionResetError("the connection was closed amid a body") from error

    async def _read(self, request: Request, place: Place) -> bytearray | Refusal:
        clock = asyncio.get_running_loop().time
        deadline = clock() + BODY_SECONDS_MAX
        body = bytearray()
        try:
            async with asyncio.timeout_at(min(deadline, clock() + SILENCE_SECONDS_MAX)) as patience:
                while chunk := await request.body.readany():
                    body += chunk
                    if len(body) > self._body_bytes_max:
                        return self._too_large
                    if len(body) > LARGE_BODY_BYTES:
                        patience.reschedule(None)
                        if not await place.take():
                            return _BUSY
                    patience.reschedule(min(deadline, clock() + SILENCE_SECONDS_MAX))
        except TimeoutError:
            return _LATE if clock() >= deadline else _SILENT
        return body
