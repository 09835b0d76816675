"""Watches the free space of a disk, and says so when it goes below a level, or above it again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Final

import structlog

LOOK_SECONDS: Final = 10.0

REST_SECONDS: Final = 1.0
"""Between two looks at least, however often the disk is said to be full."""

BACK_SHARE: Final = 1.1
"""A level is left upwards with a tenth more than it takes, so that a disk at its edge does not fill the log."""

_log = structlog.get_logger()


class Level(IntEnum):
    """How much room there is."""

    ENOUGH = 0
    WARNING = 1
    CRITICAL = 2


class FreeSpace:
    """The free space of one disk.

    Args:
        path: a directory on it.
        warning_bytes: with less, `WARNING`.
        critical_bytes: with less, `CRITICAL`.
        full: set whenever something found the disk full: a reason to look at once.
        free_bytes_of: asks the system.

    Attributes:
        free_bytes: at the last look; None before the first, and where the system does not tell.
        level: how much that is.
    """

    def __init__(
        self,
        path: Path,
        warning_bytes: int,
        critical_bytes: int,
        full: asyncio.Event,
        free_bytes_of: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Look at nothing before `start`."""
        self._path = path
        self._warning_bytes = warning_bytes
        self._critical_bytes = critical_bytes
        self._full = full
        self._free_bytes_of = free_bytes_of
        self._task: asyncio.Task[None] | None = None
        self.free_bytes: int | None = None
        self.level = Level.ENOUGH

    def start(self) -> None:
        """Watch from now on."""
        self._task = asyncio.create_task(self._watch(), name="free space")

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def status(self) -> dict[str, object]:
        """Describe it for `srv:status`."""
        return {
            "free_bytes": self.free_bytes,
            "level": self.level.name.lower(),
            "warning_bytes": self._warning_bytes,
            "critical_bytes": self._critical_bytes,
        }

    async def look(self) -> None:
        """Look, and say where a level was crossed. The event loop does not wait for the disk."""
        try:
            self.free_bytes = await asyncio.to_thread(self._free_bytes_of, self._path)
        except OSError as error:
            self.free_bytes = None
            _log.debug("free_space_unknown", reason=error.strerror)
            return
        level = self._level(self.free_bytes)
        if level == self.level:
            return
        self.level = level
        facts = {"free_bytes": self.free_bytes, "path": str(self._path)}
        if level is Level.ENOUGH:
            _log.info("free_space_enough", **facts)
        elif level is Level.WARNING:
            _log.warning("free_space_low", below_bytes=self._warning_bytes, **facts)
        else:
            _log.error("free_space_critical", below_bytes=self._critical_bytes, **facts)

    def _level(self, free_bytes: int) -> Level:
        for level, bound in ((Level.CRITICAL, self._critical_bytes), (Level.WARNING, self._warning_bytes)):
            if free_bytes < (bound * BACK_SHARE if self.level >= level else bound):
                return level
        return Level.ENOUGH

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(REST_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS - REST_SECONDS):
                    await self._full.wait()
            self._full.clear()
