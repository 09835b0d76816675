"""What one caller can take of the daemon: time, memory, connections. On a service of our own, so that bounds can be small."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from rpc.files import Files
from srv import bodies, connection, connections
from srv.auth import Door
from srv.bounds import Bounds
from srv.http import Dispatcher as AnyDispatcher
from srv.http import Dispatchers, HttpService
from srv.refusals import Refusals
from srv.requests import Request
from srv.tokens import Tokens
from tests.srv.daemon import WAIT_SECONDS

MIB = 2**20
CHUNKED = b"POST /rpc HTTP/1.1\r\nHost: x\r\nX-AuthKey: sesame\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class _Echo:
    """A dispatcher that answers the size of a body, once it may."""

    may: asyncio.Event
    began: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: asyncio.Event = field(default_factory=asyncio.Event)

    @dataclass(frozen=True)
    class Answer:
        """One piece."""

        pieces: Iterable[bytes]
        size_bytes: int

        def release(self) -> None:
            """Hold nothing."""

    async def answer(self, body: bytes | bytearray) -> Answer:
        """Answer the size of a body."""
        self.began.set()
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        text = b"%d" % len(body)
        return self.Answer((text,), len(text))


class _Failing:
    """A dispatcher with a fault in it."""

    async def answer(self, body: bytes | bytearray) -> None:
        """Fail."""
        raise RuntimeError(f"secret content {body!r}")


BOUNDS = Bounds(
    connections_max=100,
    requests_per_connection_max=1_000,
    head_seconds_max=60,
    idle_seconds_max=60,
    body_bytes_max=8 * MIB,
    snapshot_bytes_max=8 * MIB,
    body_memory_bytes_max=32 * MIB,
    body_seconds_max=60,
    answer_seconds_max=60,
    silence_seconds_max=60,
)


@asynccontextmanager
async def listening(dispatcher: AnyDispatcher, files: Files | None = None, **bounds: Any) -> AsyncIterator[int]:
    """Serve a dispatcher on a free port, behind a door that the token "sesame" opens, within these bounds.

    Without `files` none may be asked for.
    """

    async def is_ready() -> bool:
        return False

    async def metrics(_accept: str) -> tuple[bytes, bytes]:
        return b"text/plain", b""

    dispatchers = Dispatchers(dispatcher, dispatcher, dispatcher)
    service = HttpService(
        dispatchers,
        files=cast("Files", files),
        is_ready=is_ready,
        metrics=metrics,
        openrpc=b"{}",
        bounds=replace(BOUNDS, **bounds),
        slow_call_ms=60_000,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(service.listener(Door(Tokens("sesame"), (), None)), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await service.close(WAIT_SECONDS)


def head(length: int) -> bytes:
    """Write the head of a call with a body of that length."""
    return b"POST /rpc HTTP/1.1\r\nHost: x\r\nX-AuthKey: sesame\r\nContent-Length: %d\r\n\r\n" % length


def open_door() -> asyncio.Event:
    """Return an event that has happened."""
    event = asyncio.Event()
    event.set()
    return event


async def test_a_body_that_does_not_arrive_in_time_is_400() -> None:
    """Who sends too slowly is refused, so that nobody waits for what he holds."""
    async with listening(_Echo(open_door()), body_seconds_max=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(100) + b"{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_an_idle_connection_is_closed() -> None:
    """A connection on which no whole request head arrives is closed after a while."""
    async with listening(_Echo(open_door()), idle_seconds_max=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /rpc HTTP/1.1\r\nHos")
        assert await reader.read() == b""
        writer.close()


async def test_a_large_body_that_finds_no_memory_is_overloaded_at_once_and_a_small_one_is_served() -> None:
    """The memory of a body is free again once it was dispatched; until then others are told when to try again."""
    may = asyncio.Event()
    dispatcher = _Echo(may)
    async with listening(dispatcher, body_memory_bytes_max=3 * MIB) as port:
        first, first_writer = await asyncio.open_connection("127.0.0.1", port)
        first_writer.write(head(2 * MIB) + b" " * 2 * MIB)
        await dispatcher.began.wait()
        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        second_writer.write(head(2 * MIB) + b" " * 2 * MIB)
        answer = await second.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2]).items() >= {"code": "OVERLOADED", "retry": True}.items()
        small, small_writer = await asyncio.open_connection("127.0.0.1", port)
        small_writer.write(head(100) + b" " * 100)
        may.set()
        for reader in (small, first):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        third, third_writer = await asyncio.open_connection("127.0.0.1", port)
        third_writer.write(head(3 * MIB) + b" " * 3 * MIB)
        assert (await third.readline()).startswith(b"HTTP/1.1 200")
        for writer in (first_writer, second_writer, small_writer, third_writer):
            writer.close()


@pytest.mark.parametrize("start", [head(2 * MIB) + b"{", CHUNKED + b"1\r\n{\r\n"])
async def test_a_body_that_stalls_takes_no_memory(start: bytes) -> None:
    """Bodies that are only announced, or that have hardly begun, keep no large one out."""
    async with listening(_Echo(open_door()), body_memory_bytes_max=2 * MIB) as port:
        stalled = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _reader, writer in stalled:
            writer.write(start)
            await writer.drain()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2 * MIB) + b" " * 2 * MIB)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for each in (writer, *(one for _reader, one in stalled)):
            each.close()


async def test_a_body_that_makes_no_progress_is_given_up() -> None:
    """Silence amid a body ends the wait long before the time for the whole of it, and gives its memory back."""
    async with listening(_Echo(open_door()), body_memory_bytes_max=3 * MIB, silence_seconds_max=0.2) as port:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(3 * MIB) + b" " * 2 * MIB)
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
            writer.close()


@pytest.mark.parametrize("sent_bytes", [2 * MIB, 3 * MIB])
async def test_a_lost_caller_gives_its_memory_back(sent_bytes: int) -> None:
    """Whether it goes amid its body or amid the work for it, the work is given up and the next body gets the memory."""
    dispatcher = _Echo(asyncio.Event())
    async with listening(dispatcher, body_memory_bytes_max=3 * MIB) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(3 * MIB) + b" " * sent_bytes)
        await writer.drain()
        if sent_bytes == 3 * MIB:
            await dispatcher.began.wait()
        writer.transport.abort()
        if sent_bytes == 3 * MIB:
            await dispatcher.given_up.wait()
        dispatcher.may.set()
        status = b"HTTP/1.1 503"
        while status.startswith(b"HTTP/1.1 503"):  # until the loss is noticed
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(3 * MIB) + b" " * 3 * MIB)
            status = await reader.readline()
            writer.close()
        assert status.startswith(b"HTTP/1.1 200")


async def test_too_many_connections_are_told_so() -> None:
    """Where all connections are at work a further one gets 503 and its end; when another has gone there is room again."""
    dispatcher = _Echo(asyncio.Event())
    async with listening(dispatcher, connections_max=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2) + b"{}")
        await dispatcher.began.wait()
        refused, refused_writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await refused.read()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"too many connections" in answer
        assert b"OVERLOADED" in answer
        dispatcher.may.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        await reader.read()
        for each in (writer, refused_writer):
            each.close()
        again, again_writer = await asyncio.open_connection("127.0.0.1", port)
        again_writer.write(head(2) + b"{}")
        assert (await again.readline()).startswith(b"HTTP/1.1 200")
        again_writer.close()


async def test_the_longest_idle_connection_makes_room() -> None:
    """Whoever connects and says nothing keeps nobody out, and the one that has been silent longest goes first."""
    async with listening(_Echo(open_door()), connections_max=2) as port:
        used, used_writer = await asyncio.open_connection("127.0.0.1", port)
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            used_writer.write(head(2) + b"{}")
            assert (await used.readuntil(b"\r\n\r\n2\n")).startswith(b"HTTP/1.1 200")
        new, new_writer = await asyncio.open_connection("127.0.0.1", port)
        new_writer.write(head(2) + b"{}")
        assert (await new.readline()).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionResetError):
            assert await silent.read() == b""
        used_writer.write(head(2) + b"{}")
        assert (await used.readline()).startswith(b"HTTP/1.1 200")
        for writer in (used_writer, silent_writer, new_writer):
            writer.close()


async def test_who_shows_no_token_keeps_nobody_out() -> None:
    """Whatever it still sends, or does not take: its connection makes room, before any of those that have shown one."""
    async with listening(_Echo(open_door()), connections_max=3) as port:
        known, known_writer = await asyncio.open_connection("127.0.0.1", port)
        known_writer.write(head(2) + b"{}")
        await known.readuntil(b"\r\n\r\n2\n")
        writers = [known_writer]
        strangers = []
        for _ in range(2):
            stranger, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
            assert (await stranger.readline()).startswith(b"HTTP/1.1 401")
            strangers.append(stranger)
            writers.append(writer)
        new, new_writer = await asyncio.open_connection("127.0.0.1", port)
        new_writer.write(head(2) + b"{}")
        assert (await new.readline()).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionResetError):
            await strangers[0].read()
        known_writer.write(head(2) + b"{}")
        assert (await known.readline()).startswith(b"HTTP/1.1 200")
        for writer in (*writers, new_writer):
            writer.close()


@pytest.mark.parametrize("start", [b"", b"POST /rpc HTTP/1.1\r\nHos"])
async def test_a_first_head_that_does_not_come_is_not_waited_for(start: bytes) -> None:
    """A new connection has less time than one that has shown what it is for."""
    async with listening(_Echo(open_door()), head_seconds_max=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_a_caller_that_ends_its_side_is_answered() -> None:
    """Whole requests followed by the end of the caller's side are all answered, and then the connection ends: `nc -N`."""
    may = asyncio.Event()
    dispatcher = _Echo(may)
    async with listening(dispatcher) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((head(2) + b"{}") * 3)
        writer.write_eof()
        await dispatcher.began.wait()
        may.set()
        answers = await reader.read()
        assert answers.count(b"HTTP/1.1 200 OK") == 3
        assert answers.count(b"Connection: close") == 1
        writer.close()


