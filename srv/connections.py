"""The connections of one listener: how many there may be, what rubbish on them is answered, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.web_request import BaseRequest

from srv import replies
from srv.auth import is_same_user

CONNECTIONS_MAX: Final = 1_000
"""A dozen panes need a dozen; the bound keeps open files and read buffers finite."""

IDLE_SECONDS_MAX: Final = 75
"""How long a connection may stay without a whole request head: longer than clients keep theirs in a pool."""

LINGERING_SECONDS: Final = 2
"""How long an unwanted body is read and dropped after its refusal, so that the caller gets to read the refusal."""

READ_BUFFER_BYTES: Final = 64 * 2**10
"""Read ahead per connection while nobody takes the body; twice this is the most a connection that waits can hold."""

_log = structlog.get_logger()


class Connection(web.RequestHandler):
    """One connection.

    Attributes:
        is_trusted: it came over a Unix socket from a process of our own user.
    """

    __slots__ = ("_link", "_owner", "is_trusted")

    def __init__(self, owner: Connections, **settings: Any) -> None:
        """Belong to the connections of a listener."""
        super().__init__(owner, **settings)
        self._owner = owner
        self._link: asyncio.Transport | None = None
        self.is_trusted = False

    @property
    def has_queued(self) -> bool:
        """Tell whether another request has arrived behind the one that is being answered."""
        return bool(self._messages)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or answer that there are too many."""
        if not self._owner.admit(self):
            self._force_close = True
            body = replies.json_body({"error": "too many connections; try again shortly"})
            link = cast("asyncio.Transport", transport)
            link.write(replies.head(HTTPStatus.SERVICE_UNAVAILABLE, len(body), keep_alive=False) + body)
            link.close()
            return
        peer = transport.get_extra_info("socket")
        self.is_trusted = peer is not None and peer.family == socket.AF_UNIX and is_same_user(peer, os.geteuid())
        self._link = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._owner.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; tell whoever reads a body that it will not come to its end.

        aiohttp 3.14 queues the answer to broken chunks behind the request whose body they are, which waits for that body.
        """
        super().data_received(data)
        if self._messages and self._current_request is not None:
            body = self._current_request.content
            if not body.is_eof() and body.exception() is None:
                body.set_exception(web.RequestPayloadError("what followed is not a body"))

    def abort(self) -> None:
        """End the connection, with whatever was to be sent on it."""
        if self._link is not None:
            self._link.abort()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp passes it
    ) -> web.StreamResponse:
        """Answer what is no HTTP. aiohttp would put the rubbish, which may hold a token, into the log and into its answer."""
        _log.debug("not_http", status=status, kind=type(exc).__name__)
        if request.transport is not None and request.writer.output_size == 0:
            body = replies.json_body({"error": "this is not a valid HTTP request"})
            request.transport.write(replies.head(HTTPStatus(status), len(body), keep_alive=False) + body)
        return replies.CLOSE

    def log_exception(self, *_args: Any, **_kw: Any) -> None:
        """Log a failure of the connection, not what was on it."""
        _log.exception("connection_failed")


class Connections(web.Server):
    """The connections of one listener."""

    def __init__(self, handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        """Keep the one handler of all requests."""
        super().__init__(handler)
        self._open: set[Connection] = set()
        self._all_closed = asyncio.Event()

    def __call__(self) -> Connection:
        """Make the protocol of a connection that is being accepted."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS_MAX,
            lingering_time=LINGERING_SECONDS,
            read_bufsize=READ_BUFFER_BYTES,
            # A small request could otherwise unfold into a body of any size.
            auto_decompress=False,
            access_log=None,
            logger=logging.getLogger(__name__),
        )

    def admit(self, connection: Connection) -> bool:
        """Count a connection in; False where there are enough."""
        if len(self._open) >= CONNECTIONS_MAX:
            return False
        self._open.add(connection)
        self._all_closed.clear()
        return True

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        self._open.discard(connection)
        if not self._open:
            self._all_closed.set()

    @property
    def has_queued(self) -> bool:
        """Tell whether a request has arrived whole that nobody answers yet."""
        return any(connection.has_queued for connection in self._open)

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
