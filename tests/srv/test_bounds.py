"""What one caller can take of the daemon: time, memory, connections. On a service of our own, so that bounds can be small."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from srv import bodies, connections, replies
from srv.auth import Door
from srv.http import Dispatcher as AnyDispatcher
from srv.http import HttpService
from srv.requests import Request
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


@asynccontextmanager
async def listening(dispatcher: AnyDispatcher) -> AsyncIterator[int]:
    """Serve a dispatcher on a free port, behind a door that the token "sesame" opens."""

    async def is_ready() -> bool:
        return False

    service = HttpService(dispatcher, dispatcher, is_ready=is_ready, openrpc=b"{}", body_bytes_max=8 * MIB)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(service.listener(Door("sesame", (), None)), "127.0.0.1", 0)
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


async def test_a_body_that_does_not_arrive_in_time_is_400(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends too slowly is refused, so that nobody waits for what he holds."""
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.05)
    async with listening(_Echo(open_door())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(100) + b"{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no whole request head arrives is closed after a while."""
    monkeypatch.setattr(connections, "IDLE_SECONDS_MAX", 0.05)
    async with listening(_Echo(open_door())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /rpc HTTP/1.1\r\nHos")
        assert await reader.read() == b""
        writer.close()


async def test_only_so_many_large_bodies_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large body waits, nearly unread, until another has left; a small one does not wait."""
    monkeypatch.setattr(bodies, "LARGE_BODIES_MAX", 1)
    may = asyncio.Event()
    async with listening(_Echo(may)) as port:
        first, first_writer = await asyncio.open_connection("127.0.0.1", port)
        first_writer.write(head(2 * MIB) + b" " * 2 * MIB)
        await first_writer.drain()
        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        second_writer.transport.set_write_buffer_limits(0)
        second_writer.write(head(8 * MIB) + b" " * 8 * MIB)
        sent = asyncio.ensure_future(second_writer.drain())
        small, small_writer = await asyncio.open_connection("127.0.0.1", port)
        small_writer.write(head(100) + b" " * 50)
        await small_writer.drain()
        small_writer.write(b" " * 50)
        assert not sent.done()
        may.set()
        for reader in (small, first, second):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await sent
        for writer in (first_writer, second_writer, small_writer):
            writer.close()


async def test_a_large_body_that_finds_no_place_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a body is free only once it was dispatched; who cannot have one in time is told when to try again."""
    monkeypatch.setattr(bodies, "LARGE_BODIES_MAX", 1)
    monkeypatch.setattr(bodies, "PLACE_SECONDS_MAX", 0.1)
    async with listening(_Echo(asyncio.Event())) as port:
        _first, first_writer = await asyncio.open_connection("127.0.0.1", port)
        first_writer.write(head(2 * MIB) + b" " * 2 * MIB)
        await first_writer.drain()
        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        second_writer.write(head(2 * MIB) + b" " * 2 * MIB)
        answer = await second.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nRetry-After: 1\r\n" in answer
        for writer in (first_writer, second_writer):
            writer.close()


@pytest.mark.parametrize("start", [head(2 * MIB) + b"{", CHUNKED + b"1\r\n{\r\n"])
async def test_a_body_that_stalls_takes_no_place(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    """Bodies that are only announced, or that have hardly begun, keep no large one waiting."""
    monkeypatch.setattr(bodies, "LARGE_BODIES_MAX", 1)
    async with listening(_Echo(open_door())) as port:
        stalled = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _reader, writer in stalled:
            writer.write(start)
            await writer.drain()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2 * MIB) + b" " * 2 * MIB)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for each in (writer, *(one for _reader, one in stalled)):
            each.close()


async def test_a_body_that_makes_no_progress_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence amid a body ends the wait long before the time for the whole of it, and gives its place back."""
    monkeypatch.setattr(bodies, "LARGE_BODIES_MAX", 1)
    monkeypatch.setattr(bodies, "SILENCE_SECONDS_MAX", 0.2)
    async with listening(_Echo(open_door())) as port:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(3 * MIB) + b" " * 2 * MIB)
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
            writer.close()


async def test_a_lost_caller_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it goes amid its body or amid the work for it, the work is given up and the next body gets the place."""
    monkeypatch.setattr(bodies, "LARGE_BODIES_MAX", 1)
    dispatcher = _Echo(asyncio.Event())
    async with listening(dispatcher) as port:
        for sent_bytes in (2 * MIB, 3 * MIB):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(3 * MIB) + b" " * sent_bytes)
            await writer.drain()
            if sent_bytes == 3 * MIB:
                await dispatcher.began.wait()
            writer.transport.abort()
        await dispatcher.given_up.wait()
        dispatcher.may.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2 * MIB) + b" " * 2 * MIB)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_too_many_connections_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all connections are at work a further one gets 503 and its end; when another has gone there is room again."""
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 1)
    dispatcher = _Echo(asyncio.Event())
    async with listening(dispatcher) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2) + b"{}")
        await dispatcher.began.wait()
        refused, refused_writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await refused.read()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"too many connections" in answer
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


async def test_the_longest_idle_connection_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects and says nothing keeps nobody out, and the one that has been silent longest goes first."""
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    async with listening(_Echo(open_door())) as port:
        used, used_writer = await asyncio.open_connection("127.0.0.1", port)
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            used_writer.write(head(2) + b"{}")
            assert (await used.readuntil(b"\r\n\r\n2")).startswith(b"HTTP/1.1 200")
        new, new_writer = await asyncio.open_connection("127.0.0.1", port)
        new_writer.write(head(2) + b"{}")
        assert (await new.readline()).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionResetError):
            assert await silent.read() == b""
        used_writer.write(head(2) + b"{}")
        assert (await used.readline()).startswith(b"HTTP/1.1 200")
        for writer in (used_writer, silent_writer, new_writer):
            writer.close()


