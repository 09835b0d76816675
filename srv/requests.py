"""One HTTP request: what arrived, and where its answer goes.

aiohttp parses; its own request object, made for applications with routes, cookies and forms, costs more than all that we do
with one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs
from aiohttp.http import HttpVersion10, RawRequestMessage
from aiohttp.streams import StreamReader

if TYPE_CHECKING:
    from srv.connection import Connection

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request:
    """One request.

    Attributes:
        connection: the one it came over.
        method: `POST` and so on.
        path: the target of the request line, with its query, as it was sent.
        headers: case does not count in names.
        body: its body, as it arrives.
        keeps_alive: the caller is ready to go on with this connection.
        is_answered: something of the answer was written: from then on there can be no other.
    """

    __slots__ = ("body", "connection", "headers", "is_answered", "keeps_alive", "method", "path", "speaks_1_1")

    def __init__(self, message: RawRequestMessage, body: StreamReader, connection: Connection) -> None:
        """Take over what the parser found."""
        self.connection = connection
        self.method: str = message.method
        self.path: str = message.path
        self.headers = message.headers
        self.body = body
        self.speaks_1_1 = message.version != HttpVersion10
        # HTTP/1.0 closes unless agreed otherwise; nobody speaks it for its speed.
        # Whoever asks for another protocol may go on in it: nothing behind such a request is read, so the answer is the last.
        self.keeps_alive = self.speaks_1_1 and not message.should_close and not message.upgrade
        self.is_answered = False

    @property
    def body_bytes(self) -> int | None:
        """Size of the body where it is declared; the parser has seen to it that it is a number, with any zeros before it."""
        size = self.headers.get(hdrs.CONTENT_LENGTH)
        # Of thousands of digits, `int` refuses to make a number.
        return None if size is None else int(size.lstrip("0") or "0")

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case and without parameters; "" where none is declared."""
        return self.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()

    @property
    def transport(self) -> asyncio.Transport:
        """Where the answer goes.

        Raises:
            ConnectionError: the caller has gone.
        """
        transport = self.connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller has gone")
        return transport

    def ask_for_body(self) -> None:
        """Tell a caller that waits to be asked for its body to go on."""
        if self.speaks_1_1 and self.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            self.transport.write(_CONTINUE)

    def _cancel(self, reason: BaseException) -> None:
        """Hear from aiohttp that the caller has gone."""
        self.body.set_exception(reason)
