"""One connection: what arrives on it, what rubbish is answered, whether it is welcome when we stop, and how it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from rpc.trace import NOBODY_S, TRACE
from srv import replies
from srv.auth import is_same_user
from srv.refusals import RETRY_SHORTLY, Refusal
from srv.requests import Request

if TYPE_CHECKING:
    from srv.connections import Connections

HALF_CLOSED_LOOK_SECONDS: Final = 0.5
"""How often we look whether a caller that will send nothing more still waits for its answer."""

LINGERING_SECONDS: Final = 2
"""How long an unwanted body is read and dropped after its refusal, so that the caller gets to read the refusal."""

_FULL: Final = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again shortly", RETRY_SHORTLY, "OVERLOADED"
)
_NOT_HTTP: Final = "this is not a valid HTTP request"
_INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS: Final = (HttpVersion11, HttpVersion10)
"""Of HTTP; aiohttp lets through a line without any, and one that says 2.0, which is spoken in another way."""

_INT: Final = struct.Struct("i")

_log = structlog.get_logger()


class Connection(RequestHandler):
    """One connection.

    Attributes:
        bounds: what it may take.
        is_trusted: it came over a Unix socket from a process of our own user.
        is_known: a request that came over it was let in.
        peer: the socket over which TLS hands are shaken, until that is done.
        idle_since: when it was opened or the last whole request head came, in seconds of the event loop's clock.
    """

    __slots__ = (
        "_arrived_bytes",
        "_half_closed_look",
        "_head_timer",
        "_is_late",
        "_link",
        "_newest_body",
        "_owner",
        "_received_bytes",
        "_request",
        "_welcome",
        "bounds",
        "idle_since",
        "is_known",
        "is_trusted",
        "peer",
    )

    def __init__(self, owner: Connections, **settings: Any) -> None:
        """Belong to the connections of a listener."""
        super().__init__(owner, **settings)
        self._owner = owner
        self.bounds = owner.bounds
        self._request: Request | None = None
        self._link: asyncio.Transport | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._half_closed_look: asyncio.TimerHandle | None = None
        self._newest_body: StreamReader | None = None
        self._received_bytes = 0
        self._arrived_bytes: int | None = None
        self._is_late = False
        self._welcome = 0
        self.is_trusted = False
        self.is_known = False
        self.peer: socket.socket | None = None
        self.idle_since = self._loop.time()

    @property
    def peer_kind(self) -> str:
        """Say which way it came: `tcp` or `unix`."""
        peer = None if self._link is None else self._link.get_extra_info("socket")
        return "unix" if peer is not None and peer.family == socket.AF_UNIX else "tcp"

    @property
    def has_queued(self) -> bool:
        """Tell whether another request has arrived behind the one that is being answered."""
        return bool(self._messages)

    @property
    def has_unread(self) -> bool:
        """Tell whether something that had arrived when we began to stop has not been read yet."""
        if self._arrived_bytes is None or self._link is None or self._link.is_closing():
            return False
        return self._received_bytes < self._arrived_bytes

    @property
    def ends(self) -> bool:
        """Tell whether nothing further will be answered once all that has arrived is."""
        return self._half_closed_look is not None or self._arrived_bytes is not None

    @property
    def is_spent(self) -> bool:
        """Tell whether it has had as many requests as a connection may have, so that the next answer is its last."""
        return self._request_count - len(self._messages) >= self.bounds.requests_per_connection_max

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is in progress; at most an answer waits to be taken."""
        if self._link is None or self._link.is_closing():
            return self._link is not None
        return not self._messages and self._waiter is not None and not self._waiter.done()

    @property
    def may_make_room(self) -> bool:
        """Tell whether it may be ended for another one: nothing is being done on it for anybody who was let in."""
        return not self.is_known or self.is_idle

    def begin_to_stop(self) -> None:
        """Remember how much has arrived: requests among it are welcome, later ones are not."""
        if self.peer is not None:
            self.abort()
        self._arrived_bytes = self._received_bytes + self._waiting_bytes()
        self._welcome = self._request_count

    @property
    def is_welcome(self) -> bool:
        """Tell whether all of the request in progress had arrived when we began to stop, if we did."""
        return self._arrived_bytes is None or self._request_count - len(self._messages) <= self._welcome

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or answer that there are too many."""
        link = cast("asyncio.Transport", transport)
        if not self._owner.admit(self):
            self._force_close = True
            self._owner.refusals.count(_FULL.status)
            body = replies.json_body(_FULL.facts)
            head = replies.head(_FULL.status, len(body), _FULL.headers, keep_alive=False)
            link.write(head + body)
            link.close()
            return
        self.peer = None
        peer = transport.get_extra_info("socket")
        self.is_trusted = peer is not None and peer.family == socket.AF_UNIX and is_same_user(peer, os.geteuid())
        self._link = link
        self._head_timer = self._loop.call_later(self.bounds.head_seconds_max, self._expect_head)
        super().connection_made(transport)
        if self._owner.is_stopping:
            self.begin_to_stop()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection, and give up what is being done for it."""
        self._owner.forget(self)
        for timer in (self._head_timer, self._half_closed_look):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; tell whoever reads a body that it will not come to its end.

        aiohttp 3.14 queues the answer to broken chunks behind the request whose body they are, which waits for that body.
        """
        if (
            data
            and self._arrived_bytes is not None
            and not self._is_late
            and self._received_bytes >= self._arrived_bytes
        ):
            self._is_late = True
            self._welcome -= self._newest_body is not None and not self._newest_body.is_eof()
        self._received_bytes += len(data)
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self.idle_since = self._loop.time()
            if self._messages:
                message, self._newest_body = self._messages[-1]
                if not isinstance(message, RawRequestMessage):
                    message.exc.__traceback__ = None  # holds what has arrived, and is held by it
            if not self._is_late:
                self._welcome = self._request_count
        if self._messages and self._request is not None:
            body = self._request.body
            if not body.is_eof() and body.exception() is None:
                body.set_exception(RequestPayloadError("what followed is not a body"))

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Go on reading, where it was held back. aiohttp asks for it with every body, and would parse nothing once more."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp never stays open, and says so in its type
        """Close, unless something that has arrived whole is yet to be answered: `nc -N` and others end their side first."""
        if self._force_close or self._close or not self._request_count or self.is_idle:
            return False
        if self._half_closed_look is not None:
            return True
        if self._link is None or self._link.get_extra_info("sslcontext") is not None:
            return False  # TLS has no half closed connections
        body = self._newest_body
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(RequestPayloadError("the caller has ended amid its body"))
        self._half_closed_look = self._loop.call_later(HALF_CLOSED_LOOK_SECONDS, self._look_half_closed)
        return True

    def _look_half_closed(self) -> None:
        """Close a half closed connection that waits for nothing, or whose caller has gone altogether.

        Nothing arrives that would tell the two kinds of ending apart. A caller that is there takes an interim answer,
        which every client of HTTP/1.1 must expect at any time; the system of one that has gone refuses it, and we find
        that at the next look.
        """
        link, request = self._link, self._request
        if link is None or link.is_closing():
            return
        if self.is_idle:
            link.close()
            return
        peer = link.get_extra_info("socket")
        if peer is None or peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            link.abort()
            return
        if request is not None and not request.is_answered and request.speaks_1_1:
            link.write(_INTERIM)
        self._half_closed_look = self._loop.call_later(HALF_CLOSED_LOOK_SECONDS, self._look_half_closed)

    def _expect_head(self) -> None:
        if not self._request_count:
            self.abort()

    def _waiting_bytes(self) -> int:
        """Return how much the system holds for us that we have not read. Of TLS it cannot tell: nobody waits for that then."""
        if self._link is not None and self._link.get_extra_info("sslcontext") is not None:
            return 0
        peer = self._link.get_extra_info("socket") if self._link is not None and not self._link.is_closing() else None
        if peer is None:
            return 0
        try:
            waiting = fcntl.ioctl(peer.fileno(), termios.FIONREAD, bytes(_INT.size))
        except OSError:
            return 0
        return int(_INT.unpack(waiting)[0])

    async def drain(self) -> None:
        """Wait until the caller has taken enough of what was written. Raises `ConnectionError` where it has gone."""
        await self._drain_helper()

    def abort(self) -> None:
        """End the connection, with whatever was to be sent on it."""
        if self._link is not None:
            self._link.abort()
        elif self.peer is not None:
            with suppress(OSError):
                self.peer.shutdown(socket.SHUT_RDWR)

    async def start(self) -> None:
        """Answer what arrives, one request after the other, until the connection ends.

        aiohttp's own loop makes a task, a large request object and a response for each, which costs more than the answers
        to most of our calls.
        """
        try:
            while not self._force_close:
                message, body = await self._next_message()
                if not await self._answer(message, body):
                    break
                if self._messages:
                    # Who sends a thousand requests at once waits for its turn after each, like everybody else.
                    await asyncio.sleep(0)
                self._next_keepalive_close_time = self._loop.time() + self.bounds.idle_seconds_max
                if self._keepalive_handle is None:
                    self._keepalive_handle = self._loop.call_at(
                        self._next_keepalive_close_time, self._process_keepalive
                    )
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception:  # noqa: BLE001 - told to the log; this connection ends and the others go on
            _log.exception("connection_failed")
        if self.transport is not None:
            self.transport.close()

    async def _next_message(self) -> tuple[Any, StreamReader]:
        """Wait for the head of a request; take in more of those that wait where the parser was held back."""
        if not self._messages:
            try:
                self._waiter = self._loop.create_future()
                await self._waiter
            finally:
                self._waiter = None
        message, body = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        return message, body

    async def _answer(self, message: Any, body: StreamReader) -> bool:
        """Answer one request; tells whether the connection stays open."""
        if not isinstance(message, RawRequestMessage):
            self._answer_rubbish(HTTPStatus(message.status), type(message.exc).__name__)
            return False
        if message.version not in _VERSIONS:
            self._answer_rubbish(HTTPStatus.BAD_REQUEST, "version")
            return False
        request = self._request = Request(message, body, self)
        try:
            keep_alive = await self._owner.handler(request)
            if not body.is_eof():
                await self._drop(body)
                keep_alive = False
        finally:
            self._request = None
            if (failure := body.exception()) is not None:
                # Body, error and traceback hold each other, and with them all that had arrived.
                failure.__traceback__ = None
        # What follows an upgrade that was not taken up is not ours to read; what stands before it is yet to be answered.
        return keep_alive and not self._close and (bool(self._messages) or not self._upgraded)

    async def _drop(self, body: StreamReader) -> None:
        """Read on for a while what nobody wanted, so that the caller gets to read why."""
        try:
            async with asyncio.timeout(LINGERING_SECONDS):
                while not self._force_close and not body.is_eof():
                    await body.readany()
        except TimeoutError:
            pass
        except RequestPayloadError:
            _log.debug("body_broke_off")

    def _answer_rubbish(self, status: HTTPStatus, kind: str) -> None:
        """Answer what is no HTTP. aiohttp would put the rubbish, which may hold a token, into the log and into its answer."""
        TRACE.set(NOBODY_S)
        _log.debug("not_http", status=status, kind=kind)
        refusal = Refusal(status, _NOT_HTTP)
        self._owner.refusals.count(refusal.status)
        if self.transport is not None:
            body = replies.json_body(refusal.facts)
            self.transport.write(replies.head(refusal.status, len(body), keep_alive=False) + body)
