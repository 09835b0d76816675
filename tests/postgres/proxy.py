"""A proxy between an engine and its server that loses what it is told to lose."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

_SOCKET: Final = ".s.PGSQL."
_PORT: Final = "5432"
_COMMIT: Final = b"COMMIT\0"


class Proxy:
    """Passes everything on, both ways, until it is told otherwise.

    Attributes:
        url: of the database, through the proxy.
        lose: what is to be lost of the next commits, one entry each: `"answer"` (the server has committed), `"question"` (it
            was never asked), `"late"` (it is asked once the connection has been cut at our end and `release` is set), or
            `"nothing"`.
        refuse: whether new connections are refused.
        swallow: whether nothing is passed on, either way, as if the server hung.
        swallowed: set once something was not.
        accepted: how many connections there have been.
        lost: how many commits have been met by `lose`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        (directory,), (port,) = options.get("host", [""]), options.get("port", [_PORT])
        self._target = (
            Path(directory) / (_SOCKET + port) if directory else None,
            parts.hostname,
            parts.port or int(_PORT),
        )
        self._directory = Path(tempfile.mkdtemp(prefix="zonekeeper-proxy-", dir="/tmp"))
        self._socket = self._directory / (_SOCKET + _PORT)
        self.url = urlunsplit(parts._replace(netloc="zonekeeper@", query=f"host={quote(str(self._directory))}"))
        self.lose: list[str] = []
        self.refuse = False
        self.swallow = False
        self.swallowed = asyncio.Event()
        self.accepted = 0
        self.lost = 0
        self.release = asyncio.Event()
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut everything."""
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        (self._socket).unlink(missing_ok=True)
        self._directory.rmdir()

    def cut(self) -> None:
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.CancelledError):
            self.accepted += 1
            if self.refuse:
                return
            await self._relay(reader, writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, host, port = self._target
        opened = asyncio.open_unix_connection(path) if path else asyncio.open_connection(host, port)
        from_server, to_server = await opened
        with contextlib.closing(to_server):
            is_muted = asyncio.Event()
            back = asyncio.ensure_future(self._pass_back(from_server, writer, is_muted))
            try:
                await self._pass_on(reader, to_server, writer, is_muted)
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        muted: asyncio.Event,
    ) -> None:
        while data := await reader.read(1 << 16):
            if self.swallow:
                self.swallowed.set()
                continue
            what = self.lose.pop(0) if self.lose and data.endswith(_COMMIT) else None
            if what is not None:
                self.lost += 1
            if what == "question":
                return
            if what == "answer":
                muted.set()
            if what == "late":
                writer.close()
                await self.release.wait()
            to_server.write(data)
            await to_server.drain()
        if muted.is_set():
            return

    async def _pass_back(
        self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter, muted: asyncio.Event
    ) -> None:
        while data := await from_server.read(1 << 16):
            if muted.is_set():
                break
            if self.swallow:
                continue
            writer.write(data)
            await writer.drain()
        writer.close()
