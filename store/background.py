"""Work in the background: one sweep over what is left to do whenever there is news, and another where some of it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

RETRY_FIRST_S: Final = 1.0
RETRY_LAST_S: Final = 300.0
"""What failed is tried again after the first, then after twice as long each time, up to the last."""


class Background:
    """Sweeps in a task of its own, from `start` to `stop`."""

    def __init__(
        self,
        name: str,
        sweep: Callable[[], Awaitable[bool]],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Keep the work; nothing begins before `start`.

        Args:
            name: of the task.
            sweep: does what is left to do, each piece once; tells False where some must be tried again. It says what went wrong
                itself, and raises nothing.
            sleep: waits for so many seconds before what failed is tried again.
        """
        self._name = name
        self._sweep = sweep
        self._sleep = sleep
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a sweep."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def notify(self) -> None:
        """Hear that there may be more to do."""
        self._news.set()

    def take_news(self) -> bool:
        """Tell, once, whether there was news since the sweep began: a sweep that can begin with what is new needs no other."""
        has_news = self._news.is_set()
        self._news.clear()
        return has_news

    async def stop(self) -> None:
        """Cut off the sweep that is under way. Doing it twice is harmless."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Sweep whenever there is news; where something is left over, after a growing delay as well."""
        delay_s = RETRY_FIRST_S
        while True:
            self._news.clear()
            if await self._sweep():
                delay_s = RETRY_FIRST_S
                await self._news.wait()
            else:
                await self._news_or_delay(delay_s)
                delay_s = min(2 * delay_s, RETRY_LAST_S)

    async def _news_or_delay(self, delay_s: float) -> None:
        waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(self._sleep(delay_s))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
