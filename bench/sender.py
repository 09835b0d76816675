"""The load generator where wrk is not there, and for loads with a count or a pace: raw sockets, few steps per answer.

    python -m bench.sender < ORDERS

ORDERS is a `Load` as JSON. It prints "begun" with the first request and, at the end of the load or at SIGTERM, its
`Answers` as JSON.
"""

from __future__ import annotations

import gc
import json
import re
import selectors
import signal
import socket
import sys
import time
from collections import deque
from itertools import cycle
from typing import Any, Final

from bench.client import request_of
from bench.rows import rank

_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_RECEIVE_BYTES: Final = 256 * 1024
_TURN_SECONDS_MAX: Final = 0.05


class _Connection:
    """One connection, with at most one request under way."""

    __slots__ = ("answer", "sent", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""
        self.sent = 0.0

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Take what has arrived; returns the answer once it is whole, b"" where the connection is lost."""
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except OSError:
            return b""
        if not data:
            return b""
        answer = self.answer + data if self.answer else data
        head_bytes = answer.find(b"\r\n\r\n") + 4
        length = _CONTENT_LENGTH.search(answer, 0, head_bytes) if head_bytes > 3 else None
        if length is None or len(answer) < head_bytes + int(length[1]):
            self.answer = answer
            return None
        self.answer = b""
        return answer


class _Sender:
    """Sends one load."""

    def __init__(self, orders: dict[str, Any]) -> None:
        server = orders["server"]
        requests = [request_of(server["port"], server["token"], body.encode()) for body in orders["bodies"]]
        if orders["get"]:
            requests = [f"GET {orders['get']} HTTP/1.1\r\nHost: 127.0.0.1:{server['port']}\r\n\r\n".encode()]
        self._next = cycle(requests).__next__
        self._expected: bytes = orders["expected"].encode()
        self._seconds: float = orders["seconds"] or float("inf")
        self._left: float = orders["count"] or float("inf")
        self._pause: float = 1 / orders["per_second"] if orders["per_second"] else 0.0
        self._idle = deque(_Connection(server["port"]) for _ in range(orders["connections"]))
        self._busy = 0
        self._is_stopped = False
        self._failures = 0
        self._waits: list[float] = []
        self._selector = selectors.DefaultSelector()
        for connection in self._idle:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def stop(self, *_signal: object) -> None:
        """Send nothing more, but one request at least. A signal comes amid anything, so this only leaves word."""
        self._is_stopped = True

    def run(self) -> dict[str, object]:
        """Send until the load is at its end, and wait for the last answer."""
        begin = due = time.perf_counter()
        while self._busy or self._left:
            now = time.perf_counter()
            if self._is_stopped or now - begin >= self._seconds:
                self._left = 0 if self._waits or self._busy else 1
            while self._idle and self._left and due <= now:
                self._send(self._idle.popleft())
                due += self._pause
            wait = max(0.0, due - now) if self._pause and self._idle else _TURN_SECONDS_MAX
            for key, _ in self._selector.select(min(wait, _TURN_SECONDS_MAX)):
                self._receive(key.data)
        waits_ms = [wait * 1000 for wait in self._waits]
        return {
            "total": len(waits_ms),
            "failures": self._failures,
            "seconds": time.perf_counter() - begin,
            "p50_ms": rank(waits_ms, 0.5),
            "p99_ms": rank(waits_ms, 0.99),
            "max_ms": max(waits_ms, default=0.0),
        }

    def _send(self, connection: _Connection) -> None:
        connection.send(self._next())
        self._busy += 1
        self._left -= 1

    def _receive(self, connection: _Connection) -> None:
        answer = connection.receive()
        if answer is None:
            return
        self._busy -= 1
        if not answer:
            self._failures += 1
            self._selector.unregister(connection.socket)
            self._left = 0
            return
        self._waits.append(time.perf_counter() - connection.sent)
        self._failures += self._expected not in answer
        if self._left and not self._pause:
            self._send(connection)
        else:
            self._idle.append(connection)


def main() -> None:
    """Read the orders, carry them out, and report."""
    sender = _Sender(json.load(sys.stdin))
    signal.signal(signal.SIGTERM, sender.stop)
    gc.disable()
    print("begun", flush=True)
    print(json.dumps(sender.run()), flush=True)


if __name__ == "__main__":
    main()
