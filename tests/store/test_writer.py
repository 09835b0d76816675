"""Group commit, over an engine that is only a list: no database is needed to see what is batched, refused and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from store.engine import AppendOutput, ArchiveSession, Change, Outcome
from store.errors import (
    OverloadedError,
    ShuttingDownError,
    StaleSessionError,
    StorageDamagedError,
    StorageFullError,
    StorageUnavailableError,
)
from store.limits import BATCH_BYTES_MAX, BATCH_CHANGES_MAX, Limits
from store.records import Archived
from store.writer import Writer
from store.zones import agent_current_zone

ZONE = agent_current_zone("agent")


def change(number: int, size_bytes: int = 0) -> AppendOutput:
    """Make a change that can be told by its number and holds so many bytes."""
    return AppendOutput(ZONE, b"x" * size_bytes, number)


def answer(number: int) -> Archived:
    """Return what the engine answers to that change."""
    return Archived(None, number, None)


class Applier:
    """Keeps what it is given, in memory. A batch waits while the gate is shut."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.events: list[str] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail: Callable[[list[int]], Exception | None] = lambda _: None
        self.outcome: Callable[[int], Outcome] = answer
        self.maintenance_due = False
        self.sync_seconds = 0.0
        self.maintain_error: Exception | None = None

    async def apply(self, batch: list[Change]) -> list[Outcome]:
        """Take the changes, or fail as the test wants it."""
        numbers = [each.now_ms for each in batch if isinstance(each, AppendOutput | ArchiveSession)]
        self.batches.append(numbers)
        self.events.append("apply")
        self.entered.set()
        await self.gate.wait()
        if error := self.fail(numbers):
            raise error
        return [self.outcome(number) for number in numbers]

    async def maintain(self) -> None:
        """Note that it was called."""
        self.events.append("maintain")
        if self.maintain_error:
            raise self.maintain_error

    async def shut(self, writer: Writer) -> asyncio.Task[object]:
        """Shut the gate behind a first change, number 0, so that all others gather."""
        self.gate.clear()
        first = asyncio.ensure_future(writer.submit(change(0)))
        await self.entered.wait()
        return first


@pytest.fixture
async def applier() -> Applier:
    """Return an engine of this loop."""
    return Applier()


@pytest.fixture
async def writer(applier: Applier) -> Writer:
    """Return a writer that runs."""
    running = Writer(applier, Limits())
    running.start()
    return running


async def submitted(writer: Writer, *changes: Change) -> list[asyncio.Task[object]]:
    """Submit changes; return once all are admitted or refused."""
    tasks: list[asyncio.Task[object]] = [asyncio.ensure_future(writer.submit(each)) for each in changes]
    reached = asyncio.Event()
    asyncio.get_running_loop().call_soon(reached.set)
    await reached.wait()
    return tasks


async def test_a_change_is_answered_with_its_own_outcome(applier: Applier, writer: Writer) -> None:
    """Each waiter gets the result of its change, in whatever batch it was."""
    numbers = list(range(1, 50))
    assert await asyncio.gather(*(writer.submit(change(number)) for number in numbers)) == [answer(n) for n in numbers]
    await writer.drain()


async def test_what_gathers_during_a_batch_forms_the_next(applier: Applier, writer: Writer) -> None:
    """While one batch is made durable all others queue up, in order, and form one batch."""
    await applier.shut(writer)
    await submitted(writer, *(change(number) for number in range(1, 100)))
    assert (writer.queued_changes, writer.queued_bytes) == (99, 0)
    applier.gate.set()
    await writer.drain()
    assert applier.batches == [[0], list(range(1, 100))]


async def test_nothing_is_answered_before_the_batch_is_durable(applier: Applier, writer: Writer) -> None:
    """As long as the engine has not returned no waiter has an answer."""
    first = await applier.shut(writer)
    assert not first.done()
    applier.gate.set()
    assert await first == answer(0)
    await writer.drain()


async def test_a_batch_is_bounded_in_changes(applier: Applier, writer: Writer) -> None:
    """More changes than a batch may hold make several, in order."""
    await applier.shut(writer)
    await submitted(writer, *(change(number) for number in range(1, 2 * BATCH_CHANGES_MAX + 2)))
    applier.gate.set()
    await writer.drain()
    assert [len(batch) for batch in applier.batches] == [1, BATCH_CHANGES_MAX, BATCH_CHANGES_MAX, 1]
    assert [number for batch in applier.batches for number in batch] == list(range(2 * BATCH_CHANGES_MAX + 2))


