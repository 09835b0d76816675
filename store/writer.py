"""Group commit: admit, batch, apply, acknowledge, drain. Knows no SQL.

Changes queue up while a batch is being made durable, and all that have gathered form the next one: the slower the disk,
the larger the batches, and nobody waits for a timer. A change that its caller has given up before it was taken into a
batch is dropped; from then on it is completed, whoever listens. Nothing is answered before `Engine.apply` has returned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final, Protocol

import structlog

from store.engine import Change, Outcome, Result
from store.errors import OverloadedError, ShuttingDownError, StorageFullError, StorageUnavailableError
from store.histogram import SECONDS, Histogram
from store.limits import BATCH_BYTES_MAX, BATCH_CHANGES_MAX, Limits
from store.trace import TRACE, Trace

_log = structlog.get_logger()

CHANGES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, BATCH_CHANGES_MAX)
"""Slots for how many changes a batch has."""

_GATHERING_TURNS: Final = 8
"""A turn takes some microseconds where nothing has arrived, so this is a fraction of what the commit takes."""


class Applier(Protocol):
    """What the writer needs of an engine."""

    @property
    def sync_seconds(self) -> float:
        """How long the last batch took to be made durable once all its changes were made."""

    @property
    def maintenance_due(self) -> bool:
        """Tell whether `maintain` has something to do."""

    async def apply(self, batch: list[Change]) -> list[Outcome]:
        """Apply the changes as one durable transaction."""

    async def maintain(self) -> None:
        """Do one bounded step of housekeeping."""


@dataclass(slots=True)
class _Waiting:
    """A change in the queue: since when, and how many batches had ended by then."""

    change: Change
    answer: asyncio.Future[Result]
    trace: Trace
    since: float
    batches_ended: int


class Writer:
    """The one owner of the engine's writing side, while the daemon serves.

    Attributes:
        batch_changes: how many changes the batches had.
        commit_seconds: how long each took to be applied, whatever came out.
        sync_seconds: how long of that it took to be made durable once its changes were made: the disk's share.
        met_full_disk: set whenever the disk is full; whoever heeds it clears it.
    """

    def __init__(self, engine: Applier, limits: Limits) -> None:
        """Keep the engine; nothing is applied before `start`."""
        self._engine = engine
        self._limits = limits
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._draining = False
        self._task: asyncio.Task[None] | None = None
        self._batches_ended = 0
        self._applying_since: float | None = None
        self.batch_changes = Histogram(CHANGES)
        self.commit_seconds = Histogram(SECONDS)
        self.sync_seconds = Histogram(SECONDS)
        self.met_full_disk = asyncio.Event()

    @property
    def queued_changes(self) -> int:
        """Number of changes waiting."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Bytes of the changes waiting."""
        return self._queued_bytes

    @property
    def applying_seconds(self) -> float:
        """How long the batch that is being applied has been; 0 where none is. A disk that hangs shows here alone."""
        return 0.0 if self._applying_since is None else perf_counter() - self._applying_since

    def status(self) -> dict[str, object]:
        """Describe queue and batches for `srv:status`; p50 and p99 are what half and nearly all batches took at most."""
        times: dict[str, object] = {}
        for name, seconds in (("commit", self.commit_seconds), ("sync", self.sync_seconds)):
            for percent in (50, 99):
                bound = seconds.at_most(percent / 100)
                times[f"{name}_p{percent}_ms"] = None if bound is None else 1_000 * bound
        return {
            "queued_changes": self.queued_changes,
            "queued_bytes": self.queued_bytes,
            "applying_ms": round(1_000 * self.applying_seconds),
            "batches": self.batch_changes.count,
            "changes": int(self.batch_changes.total),
            **times,
        }

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
        self._queue.append(_Waiting(change, answer, TRACE.get(), perf_counter(), self._batches_ended))
        self._queued_bytes += change.size_bytes
        self._wake.set()
        try:
            return await answer
        finally:
            # Else the future, its error and that one's traceback hold each other, and all of them the change.
            del answer

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
                callers = await self._apply_next() + len(self._queue)
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

    async def _apply_next(self) -> int:
        """Apply the next batch, and let go of it; returns how many changes there were."""
        batch = self._take()
        changes = len(batch)
        if batch:
            await self._apply(batch)
        return changes

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
        began = self._applying_since = perf_counter()
        try:
            outcomes = await self._engine.apply([waiting.change for waiting in batch])
        except Exception as error:  # noqa: BLE001 - whatever went wrong is every waiter's answer, and the writer goes on
            self._account(batch, began)
            await self._fail(batch, error)
        else:
            self._account(batch, began)
            _answer(batch, outcomes)
        finally:
            batch.clear()  # the traceback of an error holds it, and it would hold the error

    async def _fail(self, batch: list[_Waiting], failure: Exception) -> None:
        if isinstance(failure, StorageFullError):
            self.met_full_disk.set()
        if len(batch) == 1 or isinstance(failure, StorageUnavailableError):
            _answer(batch, [failure] * len(batch))
            return
        now, ended = perf_counter(), self._batches_ended
        for waiting in [replace(each, since=now, batches_ended=ended) for each in batch]:
            await self._apply([waiting])

    def _account(self, batch: list[_Waiting], began: float) -> None:
        """Count a batch that has ended, and say of each of its changes where its time went."""
        ended = perf_counter()
        self._applying_since = None
        commit_seconds, sync_seconds = ended - began, self._engine.sync_seconds
        self.batch_changes.add(len(batch))
        self.commit_seconds.add(commit_seconds)
        self.sync_seconds.add(sync_seconds)
        for waiting in batch:
            trace, since = waiting.trace, waiting.since
            # A request of several changes waits for all of them at once.
            if trace.written_at == ended:
                continue
            if since < trace.written_at:  # noqa: PLR1730 - `max` is a call, on the path of every change
                since = trace.written_at
            trace.queue_seconds += began - since
            trace.queue_batches += self._batches_ended - waiting.batches_ended
            trace.commit_seconds += commit_seconds
            trace.sync_seconds += sync_seconds
            trace.written_at = ended
        self._batches_ended += 1

    async def _maintain(self) -> None:
        try:
            await self._engine.maintain()
        except Exception:  # noqa: BLE001 - the writer goes on, whatever the engine met
            # Housekeeping that fails, on a full disk say, is tried again after the next batch; what is stored stays
            # stored.
            _log.exception("maintenance_failed")


def _answer(batch: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    """Give every waiter of a batch its own outcome."""
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.answer.done():
            continue
        if isinstance(outcome, Exception):
            waiting.answer.set_exception(outcome)
        else:
            waiting.answer.set_result(outcome)
