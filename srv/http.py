"""HTTP: which path does what, and the way of a request from its headers to its answer.

One handler does everything in a row, without layers of middleware: Host, Origin, token, path, body, dispatch, answer.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import structlog
from aiohttp import hdrs

from rpc.bodies import OffLoop
from rpc.files import Files
from rpc.pretty import DIRECT_BYTES_MAX, indented, indented_in_steps
from rpc.trace import TRACE
from srv.auth import FULL, NO_TOKEN, Door
from srv.bodies import BodyLimit
from srv.bounds import Bounds
from srv.connection import Connection
from srv.connections import Connections
from srv.exchange import Exchange
from srv.files import FileRoutes
from srv.intake import Intake
from srv.refusals import Refusal, Refusals
from srv.replies import JSON
from srv.requests import Request
from srv.routes import READ, Route
from srv.slow_calls import SlowCalls
from srv.underway import Underway

_log = structlog.get_logger()

_NOT_FOUND: Final = Refusal(HTTPStatus.NOT_FOUND, "nothing is here; POST /rpc is where the methods are")
_NO_PATH: Final = Refusal(HTTPStatus.BAD_REQUEST, "the target of the request must be a path")
_NOT_JSON: Final = Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "from a browser, Content-Type must be application/json")
_NOT_CHUNKED: Final = Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding can only be chunked, and that in HTTP/1.1")
_STOPPING: Final = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the daemon is shutting down")
_NOT_READY: Final = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the store cannot be read")

_PREFLIGHT: Final = (
    b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT\r\n"
    b"Access-Control-Allow-Headers: authorization, content-type, if-match, if-none-match, if-range, range, "
    b"x-authkey, x-authnonce, x-request-id\r\n"
    b"Access-Control-Max-Age: 600\r\n"
)

_ASKED_METHOD: Final = hdrs.ACCESS_CONTROL_REQUEST_METHOD


class Answer(Protocol):
    """What a dispatcher answers."""

    @property
    def pieces(self) -> Iterable[bytes]:
        """The answer in pieces, in order."""

    @property
    def size_bytes(self) -> int:
        """Their size together."""

    def release(self) -> None:
        """Let go of the pieces, once they are sent or cannot be."""


class Dispatcher(Protocol):
    """What HTTP needs of the protocol above it."""

    async def answer(self, body: bytes | bytearray) -> Answer | None:
        """Answer a request body; None where nothing is to be answered. Does not raise."""


@dataclass(frozen=True, slots=True)
class Dispatchers:
    """Who answers JSON-RPC.

    Attributes:
        full: does what it is asked.
        read_only: for callers who may not change anything: refuses what changes with READ_ONLY.
        stopping: once we stop: refuses everything with SHUTTING_DOWN.
    """

    full: Dispatcher
    read_only: Dispatcher
    stopping: Dispatcher


class HttpService:
    """Answers the requests of all listeners.

    Args:
        dispatchers: answer JSON-RPC.
        is_ready: tells whether the store can be read.
        metrics: gives the metrics in the form that an `Accept` header asks for: content type and page.
        openrpc: the OpenRPC document, JSON.
        files: the files of sessions.
        bounds: what callers may take.
        slow_call_ms: from when on a request is slow.
    """

    def __init__(
        self,
        dispatchers: Dispatchers,
        *,
        files: Files,
        is_ready: Callable[[], Awaitable[bool]],
        metrics: Callable[[str], Awaitable[tuple[bytes, bytes]]],
        openrpc: bytes,
        bounds: Bounds,
        slow_call_ms: int,
    ) -> None:
        """Keep the collaborators."""
        self._dispatchers = dispatchers
        self._is_ready = is_ready
        self._page_of_metrics = metrics
        self._openrpc = openrpc
        self._bounds = bounds
        self._rpc_limit = BodyLimit("body_bytes_max", bounds.body_bytes_max)
        self._connections: set[Connection] = set()
        self._listeners: list[Connections] = []
        self._is_stopping = False
        self._refuses_all = False
        self._underway = Underway()
        self._intake = Intake(bounds, self._underway)
        self._off_loop = OffLoop()
        self._files = FileRoutes(files, self._intake, bounds, self._takes, self._off_loop)
        self._refusals = Refusals()
        self._slow_calls = SlowCalls(slow_call_ms)
        self._routes: dict[str, Route] = {
            "/rpc": Route(("POST",), self._rpc),
            "/readyz": Route(READ, self._readyz),
            "/metrics": Route(READ, self._metrics),
            "/openrpc.json": Route(READ, self._openrpc_json),
            "/healthz": Route(READ, self._healthz),
        }

    @property
    def body_memory_bytes(self) -> int:
        """Bytes of large bodies in memory."""
        return self._intake.held_bytes

    def status(self) -> dict[str, Any]:
        """Describe what goes on between us and our callers, for `srv:status`."""
        return {
            "connections": len(self._connections),
            "requests_underway": self._underway.requests,
            "refused": {str(status): number for status, number in sorted(self._refusals.by_status.items())},
            "slow_calls": self._slow_calls.count,
        }

    def listener(self, door: Door) -> Connections:
        """Make the connections of a listener that has this door."""
        connections = Connections(partial(self._handle, door), self._bounds, self._connections, self._refusals)
        self._listeners.append(connections)
        return connections

    def begin_to_stop(self) -> None:
        """Refuse what arrives from now on; what has arrived is answered."""
        self._is_stopping = True
        for listener in self._listeners:
            listener.begin_to_stop()

    def refuse_all(self) -> None:
        """Refuse also what has arrived and was not taken up yet: there is no more time for it."""
        self._refuses_all = True

    async def answered(self) -> None:
        """Wait until whatever has arrived whole is answered. Nobody waits for what is half sent."""
        while True:
            # Twice around the loop, so that what lies in the sockets' buffers is read and handed on.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self._underway.requests:
                await self._underway.wait_for_none()
            elif not any(listener.has_queued for listener in self._listeners):
                return

    async def close(self, seconds: float) -> None:
        """Close all connections, once what was written to them has left, or that many seconds are over."""
        await asyncio.gather(*(listener.close_all(seconds) for listener in self._listeners))
        self._refusals.close()
        self._slow_calls.close()

    async def _handle(self, door: Door, request: Request) -> bool:
        self._underway.begin()
        exchange = Exchange(request, self._refusals)
        TRACE.set(exchange.trace)
        try:
            return await self._serve(door, exchange)
        except ConnectionError as error:
            _log.debug("caller_gone", reason=str(error))
            return False
        except Exception:  # noqa: BLE001 - told to the log in full, to the caller by an id only
            error_id = secrets.token_hex(8)
            _log.exception("request_failed", error_id=error_id)
            return await self._fail(exchange, error_id)
        finally:
            self._underway.end()
            self._slow_calls.note(request, exchange.trace)

    def _serve(self, door: Door, exchange: Exchange) -> Awaitable[bool]:
        # From here to the reading of the body nothing is a coroutine: each would cost a part of a microsecond.
        request = exchange.request
        refusal = door.refuse_stranger(request.headers)
        if refusal is not None:
            return self._refuse_caller(exchange, refusal)
        if exchange.origin is not None:
            exchange.let_page_read()
            if request.method == "OPTIONS" and _ASKED_METHOD in request.headers:
                return self._preflight(exchange)
        path = request.path.partition("?")[0]
        if path == "/healthz":
            if (proof := door.proof(request.headers)) is not None:
                exchange.marks += f"X-AuthProof: {proof}\r\n".encode()
        elif request.connection.is_trusted:
            exchange.admit(FULL)
        elif (rights := door.rights(request.headers)) is not None:
            exchange.admit(rights)
        else:
            return self._refuse_caller(exchange, NO_TOKEN)
        return self._route(exchange, path)

    def _route(self, exchange: Exchange, path: str) -> Awaitable[bool]:
        request = exchange.request
        encodings = request.headers.getall(hdrs.TRANSFER_ENCODING, None)
        if encodings is not None and not (request.speaks_1_1 and [each.lower() for each in encodings] == ["chunked"]):
            return exchange.refuse(_NOT_CHUNKED)
        route = self._routes.get(path) or self._files.route(path)
        if route is None:
            return exchange.refuse(_NOT_FOUND if path.startswith("/") else _NO_PATH)
        if request.method not in route.methods:
            allowed = ", ".join(route.methods)
            wrong_method = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {allowed}")
            return exchange.refuse(wrong_method, f"Allow: {allowed}\r\n".encode())
        return route.serve(exchange)

    def _refuse_caller(self, exchange: Exchange, refusal: Refusal) -> Awaitable[bool]:
        """Refuse who may not come in, and say so in the log."""
        self._refusals.tell(exchange.request, refusal)
        return exchange.refuse(refusal)

    def _rpc(self, exchange: Exchange) -> Awaitable[bool]:
        if exchange.origin is not None and exchange.request.content_type != "application/json":
            return exchange.refuse(_NOT_JSON)
        return self._intake.serve(exchange, self._rpc_limit, self._answer_rpc, self._reply_rpc)

    def _answer_rpc(self, exchange: Exchange, body: bytes | bytearray) -> Awaitable[Answer | None]:
        dispatchers = self._dispatchers
        if not self._takes(exchange.request):
            return dispatchers.stopping.answer(body)
        return (dispatchers.full if exchange.rights.may_change else dispatchers.read_only).answer(body)

    def _takes(self, request: Request) -> bool:
        """Tell whether a request is still taken up: always, but when we stop only if it had arrived by then."""
        return not self._is_stopping or (not self._refuses_all and request.connection.is_welcome)

    async def _reply_rpc(self, exchange: Exchange, answer: Answer | None) -> bool:
        if answer is None:
            return await exchange.reply(HTTPStatus.NO_CONTENT)
        try:
            if exchange.is_pretty:
                return await self._reply_pretty(exchange, answer)
            pieces = (*answer.pieces, b"\n")
            return await exchange.reply(HTTPStatus.OK, pieces, answer.size_bytes + 1)
        finally:
            answer.release()

    async def _reply_pretty(self, exchange: Exchange, answer: Answer) -> bool:
        """Answer in the form for people; a large answer is brought into it while it is sent, in chunks."""
        if answer.size_bytes <= DIRECT_BYTES_MAX:
            body = indented(b"".join(answer.pieces)) + b"\n"
            return await exchange.reply(HTTPStatus.OK, (body,), len(body))
        async with aclosing(indented_in_steps(answer.pieces, self._off_loop)) as pieces:
            seconds_max = self._bounds.answer_seconds_max
            return await exchange.stream(HTTPStatus.OK, pieces, None, b"", content_type=JSON, seconds_max=seconds_max)

    async def _healthz(self, exchange: Exchange) -> bool:
        return await exchange.reply_json({"status": "alive"})

    async def _readyz(self, exchange: Exchange) -> bool:
        if self._is_stopping:
            return await exchange.refuse(_STOPPING)
        if not await self._is_ready():
            return await exchange.refuse(_NOT_READY)
        return await exchange.reply_json({"status": "ready"})

    async def _metrics(self, exchange: Exchange) -> bool:
        content_type, page = await self._page_of_metrics(exchange.request.headers.get(hdrs.ACCEPT, ""))
        return await exchange.reply(HTTPStatus.OK, (page,), len(page), content_type=content_type)

    async def _openrpc_json(self, exchange: Exchange) -> bool:
        return await exchange.reply(HTTPStatus.OK, (self._openrpc,), len(self._openrpc))

    async def _preflight(self, exchange: Exchange) -> bool:
        private = exchange.request.headers.get("Access-Control-Request-Private-Network") == "true"
        extra = b"Access-Control-Allow-Private-Network: true\r\n" if private else b""
        return await exchange.reply(HTTPStatus.NO_CONTENT, headers=_PREFLIGHT + extra)

    async def _fail(self, exchange: Exchange, error_id: str) -> bool:
        if exchange.request.is_answered:
            return False
        failure = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", details={"error_id": error_id})
        return await exchange.refuse(failure, keep_alive=False)
