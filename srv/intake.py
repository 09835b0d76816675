"""The way of a request with a body: read within bounds, worked off, and answered when the body is no longer in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import hdrs

from rpc.trace import spent_on
from srv.bodies import BodyLimit, BodyReader
from srv.bounds import Bounds
from srv.exchange import Exchange
from srv.refusals import Refusal
from srv.underway import Underway

_ENCODED: Final = Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "bodies are taken as they are, without Content-Encoding")

_Answer = TypeVar("_Answer")
_Body = bytes | bytearray


class Intake:
    """Takes in the bodies of one daemon."""

    def __init__(self, bounds: Bounds, underway: Underway) -> None:
        """Keep what counts the requests; one that waits for its caller does not count."""
        self._bodies = BodyReader(bounds)
        self._underway = underway

    @property
    def held_bytes(self) -> int:
        """Bytes of large bodies in memory."""
        return self._bodies.held_bytes

    async def serve(
        self,
        exchange: Exchange,
        limit: BodyLimit,
        work: Callable[[Exchange, _Body], Awaitable[_Answer]],
        send: Callable[[Exchange, _Answer], Awaitable[bool]],
    ) -> bool:
        """Read the body, work out the answer, and send it; tells whether the connection stays open."""
        request = exchange.request
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            return await exchange.refuse(_ENCODED)
        body: _Body | Refusal | None = self._bodies.arrived(request, limit)
        if isinstance(body, Refusal):
            return await exchange.refuse(body)
        if body is not None:
            return await send(exchange, await work(exchange, body))
        place = self._bodies.place()
        try:
            with self._underway.paused(), spent_on("body_seconds"):
                body = await self._bodies.read(request, place, limit)
            if isinstance(body, Refusal):
                return await exchange.refuse(body, keep_alive=False)
            answer = await work(exchange, body)
            del body
        finally:
            place.leave()
        return await send(exchange, answer)
