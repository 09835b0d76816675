"""One request with all that its answer needs: what its caller may do, its id, and the header lines that its answer bears."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs
from multidict import istr

from rpc.trace import Trace
from srv.auth import READ_ONLY, Rights
from srv.refusals import Refusal, Refusals
from srv.replies import JSON, json_body, reply, stream
from srv.requests import Request

X_REQUEST_ID: Final = istr("X-Request-Id")
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_START: Final = f"{secrets.token_hex(4)}-"
_NUMBERS: Final = itertools.count(1)

_EXPOSED: Final = ", ".join(
    (
        *("ETag", "Content-Range", "Accept-Ranges", "Retry-After"),
        *("X-AuthProof", "X-Request-Id", "X-Revision", "X-Session-Id", "X-Total-Lines"),
    )
)


class Exchange:
    """One request and its answer.

    Attributes:
        request: what came.
        origin: of the page in a browser that sent it; None where none did.
        rights: what the caller may do; nothing but reading until the door has looked.
        marks: header lines of every answer.
        trace: what is kept of it while it is served; bears the id under which the log speaks of it, the caller's own
            where it has sent one.
    """

    __slots__ = ("_refusals", "marks", "origin", "request", "rights", "trace")

    def __init__(self, request: Request, refusals: Refusals) -> None:
        """Give the request an id."""
        headers = request.headers
        given = headers.get(X_REQUEST_ID)
        request_id = given if given is not None and _GIVEN_ID.fullmatch(given) else _START + str(next(_NUMBERS))
        self.request = request
        self.origin = headers.get(hdrs.ORIGIN)
        self.rights: Rights = READ_ONLY
        self.marks = f"X-Request-Id: {request_id}\r\n".encode()
        self.trace = Trace(request_id)
        self._refusals = refusals

    def admit(self, rights: Rights) -> None:
        """Let the caller do that much."""
        self.rights = rights
        self.request.connection.is_known = True
        self.trace.rights = rights.word

    @property
    def is_pretty(self) -> bool:
        """Tell whether JSON is wanted in the form for people: `?pretty`. Large answers need chunks for that, so HTTP/1.1."""
        _, mark, query = self.request.path.partition("?")
        if not mark or not self.request.speaks_1_1:
            return False
        return any(each.partition("=")[0] == "pretty" for each in query.split("&"))

    def let_page_read(self) -> None:
        """Let the page that sent it read the answer: it is one that may call."""
        lines = f"Access-Control-Allow-Origin: {self.origin}\r\nAccess-Control-Expose-Headers: {_EXPOSED}\r\nVary: Origin\r\n"
        self.marks += lines.encode()

    def reply(
        self,
        status: HTTPStatus,
        pieces: Iterable[bytes] = (),
        size_bytes: int = 0,
        headers: bytes = b"",
        *,
        content_type: bytes = JSON,
        keep_alive: bool = True,
    ) -> Coroutine[Any, Any, bool]:
        """Answer; returns whether the connection stays open. See `srv.replies.reply`."""
        return reply(
            self.request,
            status,
            pieces,
            size_bytes,
            headers=self.marks + headers,
            content_type=content_type,
            keep_alive=keep_alive and self._may_stay(),
        )

    def stream(
        self,
        status: HTTPStatus,
        pieces: AsyncIterator[bytes],
        size_bytes: int | None,
        headers: bytes,
        *,
        content_type: bytes,
        seconds_max: float | None,
    ) -> Coroutine[Any, Any, bool]:
        """Answer with a body that is made meanwhile; returns whether the connection stays open. See `srv.replies.stream`."""
        return stream(
            self.request,
            status,
            pieces,
            size_bytes,
            headers=self.marks + headers,
            content_type=content_type,
            keep_alive=self._may_stay(),
            seconds_max=seconds_max,
        )

    def reply_json(
        self, facts: object, status: HTTPStatus = HTTPStatus.OK, headers: bytes = b"", *, keep_alive: bool = True
    ) -> Coroutine[Any, Any, bool]:
        """Answer with a small JSON body."""
        body = json_body(facts, is_pretty=self.is_pretty)
        return self.reply(status, (body,), len(body), headers, keep_alive=keep_alive)

    def refuse(self, refusal: Refusal, headers: bytes = b"", *, keep_alive: bool = True) -> Coroutine[Any, Any, bool]:
        """Answer why not, and count it."""
        self._refusals.count(refusal.status)
        self.trace.outcome = refusal.word or str(refusal.status.value)
        return self.reply_json(refusal.facts, refusal.status, refusal.headers + headers, keep_alive=keep_alive)

    def _may_stay(self) -> bool:
        """Tell whether the connection may stay open, as far as we are concerned."""
        request = self.request
        if hdrs.TRANSFER_ENCODING in request.headers:
            # aiohttp's parser takes the trailers of a body in chunks for headers of the request behind it.
            return False
        connection = request.connection
        if connection.ends and not (connection.has_queued or connection.has_unread):
            # It is kept only as long as more has arrived on it.
            return False
        return not connection.is_spent
