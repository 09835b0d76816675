"""`zonekeeper write` and `zonekeeper append`: what a file or standard input holds, on its way to the running daemon."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from rpc.client import Client
from rpc.errors import CALL_ERRORS
from srv.calling import ask
from srv.config import Settings
from srv.exits import Exit, StartFailedError
from srv.input import Input
from srv.output import counted, note, size_in_words, write_json, write_out
from srv.progress import Show, progress_bar

CALL_LINES_MAX: Final = 5_000
CALL_BYTES_MAX: Final = 1024 * 1024
"""Lines and bytes of one append call: well within the daemon's limits, and enough for its full speed."""

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A line is held in memory until its end has come."""

_SHOWN_FROM_BYTES: Final = 4 * 1024 * 1024
"""Less than this takes no time that would have to be shown."""


def write(options: argparse.Namespace, settings: Settings) -> int:
    """Replace the snapshot."""
    source = Input(options.file)
    with progress_bar() as show:
        written = ask(settings, partial(_write, options, source, show))
    if options.json:
        write_json(written)
    else:
        size = size_in_words(written["bytes_written"])
        write_out(f"wrote {size}; revision {written['revision']} of session {written['session_id']}")
    return Exit.STOPPED


async def _write(options: argparse.Namespace, source: Input, show: Show, client: Client) -> dict[str, Any]:
    chunks = _shown(source, "write", show)
    first = await anext(chunks, b"")
    if not first:
        # Most likely what should have made it has failed, and the snapshot that is there is better than none.
        raise StartFailedError(Exit.FAILED, "nothing was read, so nothing was written")
    written = await client.put_state(
        options.definition_id,
        _with_first(first, chunks),
        session_id=options.session_id,
        expect_revision=options.expect_revision,
        covers_line=options.covers_line,
    )
    return asdict(written)


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _shown(source: Input, what: str, show: Show) -> AsyncIterator[bytes]:
    """Yield what is read, and show how much that is where it is much."""
    done = 0
    async for chunk in source.chunks():
        yield chunk
        done += len(chunk)
        if max(done, source.size_bytes) >= _SHOWN_FROM_BYTES:
            show(what, done, source.size_bytes)


def append(options: argparse.Namespace, settings: Settings) -> int:
    """Append lines to the output."""
    source = Input(options.file)
    with progress_bar() as show:
        appended = ask(settings, partial(_append, options, source, show))
    if options.json:
        write_json(appended)
    elif appended is None:
        note("nothing was read, so nothing was appended")
    else:
        total = f"{counted(appended['total_lines'], 'line')}, {size_in_words(appended['size_bytes'])}"
        write_out(f"appended {size_in_words(appended['bytes_written'])}; the output has {total}")
    return Exit.STOPPED


async def _append(options: argparse.Namespace, source: Input, show: Show, client: Client) -> dict[str, Any] | None:
    """Append what is read; return the results of all calls as one, None where there was nothing to append."""
    appending = _Appending(client, options.definition_id, options.session_id)
    try:
        async for lines in _whole_lines(_shown(source, "append", show)):
            await appending.append(lines)
    except BaseException:
        # Whatever it is, Ctrl-C too: whoever goes on must know where.
        if appending.lines:
            note(f"stored {counted(appending.lines, 'line')} of the input before this:")
        raise
    return appending.result


@dataclass(slots=True)
class _Appending:
    """Appends one batch of lines after the other.

    Attributes:
        lines: how many were appended so far.
        result: the results of all calls as one, by the names of the wire; None before the first.
    """

    client: Client
    definition_id: str
    session_id: str | None
    lines: int = 0
    result: dict[str, Any] | None = None

    async def append(self, lines: list[str]) -> None:
        """Append some lines, in halves where the daemon takes less at once."""
        try:
            result = asdict(await self.client.append_output(self.definition_id, lines, session_id=self.session_id))
        except CALL_ERRORS as error:
            if error.word != "TOO_LARGE" or len(lines) == 1:
                raise
            middle = len(lines) // 2
            await self.append(lines[:middle])
            await self.append(lines[middle:])
            return
        self.lines += len(lines)
        if self.result is not None:
            result["bytes_written"] += self.result["bytes_written"]
            result["offset"] = self.result["offset"]
            result["duplicate"] &= self.result["duplicate"]
        self.result = result


async def _whole_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[str]]:
    """Yield the lines that have come whole, without their ends, in batches for a call each.

    Raises:
        StartFailedError: a line is not UTF-8, or endless. Those before it have been yielded.
    """
    pending = bytearray()
    number = 1
    async for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        pending += chunk[:end]
        if end:
            for lines in _batches(bytes(pending), number):
                number += len(lines)
                yield lines
            pending.clear()
        pending += chunk[end:]
        if len(pending) > LINE_BYTES_MAX:
            raise StartFailedError(
                Exit.FAILED, f"line {number} of the input is longer than {size_in_words(LINE_BYTES_MAX)}"
            )
    if pending:
        for lines in _batches(bytes(pending), number):
            yield lines


def _batches(data: bytes, number: int) -> Iterator[list[str]]:
    """Yield whole lines in batches; `number` is that of the first."""
    bad = None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        bad = number + data.count(b"\n", 0, error.start)
        text = data[: data.rfind(b"\n", 0, error.start) + 1].decode()
    batch: list[str] = []
    size = 0
    for line in text.removesuffix("\n").split("\n") if text else ():
        if batch and (len(batch) == CALL_LINES_MAX or size + len(line) > CALL_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch
    if bad is not None:
        raise StartFailedError(Exit.FAILED, f"line {bad} of the input is not UTF-8")
