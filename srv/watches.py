"""What the daemon watches while it serves: the free space of its disk, and how late its event loop is."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from srv.config import Settings
from srv.free_space import FreeSpace
from srv.loop_lag import LoopLag


class Watches:
    """An asynchronous context manager: watches within the block.

    Attributes:
        free_space: of the disk of the data directory.
        loop_lag: of the event loop.
    """

    def __init__(self, settings: Settings, full: asyncio.Event) -> None:
        """Say what to watch; `full` is set whenever something found the disk full."""
        levels = (settings.free_bytes_warning, settings.free_bytes_critical)
        self.free_space = FreeSpace(settings.data_dir, *levels, full)
        self.loop_lag = LoopLag()

    async def __aenter__(self) -> Self:
        """Begin; the free space is known afterwards."""
        await self.free_space.look()
        self.free_space.start()
        self.loop_lag.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.loop_lag.stop()
        await self.free_space.stop()
