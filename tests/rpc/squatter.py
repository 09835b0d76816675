"""Somebody else on a port where a client expects the daemon."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Answer = Callable[[bytes], Awaitable[bytes]]
"""Answers the head of a request with whatever it likes; with nothing it ends the connection."""


@dataclass
class Squatter:
    """Listens, answers everything, and keeps what it was sent.

    Attributes:
        answer: what it answers.
        port: where it listens.
        heard: all that it was sent.
        connections: those it had, and who serves them.
    """

    answer: Answer
    port: int = 0
    heard: bytes = b""
    connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where a client meets it."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        self.connections[writer] = asyncio.current_task()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heard += head
                answer = await self.answer(head)
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def leave(self) -> None:
        """End all connections."""
        for writer in self.connections:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self.connections.values()))


@asynccontextmanager
async def squatter(answer: Answer, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Squatter]:
    """Squat on a port, a free one unless it is named."""
    squatting = Squatter(answer)
    server = await asyncio.start_server(squatting.serve, "127.0.0.1", port, ssl=tls)
    squatting.port = server.sockets[0].getsockname()[1]
    try:
        yield squatting
    finally:
        server.close()
        await squatting.leave()


def ok(*headers: str) -> bytes:
    """Write an answer of the kind that the daemon gives."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", "Content-Length: 2", *headers, "", "{}"]
    return "\r\n".join(lines).encode()