async def test_a_batch_is_bounded_in_bytes_unless_one_change_is_larger(applier: Applier, writer: Writer) -> None:
    """Changes join while their bytes fit; one that is larger than a batch goes alone."""
    half = BATCH_BYTES_MAX // 2
    sizes = [half, half, 1, 3 * BATCH_BYTES_MAX, 1, half]
    await applier.shut(writer)
    await submitted(writer, *(change(number, size) for number, size in enumerate(sizes, 1)))
    assert writer.queued_bytes == sum(sizes)
    applier.gate.set()
    await writer.drain()
    assert applier.batches == [[0], [1, 2], [3], [4], [5, 6]]
    assert (writer.queued_changes, writer.queued_bytes) == (0, 0)


async def test_a_full_queue_is_overloaded(applier: Applier) -> None:
    """Over `queue_changes_max` a change is refused at once, and may be tried again; the others are stored."""
    writer = Writer(applier, replace(Limits(), queue_changes_max=3))
    writer.start()
    await applier.shut(writer)
    await submitted(writer, *(change(number) for number in (1, 2, 3)))
    with pytest.raises(OverloadedError) as caught:
        await writer.submit(change(4))
    assert (caught.value.word, caught.value.retry) == ("OVERLOADED", True)
    applier.gate.set()
    await writer.drain()
    assert applier.batches == [[0], [1, 2, 3]]


async def test_too_many_bytes_are_overloaded(applier: Applier) -> None:
    """Over `queue_bytes_max` a change is refused, but one that finds the queue empty is always let in."""
    writer = Writer(applier, replace(Limits(), queue_bytes_max=100))
    writer.start()
    await applier.shut(writer)
    await submitted(writer, change(1, 1_000))
    with pytest.raises(OverloadedError):
        await writer.submit(change(2, 1))
    applier.gate.set()
    await writer.drain()
    assert applier.batches == [[0], [1]]


async def test_what_its_caller_gave_up_before_admission_is_dropped(applier: Applier, writer: Writer) -> None:
    """A change cancelled while it waits is never applied, and holds no room once its turn has come."""
    first = await applier.shut(writer)
    _, second, _ = await submitted(writer, change(1, 10), change(2, 10), change(3, 10))
    second.cancel()
    applier.gate.set()
    await first
    await writer.drain()
    assert applier.batches == [[0], [1, 3]]
    assert (writer.queued_changes, writer.queued_bytes) == (0, 0)
    assert second.cancelled()


async def test_a_queue_of_given_up_changes_alone_makes_no_batch(applier: Applier, writer: Writer) -> None:
    """Where nobody waits any more nothing is applied, and the writer goes on."""
    await applier.shut(writer)
    for task in await submitted(writer, *(change(number) for number in range(1, 2_500))):
        task.cancel()
    applier.gate.set()
    assert await writer.submit(change(9_999)) == answer(9_999)
    await writer.drain()
    assert applier.batches == [[0], [9_999]]


async def test_what_is_admitted_is_completed_whoever_listens(applier: Applier, writer: Writer) -> None:
    """A change in a batch is applied though its caller is gone, and the others get their answers."""
    await applier.shut(writer)
    gone, stays = await submitted(writer, change(1), change(2))
    applier.entered.clear()
    applier.gate.set()
    applier.gate = asyncio.Event()
    await applier.entered.wait()
    gone.cancel()
    applier.gate.set()
    assert await stays == answer(2)
    assert gone.cancelled()
    await writer.drain()
    assert applier.batches == [[0], [1, 2]]


async def test_a_refusal_is_one_changes_own(applier: Applier, writer: Writer) -> None:
    """An exception among the outcomes is raised to that waiter; the others have their results."""
    applier.outcome = lambda number: StaleSessionError("stale") if number == 2 else answer(number)
    outcomes = await asyncio.gather(*(writer.submit(change(n)) for n in (1, 2, 3)), return_exceptions=True)
    assert isinstance(outcomes[1], StaleSessionError)
    assert [outcomes[0], outcomes[2]] == [answer(1), answer(3)]
    await writer.drain()


@pytest.mark.parametrize("error", [StorageFullError(), StorageDamagedError("torn"), RuntimeError("unexpected")])
async def test_a_failed_batch_is_tried_change_by_change(applier: Applier, writer: Writer, error: Exception) -> None:
    """One change that cannot be stored does not take the others with it; each is tried alone, in order, once."""
    applier.fail = lambda numbers: error if 2 in numbers else None
    await applier.shut(writer)
    tasks = await submitted(writer, change(1), change(2), change(3))
    applier.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes == [answer(1), error, answer(3)]
    assert applier.batches == [[0], [1, 2, 3], [1], [2], [3]]
    assert await writer.submit(change(4)) == answer(4)
    await writer.drain()


