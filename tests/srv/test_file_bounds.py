"""What a caller can take who gets a file: time and memory. On a service of our own, so that bounds can be small."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest

from rpc import memory
from rpc.counts import CallCounts
from rpc.files import Files, StoredFile
from rpc.memory import AnswerMemory
from tests.conftest import OpenStore
from tests.srv.test_bounds import _Echo, listening, open_door

MIB = 2**20
AGENT = "agent"
LARGE_BYTES = 32 * MIB
"""More than the sockets of both sides hold."""

SNAPSHOT = f"/zones/{AGENT}/current/output.state.json"
OUTPUT = f"/zones/{AGENT}/current/output"


class Watched(Files):
    """Tells when the newest answer is over."""

    over: asyncio.Event

    async def pieces(self, file: StoredFile, start_byte: int, end_byte: int) -> AsyncGenerator[bytes, None]:
        """Give the pieces."""
        self.over = over = asyncio.Event()
        async with aclosing(super().pieces(file, start_byte, end_byte)) as pieces:
            try:
                async for piece in pieces:
                    yield piece
            finally:
                over.set()


@asynccontextmanager
async def serving(store: OpenStore, memory_bytes: int = 256 * MIB, **bounds: Any) -> AsyncIterator[tuple[Watched, int]]:
    """Serve a large output and a large snapshot on a port, within these bounds."""
    for _ in range(LARGE_BYTES // (4 * MIB)):
        await store.sessions.append_session_output(AGENT, ["x" * (MIB - 1)] * 4)
    await store.sessions.write_session_state(AGENT, b"y" * LARGE_BYTES)
    files = Watched(store.sessions, AnswerMemory(memory_bytes), CallCounts(()))
    async with listening(_Echo(open_door()), files, **bounds) as port:
        yield files, port


def asking(port: int, path: str, *lines: str) -> socket.socket:
    """Ask for a file, and take nothing yet."""
    caller = socket.create_connection(("127.0.0.1", port))
    head = [f"GET {path} HTTP/1.1", "Host: x", "X-AuthKey: sesame", "Connection: close", *lines, "", ""]
    caller.sendall("\r\n".join(head).encode())
    return caller


def taken(caller: socket.socket, bytes_max: int = 2 * LARGE_BYTES) -> int:
    """Take so many bytes, or what comes until the connection ends."""
    count = 0
    with suppress(ConnectionResetError):
        while count < bytes_max and (chunk := caller.recv(MIB)):
            count += len(chunk)
    return count


@pytest.mark.parametrize("path", [SNAPSHOT, OUTPUT])
@pytest.mark.parametrize("bound", ["answer_seconds_max", "silence_seconds_max"])
async def test_who_takes_nothing_is_let_go(store: OpenStore, path: str, bound: str) -> None:
    """The connection is cut, so that what is held for it is not held without end."""
    bounds: dict[str, Any] = {bound: 0.05}
    async with serving(store, **bounds) as (files, port):
        with asking(port, path) as caller:
            await asyncio.to_thread(caller.recv, 1)
            await files.over.wait()
            assert await asyncio.to_thread(taken, caller) < LARGE_BYTES


async def test_an_output_may_take_its_time_and_a_snapshot_may_not(store: OpenStore) -> None:
    """What is held as a whole must be taken in the time of any answer; of what is read in steps, each step must."""
    loop = asyncio.get_running_loop()
    async with serving(store, answer_seconds_max=0.5) as (_, port):
        with asking(port, SNAPSHOT) as one, asking(port, OUTPUT) as other:
            counts = {one: 0, other: 0}
            end = loop.time() + 1
            while loop.time() < end:
                moment = asyncio.Event()
                loop.call_later(0.1, moment.set)
                await moment.wait()
                for caller in counts:
                    counts[caller] += await asyncio.to_thread(taken, caller, MIB)
            for caller in counts:
                counts[caller] += await asyncio.to_thread(taken, caller)
    assert counts[one] < LARGE_BYTES < counts[other]


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_large_snapshots_take_turns_and_outputs_need_no_room(
    store: OpenStore, monkeypatch: pytest.MonkeyPatch, coding: str
) -> None:
    """Each holds its size, and twice that while it is read: who finds no room is OVERLOADED until somebody has gone."""
    monkeypatch.setattr(memory, "WAIT_SECONDS_MAX", 0.05)
    lines = f"Accept-Encoding: {coding}"
    # Incompressible, so that what is compressed does not fit into the sockets either.
    async with serving(store, memory_bytes=3 * LARGE_BYTES) as (files, port):
        await store.sessions.write_session_state(AGENT, random.Random(4).randbytes(LARGE_BYTES))
        with asking(port, SNAPSHOT, lines) as first:
            await asyncio.to_thread(first.recv, 1)
            first_over = files.over
            with asking(port, SNAPSHOT, lines) as second, asking(port, OUTPUT, lines) as output:
                for each in (second, output):
                    assert (await asyncio.to_thread(each.recv, 15)) == b"HTTP/1.1 200 OK"
                with asking(port, SNAPSHOT, lines) as third:
                    answer = await asyncio.to_thread(third.recv, MIB)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"\r\nRetry-After: 1\r\n" in answer
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "OVERLOADED"
        await first_over.wait()
        with asking(port, SNAPSHOT, lines) as again:
            assert await asyncio.to_thread(taken, again) > LARGE_BYTES // 2


@pytest.mark.parametrize(
    ("now_ms", "shown"),
    [
        (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (1_750_000_000_999, b"Sun, 15 Jun 2025 15:06:40 GMT"),
        (4_102_444_800_000, None),  # the year 2100: not later than the answer itself
        (2**53 - 1, b""),  # no time that HTTP could write
    ],
)
async def test_the_time_of_a_change_is_told_where_it_can_be(store: OpenStore, now_ms: int, shown: bytes | None) -> None:
    """Whatever the clock said when it was written."""
    store.clock.now_ms = now_ms
    await store.sessions.write_session_state(AGENT, b"{}")
    files = Files(store.sessions, AnswerMemory(MIB), CallCounts(()))
    async with listening(_Echo(open_door()), files) as port:
        with asking(port, SNAPSHOT) as caller:
            answer = await asyncio.to_thread(caller.recv, MIB)
    found = dict(line.split(b": ") for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:])
    expected = found[b"Date"] if shown is None else shown
    assert found.get(b"Last-Modified", b"") == expected
