"""Reads request bodies, within bounds of size, time and memory."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp.web_protocol import RequestPayloadError

from srv.bounds import Bounds
from srv.refusals import RETRY_SHORTLY, Refusal
from srv.requests import Request

LARGE_BODY_BYTES: Final = 256 * 2**10
"""A body of which more than this has arrived counts among the large ones; less is bounded by the connections."""

_BROKEN: Final = Refusal(
    HTTPStatus.BAD_REQUEST, "the body cannot be read: it breaks off, or its transfer encoding is broken"
)
_BUSY: Final = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many large requests at once; try again shortly", RETRY_SHORTLY, "OVERLOADED"
)


class BodyLimit:
    """What the body of one kind of request may be.

    Attributes:
        bytes_max: its size at most.
        too_large: what a larger one is answered.
        not_utf8: what one is answered that is not UTF-8; None where that does not matter yet.
    """

    def __init__(self, name: str, bytes_max: int, not_utf8: Refusal | None = None) -> None:
        """Name the limit as `store/limits.py` does."""
        self.bytes_max = bytes_max
        self.too_large = Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"over the limit {name}: at most {bytes_max}",
            word="TOO_LARGE",
            details={"limit": name, "max": bytes_max},
        )
        self.not_utf8 = not_utf8

    def checker(self) -> Callable[[bytes], Refusal | None]:
        """Return what is given one body chunk by chunk, with an empty one at its end, and says from where on it is refused."""
        if self.not_utf8 is None:
            return _unchecked
        decode = codecs.getincrementaldecoder("utf-8")().decode

        def check(chunk: bytes) -> Refusal | None:
            try:
                decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                return self.not_utf8
            return None

        return check


def _unchecked(_chunk: bytes) -> None:
    """Refuse nothing."""


class Place:
    """What one body holds of the memory for large ones. Whoever made it leaves it, however the request ends."""

    def __init__(self, memory: BodyMemory) -> None:
        """Take nothing yet."""
        self._memory = memory
        self._held_bytes = 0

    def grow(self, size_bytes: int) -> bool:
        """Hold that many bytes in all; False where there is no room for so many."""
        if not self._memory.take(size_bytes - self._held_bytes):
            return False
        self._held_bytes = size_bytes
        return True

    def leave(self) -> None:
        """Give all of it back: the body is no longer in memory. Doing it twice is harmless."""
        self._memory.give(self._held_bytes)
        self._held_bytes = 0


class BodyMemory:
    """Bytes that all large bodies may hold together. Nobody waits for some: who finds none is told to come again."""

    def __init__(self, bytes_max: int) -> None:
        """Begin with all of it free."""
        self.free_bytes = bytes_max

    def take(self, size_bytes: int) -> bool:
        """Take some, if there is so much."""
        if size_bytes > self.free_bytes:
            return False
        self.free_bytes -= size_bytes
        return True

    def give(self, size_bytes: int) -> None:
        """Give some back."""
        self.free_bytes += size_bytes


class BodyReader:
    """Reads the bodies of one daemon."""

    def __init__(self, bounds: Bounds) -> None:
        """Keep the bounds of size, time and memory."""
        self._bounds = bounds
        self._memory = BodyMemory(bounds.body_memory_bytes_max)
        self._late = Refusal(HTTPStatus.BAD_REQUEST, f"the body did not arrive within {bounds.body_seconds_max} s")
        self._silent = Refusal(
            HTTPStatus.BAD_REQUEST, f"nothing more of the body arrived for {bounds.silence_seconds_max} s"
        )

    @property
    def held_bytes(self) -> int:
        """Bytes of large bodies in memory."""
        return self._bounds.body_memory_bytes_max - self._memory.free_bytes

    def arrived(self, request: Request, limit: BodyLimit) -> bytes | Refusal | None:
        """Return the body if all of it is here already, as it is with nearly every request; None if not."""
        if not request.body.is_eof():
            return None
        body = request.body.read_nowait()
        if len(body) > limit.bytes_max:
            return limit.too_large
        check = limit.checker()
        return check(body) or check(b"") or body

    def place(self) -> Place:
        """Return a place that a body takes while it is read, if it turns out to be large."""
        return Place(self._memory)

    async def read(self, request: Request, place: Place, limit: BodyLimit) -> bytearray | Refusal:
        """Read what is still to come of a body, and all before it.

        A size that is declared too large is refused at once, before anything of it is read or even sent.

        Raises:
            ConnectionError: the caller has gone.
        """
        size_bytes = request.body_bytes
        if size_bytes is not None and size_bytes > limit.bytes_max:
            return limit.too_large
        try:
            request.ask_for_body()
            return await self._read(request, place, limit)
        except RequestPayloadError:
            return _BROKEN
        except RuntimeError as error:
            if request.connection.connected:
                raise
            raise ConnectionResetError("the connection was closed amid a body") from error

    async def _read(self, request: Request, place: Place, limit: BodyLimit) -> bytearray | Refusal:
        clock = asyncio.get_running_loop().time
        silence = self._bounds.silence_seconds_max
        deadline = clock() + self._bounds.body_seconds_max
        body = bytearray()
        check = limit.checker()
        try:
            async with asyncio.timeout_at(min(deadline, clock() + silence)) as patience:
                while chunk := await request.body.readany():
                    body += chunk
                    if len(body) > limit.bytes_max:
                        return limit.too_large
                    if refusal := check(chunk):
                        return refusal
                    if len(body) > LARGE_BODY_BYTES and not place.grow(len(body)):
                        return _BUSY
                    patience.reschedule(min(deadline, clock() + silence))
        except TimeoutError:
            return self._late if clock() >= deadline else self._silent
        return check(b"") or body