async def test_a_body_that_is_ended_early_is_400() -> None:
    """Where the caller's side ends amid a body there is nothing to execute, and nothing to wait for."""
    async with listening(_Echo(open_door())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(10) + b"{}")
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_a_caller_that_has_gone_is_noticed_though_its_side_had_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing looks like ending one side; the work for a caller that has closed is given up all the same."""
    monkeypatch.setattr(connection, "HALF_CLOSED_LOOK_SECONDS", 0.02)
    dispatcher = _Echo(asyncio.Event())
    async with listening(dispatcher) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2) + b"{}")
        await dispatcher.began.wait()
        writer.close()
        await dispatcher.given_up.wait()


async def test_a_caller_that_waits_on_its_own_side_gets_interim_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look after a caller that has ended its side shows it nothing but what every client must expect."""
    monkeypatch.setattr(connection, "HALF_CLOSED_LOOK_SECONDS", 0.02)
    may = asyncio.Event()
    async with listening(_Echo(may)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2) + b"{}")
        writer.write_eof()
        for _ in range(3):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        may.set()
        assert b"HTTP/1.1 200 OK" in await reader.read()
        writer.close()


async def test_a_connection_that_we_close_amid_a_body_is_a_lost_one() -> None:
    """Aiohttp calls it a fault to go on reading then; we do not, and log nothing of it."""
    reader = bodies.BodyReader(BOUNDS)
    limit = bodies.BodyLimit("body_bytes_max", 8 * MIB)
    raised: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def handle(request: Request) -> bool:
        request.connection.force_close()
        try:
            await reader.read(request, reader.place(), limit)
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            raised.set_result(error)
        return False

    server = await asyncio.get_running_loop().create_server(
        connections.Connections(handle, BOUNDS, set(), Refusals()), "127.0.0.1", 0
    )
    _reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.write(head(10) + b"{")
    assert isinstance(await raised, ConnectionResetError)
    writer.close()
    server.close()


