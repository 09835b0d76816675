"""A connection to a running daemon that many callers can have at once, each sending one request after the other."""

from __future__ import annotations

import asyncio
import json
import select
from typing import Any, Final, Self

from tests.srv.daemon import Daemon, rpc_body

_HEAD_BYTES_MAX: Final = 1 << 16
_HTTP_OK: Final = 200


class RefusedError(Exception):
    """The daemon answered with an error.

    Attributes:
        method: what was asked for.
        word: `error.data.code`, empty where there is none.
        data: `error.data`.
    """

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        """Keep what it said."""
        super().__init__(f"{method}: {json.dumps(error)}")
        self.method = method
        self.data: dict[str, Any] = error.get("data") or {}
        self.word = str(self.data.get("code", ""))


class BrokenOffError(Exception):
    """The connection ended before there was an answer: nobody knows whether the request was executed."""


class NotSentError(BrokenOffError):
    """The daemon had said before that it would end the connection, so nothing was sent."""


class Caller:
    """One connection, kept open.

    Attributes:
        request_bytes: size of the request that waits for its answer, 0 where none does.
        executed: number of answers to requests that were let in: all but SHUTTING_DOWN.
    """

    def __init__(self, daemon: Daemon, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Keep the two halves of an open connection."""
        self.request_bytes = 0
        self.executed = 0
        self._daemon = daemon
        self._reader = reader
        self._writer = writer
        self._is_closing = False

    @classmethod
    async def connect(cls, daemon: Daemon) -> Self:
        """Connect to a daemon's port."""
        return cls(daemon, *await asyncio.open_connection("127.0.0.1", daemon.port, limit=_HEAD_BYTES_MAX))

    @property
    def has_no_answer(self) -> bool:
        """Whether a request was sent of whose answer not a byte is here, on the way to us neither."""
        descriptor: int = self._writer.get_extra_info("socket").fileno()
        taken_off: bytearray = self._reader._buffer  # type: ignore[attr-defined] # there is no other way to ask for it
        return self.request_bytes > 0 and not taken_off and not select.select([descriptor], [], [], 0)[0]

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of sessions and return its result.

        Raises:
            RefusedError: the daemon answered with an error.
            BrokenOffError: there was no answer.
        """
        if self._is_closing:
            raise NotSentError
        body = rpc_body(f"agent:session:{method}", **params)
        request = self._daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body
        self.request_bytes = len(request)
        try:
            self._writer.write(request)
            answer = json.loads(await self._response())
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise BrokenOffError from error
        finally:
            self.request_bytes = 0
        if "error" in answer:
            refused = RefusedError(method, answer["error"])
            self.executed += refused.word != "SHUTTING_DOWN"
            raise refused
        self.executed += 1
        return answer["result"]

    def close(self) -> None:
        """Close the connection, whatever is on its way."""
        self._writer.transport.abort()

    async def _response(self) -> bytes:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(fields["Content-Length"]))
        assert int(head[0].split()[1]) == _HTTP_OK, (head, body)
        self._is_closing = fields.get("Connection", "").lower() == "close"
        return body
