"""One connection that calls, and times what it calls: a raw socket, so that little of the time is our own."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from typing import Any, Final, Self

import orjson

from bench.processes import Server

_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"
_RECEIVE_BYTES: Final = 1024 * 1024
_ENVELOPE_BYTES: Final = 60
"""Within so many bytes an answer has said whether it is a result."""


class Client:
    """A caller that waits for each answer. The connection is kept open between calls."""

    def __init__(self, server: Server) -> None:
        """Keep the server; it is connected to with the first call, as it waits for nobody who has nothing to say."""
        self._server = server
        self._connection: socket.socket | None = None
        self._answer = bytearray(_RECEIVE_BYTES)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the sessions and return its result."""
        return result_of(self.exchange(body(method, **params)))

    def call_all(self, calls: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Call methods in one batch, each with its parameters."""
        answers = orjson.loads(
            self.exchange(b"[" + b",".join(body(method, **params) for method, params in calls) + b"]")
        )
        failed = [answer for answer in answers if "result" not in answer]
        if failed:
            raise RuntimeError(f"the server answered {failed[0]}")

    def timed(self, request: bytes) -> float:
        """Send a body made beforehand and return how many milliseconds it took to have the whole answer.

        Raises:
            RuntimeError: the answer is no result; figures of failed calls would mislead.
        """
        whole = request_of(self._server.port, self._server.token, request)
        self._connected()
        begin = time.perf_counter()
        start, end = self._exchange(whole)
        took_ms = (time.perf_counter() - begin) * 1000
        if self._answer.find(b'"result"', start, start + _ENVELOPE_BYTES) < 0:
            raise RuntimeError(f"the server answered {bytes(self._answer[start : min(end, start + 1000)])!r}")
        return took_ms

    def exchange(self, request: bytes) -> bytes:
        """Send a body, return the body that comes back."""
        start, end = self._exchange(request_of(self._server.port, self._server.token, request))
        return bytes(self._answer[start:end])

    def _exchange(self, whole: bytes) -> tuple[int, int]:
        """Send a request; returns where in the buffer the body of its answer begins and ends."""
        connection = self._connected()
        connection.sendall(whole)
        received, head_end = 0, -1
        while head_end < 0:
            received += self._receive(connection, received)
            head_end = self._answer.find(_HEAD_END, 0, received)
        start = head_end + len(_HEAD_END)
        length = _CONTENT_LENGTH.search(self._answer, 0, start)
        if length is None:
            raise RuntimeError(f"the server answered {bytes(self._answer[:start])!r}")
        end = start + int(length[1])
        if end > len(self._answer):
            self._answer.extend(bytes(end - len(self._answer)))
        while received < end:
            received += self._receive(connection, received)
        return start, end

    def _connected(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._server.port))
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def _receive(self, connection: socket.socket, received: int) -> int:
        with memoryview(self._answer) as view:
            count = connection.recv_into(view[received:])
        if not count:
            raise RuntimeError("the server has hung up")
        return count


def body(method: str, **params: Any) -> bytes:
    """Make the JSON-RPC request that calls a method of the sessions."""
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": f"agent:session:{method}", "params": params})


def request_of(port: int, token: str, request_body: bytes) -> bytes:
    """Make the HTTP request that brings a body to the server on that port."""
    head = (
        f"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-AuthKey: {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(request_body)}\r\n\r\n"
    )
    return head.encode() + request_body


def result_of(answer: bytes) -> Any:
    """Take the result out of an answer.

    Raises:
        RuntimeError: there is none.
    """
    decoded = orjson.loads(answer)
    if "result" not in decoded:
        raise RuntimeError(f"the server answered {decoded}")
    return decoded["result"]
