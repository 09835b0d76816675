"""One request with all that its answer needs: what its caller may do, its id, and the header lines that its answer bears."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs
from multidict import istr

from srv.auth import READ_ONLY, Refusal, Rights
from srv.replies import JSON, json_body, reply
from srv.requests import Request

X_REQUEST_ID: Final = istr("X-Request-Id")
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_START: Final = secrets.token_hex(4)
_NUMBERS: Final = itertools.count(1)

_EXPOSED: Final = "ETag, Content-Range, Accept-Ranges, Retry-After, X-AuthProof, X-Request-Id"


class Exchange:
    """One request and its answer.

    Attributes:
        request: what came.
        id: what the log calls it; the caller's own where it has sent one.
        rights: what the caller may do; nothing but reading until the door has looked.
        marks: header lines of every answer.
    """

    __slots__ = ("id", "marks", "request", "rights")

    def __init__(self, request: Request) -> None:
        """Give the request an id."""
        given = request.headers.get(X_REQUEST_ID)
        self.request = request
        self.id = given if given is not None and _GIVEN_ID.fullmatch(given) else f"{_START}-{next(_NUMBERS)}"
        self.rights: Rights = READ_ONLY
        self.marks = f"X-Request-Id: {self.id}\r\n".encode()

    @property
    def is_from_page(self) -> bool:
        """Tell whether a page in a browser sent it."""
        return hdrs.ORIGIN in self.request.headers

    def let_page_read(self) -> None:
        """Let the page that sent it read the answer, if one did: it is one that may call."""
        origin = self.request.headers.get(hdrs.ORIGIN)
        if origin is not None:
            lines = f"Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: {_EXPOSED}\r\nVary: Origin\r\n"
            self.marks += lines.encode()

    async def reply(
        self,
        status: HTTPStatus,
        pieces: Iterable[bytes] = (),
        size_bytes: int = 0,
        headers: bytes = b"",
        *,
        content_type: bytes = JSON,
        keep_alive: bool = True,
    ) -> bool:
        """Answer; returns whether the connection stays open. See `srv.replies.reply`."""
        request = self.request
        if hdrs.TRANSFER_ENCODING in request.headers:
            # aiohttp's parser takes the trailers of a body in chunks for headers of the request behind it.
            keep_alive = False
        connection = request.connection
        if connection.ends:
            # It is kept only as long as more has arrived on it.
            keep_alive = keep_alive and (connection.has_queued or connection.has_unread)
        return await reply(
            request,
            status,
            pieces,
            size_bytes,
            headers=self.marks + headers,
            content_type=content_type,
            keep_alive=keep_alive and not connection.is_spent,
        )

    async def reply_json(self, facts: object, status: HTTPStatus = HTTPStatus.OK, headers: bytes = b"") -> bool:
        """Answer with a small JSON body."""
        body = json_body(facts)
        return await self.reply(status, (body,), len(body), headers)

    async def refuse(self, refusal: Refusal, headers: bytes = b"", *, keep_alive: bool = True) -> bool:
        """Answer why not."""
        body = json_body(refusal.facts)
        return await self.reply(refusal.status, (body,), len(body), refusal.headers + headers, keep_alive=keep_alive)
