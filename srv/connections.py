"""The connections of one listener: how many there may be, and who makes room for others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from srv.bounds import Bounds
from srv.connection import Connection
from srv.refusals import Refusals
from srv.requests import Request

READ_BUFFER_BYTES: Final = 64 * 2**10
"""Read ahead per connection while nobody takes the body; twice this is the most a connection that waits can hold."""

Handler = Callable[[Request], Awaitable[bool]]
"""Answers a request; returns whether the connection stays open."""


class Connections(Server):
    """The connections of one listener.

    Attributes:
        handler: answers every request.
        bounds: what they may take.
        refusals: counts what is refused.
        is_stopping: what arrives from now on is not welcome.
    """

    def __init__(self, handler: Handler, bounds: Bounds, everybody: set[Connection], refusals: Refusals) -> None:
        """Keep the one handler of all requests, and count in among the connections of all listeners."""
        # What nobody waits for any more is not worked off. The writer completes what it has taken into a batch.
        super().__init__(_never_called, handler_cancellation=True)
        self.handler = handler
        self.bounds = bounds
        self.refusals = refusals
        self._everybody = everybody
        self._open: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self.is_stopping = False

    def __call__(self) -> Connection:
        """Make the protocol of a connection that is being accepted."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self.bounds.idle_seconds_max,
            read_bufsize=READ_BUFFER_BYTES,
            # A small request could otherwise unfold into a body of any size.
            auto_decompress=False,
            access_log=None,
            logger=logging.getLogger(__name__),
        )

    def admit(self, connection: Connection) -> bool:
        """Count a connection in, where there are enough in the place of another one; False if none can make room.

        Strangers go first, whatever they are doing, then who has been idle longest. Doing it twice is harmless.
        """
        if connection in self._everybody:
            return True
        if len(self._everybody) >= self.bounds.connections_max:
            expendable = [each for each in self._everybody if each.may_make_room]
            if not expendable:
                return False
            first = min(expendable, key=lambda each: (each.is_known, each.idle_since))
            self._everybody.discard(first)
            first.abort()
        self._everybody.add(connection)
        self._open.add(connection)
        self._all_closed.clear()
        return True

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        self._everybody.discard(connection)
        self._open.discard(connection)
        if not self._open:
            self._all_closed.set()

    @property
    def has_queued(self) -> bool:
        """Tell whether a request has arrived whole that nobody answers yet."""
        return any(connection.has_queued or connection.has_unread for connection in self._open)

    def begin_to_stop(self) -> None:
        """Tell apart what has arrived by now and what comes after."""
        self.is_stopping = True
        for connection in self._open:
            connection.begin_to_stop()

    async def close_all(self, seconds: float) -> None:
        """Close every connection; what was written has that many seconds to leave."""
        for connection in list(self._open):
            connection.force_close()
        if not self._open:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._all_closed.wait()
        except TimeoutError:
            for connection in list(self._open):
                connection.abort()


async def _never_called(_request: BaseRequest) -> StreamResponse:
    """Stand in for the handler that aiohttp's own loop would call."""
    raise AssertionError("requests are answered by Connection.start")
