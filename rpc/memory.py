"""Memory that large answers take: bounded together, from the reading on until they have left.

A client that asks for 50 MiB and then takes nothing keeps them in memory. Small answers are bounded by the number of
connections and never wait; a large one waits until there is room for it, but not for long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from store.errors import OverloadedError, TooLargeError
from store.limits import MIB
from store.trace import spent_on

SMALL_ANSWER_BYTES: Final = 1 * MIB
"""An answer up to this size needs no room, and is encoded on the event loop: it takes a millisecond, and so does a hop."""

WAIT_SECONDS_MAX: Final = 10
"""Then a large answer is refused as OVERLOADED: longer than it takes to send what is asked for in good faith."""

LARGE_BATCHES: Final = 2
"""Batches whose answers are large, at once. Each holds up to `batch_answer_bytes_max` besides what is counted here."""

_READING_OF_BATCH: Final = 4
"""Members of a batch that read at once."""

_ENCODED: Final = 2
"""What is read and its JSON are in memory together, and JSON of text is hardly larger than the text."""


class AnswerMemory:
    """Bytes that all large answers may hold together; who comes first is served first."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._free_bytes = bytes_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held_bytes(self) -> int:
        """Bytes that are held at the moment."""
        return self._bytes_max - self._free_bytes

    async def take(self, size_bytes: int) -> int:
        """Wait for room; returns how much was taken. What is larger than all there is gets all there is."""
        size_bytes = min(size_bytes, self._bytes_max)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._serve()  # those behind may fit
            else:
                self.give(size_bytes)
            raise
        return size_bytes

    def give(self, size_bytes: int) -> None:
        """Give room back."""
        self._free_bytes += size_bytes
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size_bytes, turn = self._waiting[0]
            if not turn.cancelled():
                if size_bytes > self._free_bytes:
                    return
                self._free_bytes -= size_bytes
                turn.set_result(None)
            self._waiting.popleft()


@asynccontextmanager
async def waiting() -> AsyncIterator[None]:
    """Bound a wait for room. Raises `OverloadedError` where it takes too long."""
    try:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            yield
    except TimeoutError:
        raise OverloadedError("too many large answers are waiting to be taken") from None


class Room:
    """What one answer holds. It never waits while it holds something, so answers cannot wait for each other in a circle."""

    def __init__(self, memory: AnswerMemory) -> None:
        self._memory = memory
        self._held_bytes = 0

    async def expect(self, size_bytes: int) -> None:
        """Wait for room for an answer from that many stored bytes, instead of what is held."""
        self.release()
        if size_bytes > SMALL_ANSWER_BYTES:
            async with waiting():
                self._held_bytes = await self._memory.take(_ENCODED * size_bytes)

    def settle(self, size_bytes: int) -> None:
        """Hold no more than an answer needs that turned out to have this size."""
        needed = size_bytes if size_bytes > SMALL_ANSWER_BYTES else 0
        if needed < self._held_bytes:
            self._memory.give(self._held_bytes - needed)
            self._held_bytes = needed

    def release(self) -> None:
        """Give all of it back. Doing it twice is harmless."""
        held, self._held_bytes = self._held_bytes, 0
        if held:
            self._memory.give(held)


class BatchRoom:
    """What the answers to one batch hold, and may still hold. Its members take turns, so that too much is noticed early.

    Args:
        bytes_max: all of them together.
        large: places for batches whose answers are large; taken once this one turns out to be.
    """

    def __init__(self, bytes_max: int, large: asyncio.Semaphore) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._large = large
        self._has_place = False
        self._placing = asyncio.Lock()
        self.turns = asyncio.Semaphore(_READING_OF_BATCH)

    async def take(self, size_bytes: int) -> None:
        """Count an answer in.

        Raises:
            TooLargeError: it does not fit; nor does any that follows.
            OverloadedError: the answers are large, and there was no place for such a batch.
        """
        self._bytes += size_bytes
        self.check()
        if self._bytes > SMALL_ANSWER_BYTES:
            async with self._placing:
                if not self._has_place:
                    async with waiting():
                        await self._large.acquire()
                    self._has_place = True

    def check(self) -> None:
        """Raise `TooLargeError` where there is no room left."""
        if self._bytes > self._bytes_max:
            raise TooLargeError("batch_answer_bytes_max", self._bytes_max)

    def settle(self, size_bytes: int) -> None:
        """Give the place back if the answer turned out small."""
        if size_bytes <= SMALL_ANSWER_BYTES:
            self.release()

    def release(self) -> None:
        """Give the place back. Doing it twice is harmless."""
        if self._has_place:
            self._has_place = False
            self._large.release()


ROOM: Final[ContextVar[Room | None]] = ContextVar("room", default=None)
"""Of the answer that is being made."""


async def expect(size_bytes: int) -> None:
    """Wait for room for an answer from that many stored bytes."""
    room = ROOM.get()
    if room is not None:
        with spent_on("memory_wait_seconds"):
            await room.expect(size_bytes)
