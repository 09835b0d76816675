"""A proxy between a client and a daemon that loses requests and answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

import orjson


class Fault(Enum):
    """What the proxy does with a request and its answer, before it ends the connection."""

    NONE = auto()
    """Both get through; the connection stays."""
    REQUEST_LOST = auto()
    """The daemon gets nothing."""
    REQUEST_CUT = auto()
    """The daemon gets half."""
    ANSWER_LOST = auto()
    """The daemon has done it, and the client gets nothing."""
    ANSWER_CUT = auto()
    """The daemon has done it, and the client gets half of the answer."""


Plan = Callable[[str], Fault]
"""Says what happens to the next request, given its JSON-RPC method, or its HTTP method and path."""


@dataclass
class FaultProxy:
    """Passes on what comes to a Unix socket and to a TCP port, one request at a time, to the Unix socket of a daemon.

    Attributes:
        socket: where it listens.
        url: where it listens as well.
        plan: what it does.
        requests: what came, by name, and what was done with it.
        on_fault: called once something was lost, before the client hears of it.
        connections: those of clients, and who serves them.
    """

    socket: Path
    daemon_socket: str
    url: str = ""
    plan: Plan = lambda _: Fault.NONE
    requests: list[tuple[str, Fault]] = field(default_factory=list)
    on_fault: Callable[[], object] = lambda: None
    connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = field(default_factory=dict)

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Serve one connection of a client, over one connection of its own to the daemon."""
        self.connections[to_client] = asyncio.current_task()
        daemon, to_daemon = await asyncio.open_unix_connection(self.daemon_socket, limit=2**26)
        try:
            while await self._exchange(client, to_client, daemon, to_daemon):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # one of the two has gone, and so do we
        finally:
            for writer in (to_daemon, to_client):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def leave(self) -> None:
        """End all connections."""
        for writer in self.connections:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self.connections.values()))

    async def _exchange(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        daemon: asyncio.StreamReader,
        to_daemon: asyncio.StreamWriter,
    ) -> bool:
        """Pass on a request and its answer; returns whether the connection stays."""
        request = await _message(client)
        name = _name(request)
        fault = self.plan(name)
        self.requests.append((name, fault))
        if fault is Fault.REQUEST_CUT:
            to_daemon.write(request[: len(request) // 2])
            await to_daemon.drain()
        elif fault is not Fault.REQUEST_LOST:
            to_daemon.write(request)
            answer = await _message(daemon)
            if fault is not Fault.ANSWER_LOST:
                to_client.write(answer if fault is Fault.NONE else answer[: len(answer) // 2])
                await to_client.drain()
        if fault is not Fault.NONE:
            self.on_fault()
        return fault is Fault.NONE


async def no_time(_seconds: float) -> None:
    """Wait for one turn of the event loop."""
    await asyncio.sleep(0)


@asynccontextmanager
async def fault_proxy(directory: Path, daemon_socket: str) -> AsyncIterator[FaultProxy]:
    """Run a proxy that does nothing yet but pass on, with a socket of its own in a directory."""
    proxy = FaultProxy(directory / "proxy", daemon_socket)
    unix = await asyncio.start_unix_server(proxy.serve, proxy.socket, limit=2**26)
    tcp = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=2**26)
    proxy.url = f"http://127.0.0.1:{tcp.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        unix.close()
        tcp.close()
        await proxy.leave()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read one HTTP message, whole."""
    message = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in message.split(b"\r\n")[1:] if line)
    if fields.get(b"transfer-encoding") != b"chunked":
        return message + await reader.readexactly(int(fields.get(b"content-length", b"0")))
    chunk = b""
    while not chunk.startswith(b"0\r\n"):
        chunk = await reader.readuntil(b"\r\n")
        chunk += await reader.readexactly(int(chunk, 16) + 2)
        message += chunk
    return message


def _name(request: bytes) -> str:
    head, _, body = request.partition(b"\r\n\r\n")
    if not head.startswith(b"POST /rpc "):
        return head.partition(b" HTTP")[0].decode()
    call: dict[str, Any] = orjson.loads(body)
    return str(call["method"])
