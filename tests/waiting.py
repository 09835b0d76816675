"""Waiting for what no event tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, and let everybody else have a turn meanwhile. The test's time-out bounds it."""
    while not is_so():  # noqa: ASYNC110 - a gauge tells nobody that it has changed
        await asyncio.sleep(0)
