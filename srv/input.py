"""What a command reads: a file, or standard input, which may be a pipe, a terminal or a file as well."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from srv.exits import Exit, StartFailedError
from srv.output import note

STANDARD_INPUT: Final = "-"

_CHUNK_BYTES: Final = 256 * 1024
_CHUNKS_AHEAD: Final = 4


class Input:
    """Reads ahead a little, in a thread of its own: where nothing comes, neither the event loop nor Ctrl-C waits for it.

    Attributes:
        size_bytes: how much there is; 0 where nobody knows.
    """

    def __init__(self, name: str) -> None:
        """Open a file; `-` is standard input.

        Raises:
            StartFailedError: it cannot be read.
        """
        self._name = "standard input" if name == STANDARD_INPUT else name
        if name == STANDARD_INPUT and sys.stdin is None:
            raise self._failed("there is none")
        try:
            self._handle = sys.stdin.fileno() if name == STANDARD_INPUT else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self._handle)
        except OSError as error:
            raise self._failed(error.strerror) from error
        self.size_bytes = found.st_size if stat.S_ISREG(found.st_mode) else 0
        if os.isatty(self._handle):
            note("reads what is typed; Ctrl-D on a line of its own ends it")
        self._slots = threading.Semaphore(_CHUNKS_AHEAD)
        self._read: asyncio.Queue[bytes | OSError] = asyncio.Queue()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what is there, as soon as there is something; what has come meanwhile in one piece.

        Raises:
            StartFailedError: it cannot be read any further.
        """
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read_ahead, args=(loop,), name="input", daemon=True).start()
        is_over = False
        while not is_over:
            pieces = [await self._read.get()]
            while not self._read.empty():
                pieces.append(self._read.get_nowait())
            self._slots.release(len(pieces))
            last = pieces[-1]
            is_over = not last
            chunk = b"".join(piece for piece in pieces if isinstance(piece, bytes))
            if chunk:
                yield chunk
            if isinstance(last, OSError):
                raise self._failed(last.strerror) from last

    def _read_ahead(self, loop: asyncio.AbstractEventLoop) -> None:
        piece: bytes | OSError = b"-"
        with suppress(RuntimeError):  # the loop has ended: nobody reads any more
            while piece and isinstance(piece, bytes):
                self._slots.acquire()
                try:
                    piece = os.read(self._handle, _CHUNK_BYTES)
                except OSError as error:
                    piece = error
                loop.call_soon_threadsafe(self._read.put_nowait, piece)

    def _failed(self, reason: str | None) -> StartFailedError:
        return StartFailedError(Exit.WRONG_USAGE, f"{self._name} cannot be read: {reason}")