async def test_nothing_follows_a_body_in_chunks() -> None:
    """A token among the trailers of a body lets in nobody: the connection ends with the answer."""
    async with listening(_Echo(open_door())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED + b"2\r\n{}\r\n0\r\nX-AuthKey: sesame\r\n\r\n")
        writer.write(b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        answers = await reader.read()
        assert answers.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in answers
        writer.close()


@pytest.mark.parametrize("encoding", [b"gzip, chunked", b"chunked, chunked"])
async def test_other_transfer_encodings_are_refused(encoding: bytes) -> None:
    """What is not taken off is not taken for a body."""
    async with listening(_Echo(open_door())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED.replace(b"chunked", encoding) + b"2\r\n{}\r\n0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_not_ready_is_503() -> None:
    """Where the store cannot be read `/readyz` says so."""
    async with listening(_Echo(open_door())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-AuthKey: sesame\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        writer.close()


async def test_an_unexpected_failure_shows_an_id_and_nothing_else() -> None:
    """500 carries an id to look for in the log, and not a word of what went wrong."""
    async with listening(_Failing()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2) + b"{}")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 500")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]).keys() == {"error", "error_id"}
        assert b"secret" not in answer
        writer.close()


@pytest.mark.parametrize("bound", ["answer_seconds_max", "silence_seconds_max"])
async def test_a_caller_that_does_not_take_its_answer_is_let_go(bound: str) -> None:
    """What it was to get is not kept for it without end: the connection is cut, and the answer released."""
    released = asyncio.Event()

    class Large:
        pieces = (b"x" * MIB,) * 64
        size_bytes = 64 * MIB

        def release(self) -> None:
            released.set()

    class Dispatcher:
        async def answer(self, body: bytes | bytearray) -> Large:  # noqa: ARG002 - whatever it was
            return Large()

    bounds: dict[str, Any] = {bound: 0.05}
    async with listening(Dispatcher(), **bounds) as port:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(head(2) + b"{}")
            await released.wait()
            received = 0
            with suppress(ConnectionResetError):
                while chunk := await asyncio.to_thread(caller.recv, MIB):
                    received += len(chunk)
            assert received < 64 * MIB


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_an_upgrade_that_is_not_taken_up_ends_the_connection_and_says_so(protocol: bytes) -> None:
    """Nothing behind such a request is read, so nobody may wait for its answer."""
    async with listening(_Echo(open_door())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        first = head(2).replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
        writer.write(first + b"{}" + head(2) + b"{}")
        answers = await reader.read()
        assert answers.count(b"HTTP/1.1 200 OK") == 1
        assert b"Connection: close" in answers
        writer.close()


async def test_a_connection_ends_after_so_many_requests_and_says_so() -> None:
    """The last answer says that it is the last; what was sent behind it is left to another connection."""
    async with listening(_Echo(open_door()), requests_per_connection_max=2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((head(2) + b"{}") * 3)
        answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
        assert [b"Connection: close" in answer for answer in answers] == [False, True]
        writer.close()


async def test_who_sends_thousands_at_once_waits_for_its_turn() -> None:
    """Another caller is answered after a few of ten thousand requests that one connection has sent in one go."""

    class Counting(_Echo):
        answered = 0

        async def answer(self, body: bytes | bytearray) -> _Echo.Answer:
            self.answered += 1
            return await super().answer(body)

    dispatcher = Counting(open_door())
    async with listening(dispatcher, requests_per_connection_max=10_000) as port:
        greedy, greedy_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}\n")
        greedy_writer.write((head(2) + b"{}") * 10_000)
        reading = asyncio.ensure_future(greedy.readuntil(b"Connection: close"))
        await dispatcher.began.wait()
        for _ in range(5):
            before = dispatcher.answered
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"}\n")).startswith(b"HTTP/1.1 200")
            assert dispatcher.answered - before < 100
        reading.cancel()
        for each in (greedy_writer, writer):
            each.close()
