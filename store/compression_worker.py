"""Archives are compressed in the background: a few parts at a time, through the writer like every change, and slowly.

What is stored remembers how far this has come, so it can be cut off at any instant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter
from typing import Final

import structlog

from store.background import Background
from store.engine import Change, Engine
from store.errors import StorageDamagedError, StoreError
from store.limits import COMPRESSION_COMMIT_BYTES
from store.pieces import CompressParts
from store.zones import Zone

_log = structlog.get_logger()

SWEEP_ARCHIVES: Final = 16
"""Archives asked for at once, and done at once where they are small."""

REST_ALONE: Final = 3.0
REST_AMONG_OTHERS: Final = 100.0
"""Times as long as a step took it rests; the second where others have written since the last one, of whom one in a hundred then
meets a step."""


class CompressionWorker:
    """Has the engine's archives compressed, newest first, each once."""

    def __init__(
        self,
        engine: Engine,
        submit: Callable[[Change], Awaitable[object]],
        changes: Callable[[], float] = lambda: 0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Keep the collaborators; nothing begins before `start`.

        Args:
            engine: whose archives they are.
            submit: applies a change and returns once it is durable; raises as `Writer.submit` does.
            changes: how many changes have been applied so far, to see whether others write.
            sleep: waits for so many seconds between two steps, and before what failed is tried again.
        """
        self._engine = engine
        self._submit = submit
        self._changes = changes
        self._sleep = sleep
        self._damaged: set[Zone] = set()
        self._before: CompressParts | None = None
        self._seen = 0.0
        self._background = Background("compressions", self.sweep, sleep)

    def start(self) -> None:
        """Begin with the archives that are there."""
        self._background.start()

    def notify(self) -> None:
        """Hear that there may be new archives."""
        self._background.notify()

    async def stop(self) -> None:
        """Give up what is under way. Doing it twice is harmless."""
        await self._background.stop()

    async def sweep(self) -> bool:
        """Compress all archives that are left; returns False where the store could not be used, so that some are left over."""
        try:
            while zones := await self._left():
                await self._step(zones)
        except StoreError as error:
            _log.warning("compression_put_off", code=error.word, error=str(error))
            return False
        except Exception:  # noqa: BLE001 - said here, and tried again: the daemon goes on whatever went wrong
            _log.exception("compression_failed")
            return False
        return True

    async def _left(self) -> list[Zone]:
        zones = await self._engine.archives_to_compress(SWEEP_ARCHIVES + len(self._damaged))
        return [zone for zone in zones if zone not in self._damaged]

    async def _step(self, zones: list[Zone]) -> None:
        """Compress a piece of an archive, or some that are small, in one commit; then rest."""
        began = perf_counter()
        step: list[CompressParts] = []
        before = self._before
        for zone in zones:
            piece = await self._piece(zone, before if before is not None and before.zone == zone else None)
            if piece is None:
                continue
            step.append(piece)
            if not piece.is_last or sum(each.size_bytes for each in step) >= COMPRESSION_COMMIT_BYTES:
                break
        await asyncio.gather(*(self._submit(piece) for piece in step if piece.parts or piece.is_last))
        self._before = replace(step[-1], parts=()) if step and not step[-1].is_last else None
        changes, self._seen = self._changes() - self._seen, self._changes()
        is_alone = changes <= len(step)
        await self._sleep((perf_counter() - began) * (REST_ALONE if is_alone else REST_AMONG_OTHERS))

    async def _piece(self, zone: Zone, before: CompressParts | None) -> CompressParts | None:
        """Compress the next piece of an archive; None where that is gone, or cannot be read."""
        try:
            return await self._engine.compressed_parts(zone, before)
        except StorageDamagedError as error:
            _log.warning("archive_not_compressed", zone=zone, code=error.word, error=str(error))
            self._damaged.add(zone)
            return None
