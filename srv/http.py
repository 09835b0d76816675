"""HTTP: which path does what, and the way of a request from its headers to its answer.

One handler does everything in a row, without layers of middleware: Host, Origin, token, path, body, dispatch, answer.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import structlog
from aiohttp import hdrs

from srv.auth import Door, Refusal
from srv.bodies import BodyReader
from srv.connections import Connections
from srv.replies import json_body, reply
from srv.requests import Request

_log = structlog.get_logger()

ALIVE: Final = json_body({"status": "alive"})

_NOT_FOUND: Final = Refusal(HTTPStatus.NOT_FOUND, "nothing is here; POST /rpc is where the methods are")
_NO_PATH: Final = Refusal(HTTPStatus.BAD_REQUEST, "the target of the request must be a path")
_NOT_JSON: Final = Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "from a browser, Content-Type must be application/json")
_NOT_CHUNKED: Final = Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding can only be chunked")
_ENCODED: Final = Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "bodies are taken as they are, without Content-Encoding")

_PREFLIGHT: Final = (
    b"Access-Control-Allow-Methods: GET, HEAD, POST\r\n"
    b"Access-Control-Allow-Headers: authorization, content-type, x-authkey\r\n"
    b"Access-Control-Max-Age: 600\r\n"
)


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


class HttpService:
    """Answers the requests of all listeners.

    Args:
        dispatcher: answers JSON-RPC.
        refuser: answers it once we stop: each call with SHUTTING_DOWN.
        is_ready: tells whether the store can be read.
        openrpc: the OpenRPC document, JSON.
        body_bytes_max: the largest body.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        refuser: Dispatcher,
        *,
        is_ready: Callable[[], Awaitable[bool]],
        openrpc: bytes,
        body_bytes_max: int,
    ) -> None:
        """Keep the collaborators."""
        self._dispatcher = dispatcher
        self._refuser = refuser
        self._is_ready = is_ready
        self._openrpc = openrpc
        self._bodies = BodyReader(body_bytes_max)
        self._listeners: list[Connections] = []
        self._is_stopping = False
        self._refuses_all = False
        self._answering = 0
        self._quiet = asyncio.Event()
        self._routes: dict[str, tuple[tuple[str, ...], Callable[[Request, bytes], Awaitable[bool]]]] = {
            "/rpc": (("POST",), self._rpc),
            "/readyz": (("GET", "HEAD"), self._readyz),
            "/openrpc.json": (("GET", "HEAD"), self._openrpc_json),
            "/healthz": (("GET", "HEAD"), self._healthz),
        }

    def listener(self, door: Door) -> Connections:
        """Make the connections of a listener that has this door."""
        connections = Connections(partial(self._handle, door))
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
            if self._answering:
                self._quiet.clear()
                await self._quiet.wait()
            elif not any(listener.has_queued for listener in self._listeners):
                return

    async def close(self, seconds: float) -> None:
        """Close all connections, once what was written to them has left, or that many seconds are over."""
        await asyncio.gather(*(listener.close_all(seconds) for listener in self._listeners))

    async def _handle(self, door: Door, request: Request) -> bool:
        self._answering += 1
        try:
            return await self._serve(door, request)
        except ConnectionError as error:
            _log.debug("caller_gone", reason=str(error))
            return False
        except Exception:  # noqa: BLE001 - told to the log in full, to the caller by an id only
            error_id = secrets.token_hex(8)
            _log.exception("request_failed", error_id=error_id)
            return await self._fail(request, error_id)
        finally:
            self._answering -= 1
            if not self._answering:
                self._quiet.set()

    async def _serve(self, door: Door, request: Request) -> bool:
        headers = request.headers
        refusal = door.refuse_stranger(headers)
        if refusal is not None:
            return await self._refuse(request, refusal)
        origin = headers.get(hdrs.ORIGIN)
        marks = b"" if origin is None else f"Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n".encode()
        if origin is not None and request.method == "OPTIONS" and hdrs.ACCESS_CONTROL_REQUEST_METHOD in headers:
            return await self._preflight(request, marks)
        path = request.path.partition("?")[0]
        refusal = self._refuse_caller(door, request, path)
        if refusal is not None:
            return await self._refuse(request, refusal, marks)
        route = self._routes.get(path)
        if route is None:
            return await self._refuse(request, _NOT_FOUND if path.startswith("/") else _NO_PATH, marks)
        methods, serve = route
        if request.method not in methods:
            allowed = ", ".join(methods)
            wrong_method = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {allowed}")
            return await self._refuse(request, wrong_method, marks + f"Allow: {allowed}\r\n".encode())
        return await serve(request, marks)

    def _refuse_caller(self, door: Door, request: Request, path: str) -> Refusal | None:
        """Refuse who does not show the token, then what could be read in two ways."""
        is_open = path == "/healthz" or request.connection.is_trusted
        if not is_open and (refusal := door.refuse_tokenless(request.headers)) is not None:
            _log.info("caller_refused", reason="no token")
            return refusal
        encodings = request.headers.getall(hdrs.TRANSFER_ENCODING, None)
        if encodings is not None and [each.lower() for each in encodings] != ["chunked"]:
            return _NOT_CHUNKED
        return None

    async def _rpc(self, request: Request, marks: bytes) -> bool:
        headers = request.headers
        if marks and request.content_type != "application/json":
            return await self._refuse(request, _NOT_JSON, marks)
        if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            return await self._refuse(request, _ENCODED, marks)
        body = self._bodies.arrived(request)
        if body is None:
            return await self._rpc_later(request, marks)
        if isinstance(body, Refusal):
            return await self._refuse(request, body, marks)
        return await self._reply_rpc(request, await self._dispatcher_for(request).answer(body), marks)

    async def _rpc_later(self, request: Request, marks: bytes) -> bool:
        """Serve a request whose body is still on its way. Until it is here, nobody who stops us waits for it."""
        place = self._bodies.place()
        self._pause_answering()
        try:
            try:
                body = await self._bodies.read(request, place)
            finally:
                self._answering += 1
            if isinstance(body, Refusal):
                return await self._refuse(request, body, marks, keep_alive=False)
            answer = await self._dispatcher_for(request).answer(body)
            del body
        finally:
            place.leave()
        return await self._reply_rpc(request, answer, marks)

    def _pause_answering(self) -> None:
        self._answering -= 1
        if not self._answering:
            self._quiet.set()

    def _dispatcher_for(self, request: Request) -> Dispatcher:
        if not self._is_stopping:
            return self._dispatcher
        is_welcome = not self._refuses_all and request.connection.is_welcome
        return self._dispatcher if is_welcome else self._refuser

    async def _reply_rpc(self, request: Request, answer: Answer | None, marks: bytes) -> bool:
        if answer is None:
            return await self._reply(request, HTTPStatus.NO_CONTENT, (), 0, marks)
        try:
            return await self._reply(request, HTTPStatus.OK, answer.pieces, answer.size_bytes, marks)
        finally:
            answer.release()

    async def _healthz(self, request: Request, marks: bytes) -> bool:
        return await self._reply(request, HTTPStatus.OK, (ALIVE,), len(ALIVE), marks)

    async def _readyz(self, request: Request, marks: bytes) -> bool:
        if self._is_stopping:
            return await self._refuse(
                request, Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the daemon is shutting down"), marks
            )
        if not await self._is_ready():
            return await self._refuse(
                request, Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the store cannot be read"), marks
            )
        body = json_body({"status": "ready"})
        return await self._reply(request, HTTPStatus.OK, (body,), len(body), marks)

    async def _openrpc_json(self, request: Request, marks: bytes) -> bool:
        return await self._reply(request, HTTPStatus.OK, (self._openrpc,), len(self._openrpc), marks)

    async def _preflight(self, request: Request, marks: bytes) -> bool:
        private = request.headers.get("Access-Control-Request-Private-Network") == "true"
        extra = b"Access-Control-Allow-Private-Network: true\r\n" if private else b""
        return await self._reply(request, HTTPStatus.NO_CONTENT, (), 0, marks + _PREFLIGHT + extra)

    async def _refuse(
        self, request: Request, refusal: Refusal, headers: bytes = b"", *, keep_alive: bool = True
    ) -> bool:
        body = json_body({"error": refusal.reason})
        headers += refusal.headers
        return await self._reply(request, refusal.status, (body,), len(body), headers, keep_alive=keep_alive)

    async def _fail(self, request: Request, error_id: str) -> bool:
        if request.is_answered:
            return False
        body = json_body({"error": "internal error", "error_id": error_id})
        return await reply(request, HTTPStatus.INTERNAL_SERVER_ERROR, (body,), len(body), keep_alive=False)

    def _reply(
        self,
        request: Request,
        status: HTTPStatus,
        pieces: Sequence[bytes] | Iterable[bytes],
        size_bytes: int,
        headers: bytes,
        *,
        keep_alive: bool = True,
    ) -> Coroutine[Any, Any, bool]:
        if hdrs.TRANSFER_ENCODING in request.headers:
            # aiohttp's parser takes the trailers of a body in chunks for headers of the request behind it.
            keep_alive = False
        connection = request.connection
        if connection.ends:
            # It is kept only as long as more has arrived on it.
            keep_alive = keep_alive and (connection.has_queued or connection.has_unread)
        return reply(request, status, pieces, size_bytes, headers=headers, keep_alive=keep_alive)
