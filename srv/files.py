"""The files of sessions over HTTP: `/zones/<definition id>/current/output` and the like (RFC 9110)."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs

from rpc.bodies import OffLoop
from rpc.conditions import Conditions
from rpc.file_paths import MEDIA_TYPES, FilePath
from rpc.file_queries import wishes_of
from rpc.files import (
    NOT_UTF8,
    NOT_WHOLE,
    READ_FILE,
    READ_ONLY,
    SHUTTING_DOWN,
    WRITE_FILE,
    Files,
    RefusedError,
    StoredFile,
    WrittenFile,
)
from srv.bodies import BodyLimit
from srv.bounds import Bounds
from srv.compression import compressed
from srv.exchange import Exchange
from srv.file_errors import refusal_of
from srv.intake import Intake
from srv.refusals import Refusal
from srv.requests import Request
from srv.routes import READ, Route
from srv.selection import Selection, Selector, tag

_READ_ONLY: Final = refusal_of(READ_ONLY)
_SHUTTING_DOWN: Final = refusal_of(SHUTTING_DOWN)
_NOT_UTF8: Final = refusal_of(NOT_UTF8)
_NOT_WHOLE: Final = refusal_of(NOT_WHOLE)
_ALWAYS: Final = b"Accept-Ranges: bytes\r\nVary: Accept-Encoding\r\n"
_DATES_MS: Final = range(253_402_300_800_000)
"""Up to the year 9999; HTTP has no way to write another."""

_log = structlog.get_logger()


class FileRoutes:
    """The paths below `/zones/`.

    Args:
        files: what they lead to.
        intake: reads bodies.
        bounds: what callers may take.
        takes: tells whether a request is still taken up when we stop.
        off_loop: does what takes long.
    """

    def __init__(
        self, files: Files, intake: Intake, bounds: Bounds, takes: Callable[[Request], bool], off_loop: OffLoop
    ) -> None:
        """Keep the collaborators."""
        self._files = files
        self._intake = intake
        self._takes = takes
        self._off_loop = off_loop
        self._limit = BodyLimit("snapshot_bytes_max", bounds.snapshot_bytes_max, _NOT_UTF8)
        self._answer_seconds_max = bounds.answer_seconds_max

    def route(self, path: str) -> Route | None:
        """Return what a path does, None where it is none of ours."""
        found = FilePath.parse(path)
        if found is None:
            return None
        return Route((*READ, "PUT") if found.is_writable else READ, partial(self._serve, found))

    async def _serve(self, path: FilePath, exchange: Exchange) -> bool:
        try:
            if exchange.request.method == "PUT":
                return await self._put(path, exchange)
            if not self._takes(exchange.request):
                return await exchange.refuse(_SHUTTING_DOWN)
            return await self._get(path, exchange)
        except RefusedError as error:
            if not exchange.request.is_answered:
                return await exchange.refuse(refusal_of(error.error))
            _log.warning("answer_cut", file=path.name, reason=str(error))
            return False

    async def _get(self, path: FilePath, exchange: Exchange) -> bool:
        with self._files.telling(READ_FILE):
            conditions = Conditions.parse(exchange.request.headers)
        selector = Selector(exchange.request, conditions)
        room = self._files.room()
        try:
            file = await self._files.find(path, conditions, room, selector.wants)
            selection = selector.select(file)
            if selection.has_content:
                return await self._send(exchange, file, selection)
        finally:
            room.release()
        if selection.status == HTTPStatus.NOT_MODIFIED:
            return await exchange.reply(selection.status, headers=_lines(file, selection))
        reason = "the file has nothing in this range, or several ranges were asked for: they are sent one at a time"
        details = {"size_bytes": file.size_bytes}
        lines = f"Content-Range: bytes */{file.size_bytes}\r\n".encode()
        return await exchange.refuse(Refusal(selection.status, reason, lines, details=details))

    async def _send(self, exchange: Exchange, file: StoredFile, selection: Selection) -> bool:
        """Send bytes of a file. What is held in memory must be taken as soon as any answer; an output may take its time."""
        stored = self._files.pieces(file, selection.start_byte, selection.end_byte)
        pieces = compressed(stored, self._off_loop) if selection.is_compressed else stored
        async with aclosing(stored), aclosing(pieces):
            return await exchange.stream(
                selection.status,
                pieces,
                None if selection.is_compressed else selection.end_byte - selection.start_byte,
                _lines(file, selection),
                content_type=MEDIA_TYPES[file.name].encode(),
                seconds_max=None if file.content is None else self._answer_seconds_max,
            )

    async def _put(self, path: FilePath, exchange: Exchange) -> bool:
        request = exchange.request
        if not exchange.rights.may_change:
            return await exchange.refuse(_READ_ONLY)
        if hdrs.CONTENT_RANGE in request.headers:
            return await exchange.refuse(_NOT_WHOLE)
        with self._files.telling(WRITE_FILE):
            conditions = Conditions.parse(request.headers)
            wishes = wishes_of(request.path.partition("?")[2])

        async def write(_exchange: Exchange, body: bytes | bytearray) -> WrittenFile | None:
            return await self._files.write(path, body, wishes, conditions) if self._takes(request) else None

        return await self._intake.serve(exchange, self._limit, write, _reply_written)


async def _reply_written(exchange: Exchange, written: WrittenFile | None) -> bool:
    if written is None:
        return await exchange.refuse(_SHUTTING_DOWN)
    return await exchange.reply_json(written.result, headers=f'ETag: "{written.tag}"\r\n'.encode())


def _lines(file: StoredFile, selection: Selection) -> bytes:
    """Write the header lines that tell of a revision and of what is sent of it."""
    lines = [
        f'ETag: "{tag(file, is_compressed=selection.is_compressed)}"',
        f"X-Session-Id: {file.session_id}",
        f"X-Revision: {file.revision}",
    ]
    if file.total_lines is not None:
        lines.append(f"X-Total-Lines: {file.total_lines}")
    if file.modified_at_ms in _DATES_MS:
        # Never later than the answer: a clock may have been set back.
        modified_at = min(file.modified_at_ms / 1000, time.time())
        lines.append(f"Last-Modified: {formatdate(modified_at, usegmt=True)}")
    if selection.is_compressed:
        lines.append("Content-Encoding: gzip")
    if selection.status == HTTPStatus.PARTIAL_CONTENT:
        lines.append(f"Content-Range: bytes {selection.start_byte}-{selection.end_byte - 1}/{file.size_bytes}")
    return _ALWAYS + "".join(f"{line}\r\n" for line in lines).encode()
