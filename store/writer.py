"""Group commit: admit, batch, apply, acknowledge, drain. Knows no SQL.

Changes queue up while a batch is being made durable, and all that have gathered form the next one: the slower the disk,
the larger the batches, and nobody waits for a timer. A change that its caller has given up before it was taken into a
batch is dropped; from then on it is completed, whoever listens. Nothing is answered before `Engine.apply` has returned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from store.engine import Change, Outcome, Result
from store.errors import OverloadedError, ShuttingDownError, StorageUnavailableError
from store.limits import BATCH_BYTES_MAX, BATCH_CHANGES_MAX, Limits

_log = structlog.get_logger()


_GATHERING_TURNS: Final = 8
"""A turn takes some microseconds where nothing has arrived, so this is a fraction of what the commit takes."""


class Applier(Protocol):
    """What the writer needs of an engine."""

    @property
    def maintenance_due(self) -> bool:
        """Tell whether `maintain` has something to do."""

    async def apply(self, batch: list[Change]) -> list[Outcome]:
        """Apply the changes as one durable transaction."""

    async def maintain(self) -> None:
        """Do one bounded step of housekeeping."""


@dataclass(slots=True)
class _Waiting:
    change: Change
    answer: asyncio.Future[Result]


class Writer:
    """The one owner of the engine's writing side, while the daemon serves."""

    def __init__(self, engine: Applier, limits: Limits) -> None:
        """Keep the engine; nothing is applied before `start`."""
        self._engine = engine
        self._limits = limits
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._draining = False
        self._task: asyncio.Task[None] | None = None

    @property
    def queued_changes(self) -> int:
        """Number of changes waiting."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Bytes of the changes waiting."""
        return self._queued_bytes

    def start(self) -> None:
        """Begin to apply what is submitted."""
        self._task = asyncio.create_task(self._run(), name="writer")

    async def submit(self, change: Change) -> Result:
        """Have a change applied; returns its result once it is durable.

        Changes take effect in the order they were submitted.

        Raises:
            OverloadedError: the queue is full.
            ShuttingDownError: the writer drains or has stopped.
            StoreError: what the engine says of this change. Whatever is raised, nothing of the change was stored.
        """
        if self._draining:
            raise ShuttingDownError
        limits = self._limits
        full = len(self._queue) >= limits.queue_changes_max
        if full or (self._queue and self._queued_bytes + change.size_bytes > limits.queue_bytes_max):
            raise OverloadedError
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(change, answer))
        self._queued_bytes += change.size_bytes
        self._wake.set()
        return await answer

    async def drain(self) -> None:
        """Refuse what comes from now on, finish what was admitted, and stop. Doing it twice is harmless."""
        self._draining = True
        self._wake.set()
        if self._task is not None:
            await asyncio.shield(self._task)  # whoever gives up waiting must not cut a batch off

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            callers = 1
            while self._queue:
                await self._gather(callers)
                batch = self._take()
                if batch:
                    await self._apply(batch)
                callers = len(batch) + len(self._queue)
                if self._engine.maintenance_due:
                    await self._maintain()
            if self._draining:
                return

    async def _gather(self, callers: int) -> None:
        """Give as many callers as there were a few turns of the loop to come again.

        A commit costs the same for one change and for thirty, so those who come while it is on its way should not be
        cut into two halves that wait for each other's commits. A caller that is alone never waits.
        """
        for _ in range(_GATHERING_TURNS):
            if len(self._queue) >= callers:
                return
            await asyncio.sleep(0)

    def _take(self) -> list[_Waiting]:
        """Take the next batch off the queue, without those whose callers have gone."""
        batch: list[_Waiting] = []
        size_bytes = 0
        while self._queue and len(batch) < BATCH_CHANGES_MAX:
            change = self._queue[0].change
            if batch and size_bytes + change.size_bytes > BATCH_BYTES_MAX:
                break
            waiting = self._queue.popleft()
            self._queued_bytes -= change.size_bytes
            if not waiting.answer.cancelled():
                batch.append(waiting)
                size_bytes += change.size_bytes
        return batch

    async def _apply(self, batch: list[_Waiting]) -> None:
        """Apply a batch. Where it fails as a whole, each change is tried alone.

        One change that cannot be stored, such as the one that fills the disk, must not take the others with it.
        """
        try:
            outcomes = await self._engine.apply([waiting.change for waiting in batch])
        except Exception as error:  # noqa: BLE001 - whatever went wrong is every waiter's answer, and the writer goes on
            if len(batch) > 1 and not isinstance(error, StorageUnavailableError):
                for waiting in batch:
                    await self._apply([waiting])
                return
            outcomes = [error] * len(batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(outcome, Exception):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome)

    async def _maintain(self) -> None:
        try:
            await self._engine.maintain()
        except Exception:  # noqa: BLE001 - the writer goes on, whatever the engine met
            # Housekeeping that fails, on a full disk say, is tried again after the next batch; what is stored stays
            # stored.
            _log.exception("maintenance_failed")