async def test_an_unavailable_store_is_not_tried_change_by_change(applier: Applier, writer: Writer) -> None:
    """Where the engine cannot be reached each further try would wait for it again: all are told at once."""
    error = StorageUnavailableError("locked")
    applier.fail = lambda numbers: error if numbers != [0] else None
    await applier.shut(writer)
    tasks = await submitted(writer, change(1), change(2))
    applier.gate.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [error, error]
    await writer.drain()
    assert applier.batches == [[0], [1, 2]]


async def test_draining_finishes_what_was_admitted_and_refuses_the_rest(applier: Applier, writer: Writer) -> None:
    """What was queued is stored and answered; what comes during and after the drain is SHUTTING_DOWN."""
    first = await applier.shut(writer)
    tasks = await submitted(writer, change(1), change(2))
    draining = asyncio.ensure_future(writer.drain())
    await submitted(writer)
    with pytest.raises(ShuttingDownError) as caught:
        await writer.submit(change(3))
    assert (caught.value.word, caught.value.retry) == ("SHUTTING_DOWN", True)
    applier.gate.set()
    await draining
    assert await asyncio.gather(first, *tasks) == [answer(0), answer(1), answer(2)]
    with pytest.raises(ShuttingDownError):
        await writer.submit(change(4))
    assert applier.batches == [[0], [1, 2]]


async def test_draining_twice_is_harmless(writer: Writer) -> None:
    """Together or one after the other."""
    await asyncio.gather(writer.drain(), writer.drain())
    await writer.drain()


async def test_draining_what_never_started_refuses_and_returns(applier: Applier) -> None:
    """A start-up that fails drains before there was a start."""
    writer = Writer(applier, Limits())
    await writer.drain()
    with pytest.raises(ShuttingDownError):
        await writer.submit(change(1))


async def test_a_drain_that_is_given_up_does_not_stop_the_writer(applier: Applier, writer: Writer) -> None:
    """Whoever waits for the drain may stop waiting: what was admitted is stored and answered all the same."""
    first = await applier.shut(writer)
    (second,) = await submitted(writer, change(1))
    draining = asyncio.ensure_future(writer.drain())
    await submitted(writer)
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    applier.gate.set()
    answered, _ = await asyncio.wait({first, second}, timeout=5)
    assert answered == {first, second}
    assert (first.result(), second.result()) == (answer(0), answer(1))
    await writer.drain()


async def test_nothing_is_applied_before_the_start(applier: Applier) -> None:
    """Changes may queue up before; they are applied once the writer starts."""
    writer = Writer(applier, Limits())
    tasks = await submitted(writer, change(1), change(2))
    assert applier.batches == []
    writer.start()
    assert await asyncio.gather(*tasks) == [answer(1), answer(2)]
    await writer.drain()


async def test_housekeeping_is_done_between_batches(applier: Applier, writer: Writer) -> None:
    """Where it is due it follows the batch, before the next one."""
    await applier.shut(writer)
    applier.maintenance_due = True
    await submitted(writer, change(1))
    applier.gate.set()
    await writer.drain()
    assert applier.events == ["apply", "maintain", "apply", "maintain"]


async def test_housekeeping_that_fails_stops_nothing(applier: Applier, writer: Writer) -> None:
    """It is tried again after the next batch; every change is answered as if nothing had been."""
    applier.maintenance_due = True
    applier.maintain_error = StorageFullError()
    assert await writer.submit(change(1)) == answer(1)
    assert await writer.submit(change(2)) == answer(2)
    await writer.drain()
    assert applier.events == ["apply", "maintain", "apply", "maintain"]


async def test_a_change_submitted_while_a_failed_batch_is_retried_comes_after_it(
    applier: Applier, writer: Writer
) -> None:
    """Changes take effect in the order they were submitted, also where a batch had to be taken apart."""
    await applier.shut(writer)
    tasks = await submitted(writer, change(1), change(2))

    def fail_once(numbers: list[int]) -> Exception | None:
        if numbers == [1, 2]:
            tasks.append(asyncio.ensure_future(writer.submit(change(3))))
            return StorageFullError()
        return None

    applier.fail = fail_once
    applier.gate.set()
    await tasks[1]
    await writer.drain()
    assert applier.batches == [[0], [1, 2], [1], [2], [3]]
    assert await tasks[2] == answer(3)
