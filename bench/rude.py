"""Callers that behave badly, in a process of their own: `python -m bench.rude KIND PORT TOKEN`, until SIGTERM.

It prints "begun" once it does what its kind says for the first time.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from bench.client import body, request_of

HALF_OPEN_CONNECTIONS: Final = 200
PIPELINED_REQUESTS: Final = 10_000
_SLOW_BODY_BYTES: Final = 1_000
_RECEIVE_BYTES: Final = 1024 * 1024


def half_open(port: int, _token: str) -> Iterator[None]:
    """Keep 200 connections open on which only half a head was sent, each opened anew when it is closed."""
    selector = selectors.DefaultSelector()
    while True:
        while len(selector.get_map()) < HALF_OPEN_CONNECTIONS:
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(b"POST /rpc HTTP/1.1\r\nHost: 127.0")
            selector.register(connection, selectors.EVENT_READ, connection)
        yield
        for key, _ in selector.select():
            selector.unregister(key.data)
            key.data.close()


def slow(port: int, token: str) -> Iterator[None]:
    """Send a body one byte a second, and begin again when that is refused."""
    whole = request_of(port, token, body("read", definition_id="x" * _SLOW_BODY_BYTES))
    while True:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            try:
                connection.sendall(whole[:-_SLOW_BODY_BYTES])
                for byte in whole[-_SLOW_BODY_BYTES:]:
                    yield
                    time.sleep(1)
                    connection.sendall(bytes((byte,)))
            except OSError:
                continue


def pipelined(port: int, token: str) -> Iterator[None]:
    """Send 10,000 appends in one go on one connection, and again as soon as they are answered."""
    request = request_of(port, token, body("append_output", definition_id="greedy", line="x" * 100))
    last = request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    whole = request * (PIPELINED_REQUESTS - 1) + last
    while True:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setblocking(False)  # noqa: FBT003 - the socket's own signature
            selector = selectors.DefaultSelector()
            selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
            left = memoryview(whole)
            while left or selector.get_map():
                yield
                for _, events in selector.select():
                    if events & selectors.EVENT_WRITE and left:
                        left = left[connection.send(left) :]
                        if not left:
                            selector.modify(connection, selectors.EVENT_READ)
                    if events & selectors.EVENT_READ and not connection.recv(_RECEIVE_BYTES):
                        selector.unregister(connection)
                        left = left[:0]


KINDS: Final[dict[str, Callable[[int, str], Iterator[None]]]] = {
    "half-open": half_open,
    "slow": slow,
    "pipelined": pipelined,
}


def main() -> None:
    """Behave badly."""
    kind, port, token = sys.argv[1:]
    steps = KINDS[kind](int(port), token)
    next(steps)
    print("begun", flush=True)
    for _ in steps:
        pass


if __name__ == "__main__":
    main()
