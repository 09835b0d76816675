"""Counts the requests that are being answered, so that a stop can wait for them and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Underway:
    """Requests being answered."""

    def __init__(self) -> None:
        """Begin with none."""
        self.requests = 0
        self._quiet = asyncio.Event()

    def begin(self) -> None:
        """Count one in."""
        self.requests += 1

    def end(self) -> None:
        """Count one out."""
        self.requests -= 1
        if not self.requests:
            self._quiet.set()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave one out for a while: what it waits for is with its caller, and nobody who stops us waits for callers."""
        self.end()
        try:
            yield
        finally:
            self.begin()

    async def wait_for_none(self) -> None:
        """Wait until none is left; at once where there is none."""
        if self.requests:
            self._quiet.clear()
            await self._quiet.wait()