@pytest.mark.parametrize("start", [b"", b"POST /rpc HTTP/1.1\r\nHos"])
async def test_a_first_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    """A new connection has less time than one that has shown what it is for."""
    monkeypatch.setattr(connections, "FIRST_HEAD_SECONDS_MAX", 0.05)
    async with listening(_Echo(open_door())) as port:
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
    monkeypatch.setattr(connections, "HALF_CLOSED_LOOK_SECONDS", 0.02)
    dispatcher = _Echo(asyncio.Event())
    async with listening(dispatcher) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(2) + b"{}")
        await dispatcher.began.wait()
        writer.close()
        await dispatcher.given_up.wait()


async def test_a_caller_that_waits_on_its_own_side_gets_interim_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look after a caller that has ended its side shows it nothing but what every client must expect."""
    monkeypatch.setattr(connections, "HALF_CLOSED_LOOK_SECONDS", 0.02)
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
    reader = bodies.BodyReader(8 * MIB)
    raised: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def handle(request: Request) -> bool:
        request.connection.force_close()
        try:
            await reader.read(request, reader.place())
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            raised.set_result(error)
        return False

    server = await asyncio.get_running_loop().create_server(connections.Connections(handle), "127.0.0.1", 0)
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


@pytest.mark.parametrize("bound", ["WRITE_SECONDS_MAX", "STALL_SECONDS_MAX"])
async def test_a_caller_that_does_not_take_its_answer_is_let_go(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """What it was to get is not kept for it without end: the connection is cut, and the answer released."""
    monkeypatch.setattr(replies, bound, 0.05)
    released = asyncio.Event()

    class Large:
        pieces = (b"x" * MIB,) * 64
        size_bytes = 64 * MIB

        def release(self) -> None:
            released.set()

    class Dispatcher:
        async def answer(self, body: bytes | bytearray) -> Large:  # noqa: ARG002 - whatever it was
            return Large()

    async with listening(Dispatcher()) as port:
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
