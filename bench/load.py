"""A load of many connections, each sending its next request as soon as the last is answered.

It runs in a process of its own and does as little as it can per answer (requests are made beforehand, answers are only
measured and looked at for one word), so that what is measured is the server and not the load.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import re
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import uvloop

from bench.table import rank

_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be sent.

    Attributes:
        port: of the server, on the loopback address.
        requests: one whole HTTP request per connection, sent again and again.
        expected: what every answer must hold; one without it is a failure.
        seconds: how long answers count.
        warm_up_seconds: how long the load runs before that.
        pause_seconds: between an answer and the next request of its connection.
    """

    port: int
    requests: tuple[bytes, ...]
    expected: bytes
    seconds: float
    warm_up_seconds: float = 0.0
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back.

    Attributes:
        count: answers within the time that counts.
        total: all answers, warm-up included.
        failures: answers without the expected word, and connections that were lost.
        per_second: answers per second.
        p50_ms: half of the answers took at most this long.
        p99_ms: 99 of 100 took at most this long.
        max_ms: the longest.
    """

    count: int
    total: int
    failures: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def post(port: int, body: bytes, token: str = "") -> bytes:
    """Make the HTTP request that calls the server on that port with this body."""
    head = [
        "POST /rpc HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        *([f"X-AuthKey: {token}"] if token else []),
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


@contextmanager
def other_process() -> Iterator[Executor]:
    """Provide the process in which `send` runs. It is warm when it is handed out."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(gc.disable).result()
        yield executor


def send(load: Load) -> Answers:
    """Send the load and wait until its last answer is there."""
    return uvloop.run(_send(load))


async def _send(load: Load) -> Answers:
    begin = time.perf_counter() + load.warm_up_seconds
    clients = [_Client(load, request, begin, begin + load.seconds) for request in load.requests]
    await asyncio.gather(*(client.run() for client in clients))
    waits_ms = [wait * 1000 for client in clients for wait in client.waits]
    return Answers(
        count=len(waits_ms),
        total=sum(client.total for client in clients),
        failures=sum(client.failures for client in clients),
        per_second=len(waits_ms) / load.seconds,
        p50_ms=rank(waits_ms, 0.5),
        p99_ms=rank(waits_ms, 0.99),
        max_ms=max(waits_ms, default=0.0),
    )


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load, request: bytes, begin: float, end: float) -> None:
        self._load = load
        self._request = request
        self._begin = begin
        self._end = end
        self._received = b""
        self._sent = 0.0
        self.waits: list[float] = []
        self.total = 0
        self.failures = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._load.port)
        await self._done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        length = _CONTENT_LENGTH.search(self._received, 0, head_end + 2)
        if length is None or len(self._received) < head_end + len(_HEAD_END) + int(length[1]):
            return
        now = time.perf_counter()
        self.total += 1
        self.failures += self._load.expected not in self._received
        if self._begin <= self._sent and now <= self._end:
            self.waits.append(now - self._sent)
        self._received = b""
        if now >= self._end:
            self._transport.close()
        elif self._load.pause_seconds:
            asyncio.get_running_loop().call_later(self._load.pause_seconds, self._next)
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self.failures += error is not None or time.perf_counter() < self._end
        self._done.set_result(None)

    def _next(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)
