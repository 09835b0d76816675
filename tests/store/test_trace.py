"""Where the time of a request goes in the store: to the queue, the batch, the disk, a reader, a preview."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from time import perf_counter

import pytest

from store.errors import StorageFullError, StorageUnavailableError
from store.handle import Handle
from store.limits import BATCH_CHANGES_MAX, Limits
from store.previews import NO_PREVIEW, Preview
from store.sessions import Sessions
from store.sqlite import SqliteEngine
from store.trace import TRACE, Trace, spent_on
from store.writer import Writer
from store.zones import Zone
from tests.conftest import Clock
from tests.store.foreign import meddling
from tests.store.test_writer import Applier, change, submitted
from tests.waiting import until


@pytest.fixture
def trace() -> Trace:
    """Serve a request."""
    served = Trace("request")
    TRACE.set(served)
    return served


async def finished(tasks: list[asyncio.Task[object]]) -> None:
    """Wait for tasks, whatever comes out."""
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def applier() -> Applier:
    """Return an engine that is only a list."""
    return Applier()


@pytest.fixture
async def writer(applier: Applier) -> Writer:
    """Return a writer that runs outside of any request."""
    running = Writer(applier, Limits())
    running.start()
    return running


def in_a_request(writer: Writer, number: int) -> tuple[Trace, asyncio.Task[object]]:
    """Submit a change on account of a request of its own."""
    served = Trace(str(number))

    async def submit() -> object:
        TRACE.set(served)
        return await writer.submit(change(number))

    return served, asyncio.ensure_future(submit())


async def test_a_batch_before_is_the_queue_s_and_ones_own_is_the_commit_s(applier: Applier, writer: Writer) -> None:
    """What waits for another's commit is told from what its own takes, and how many it waited for."""
    began = perf_counter()
    first = await applier.shut(writer)
    served, task = in_a_request(writer, 1)
    applier.entered.clear()
    applier.sync_seconds = 0.5
    await until(lambda: writer.queued_changes > 0)
    waited_from = perf_counter()
    applier.gate.set()
    applier.gate = asyncio.Event()
    await applier.entered.wait()
    taken = perf_counter()
    applier.gate.set()
    await asyncio.gather(first, task)
    ended = perf_counter()
    assert 0 < served.queue_seconds <= taken - began
    assert 0 < served.commit_seconds <= ended - waited_from
    assert served.queue_seconds + served.commit_seconds <= ended - served.began
    assert (served.queue_batches, served.sync_seconds) == (1, 0.5)
    await writer.drain()


async def test_a_queue_longer_than_a_batch_is_told_from_a_disk_that_is_slow(applier: Applier, writer: Writer) -> None:
    """Who waits for several batches stands in a queue that is too long."""
    first = await applier.shut(writer)
    ahead = await submitted(writer, *(change(number) for number in range(1, 2 * BATCH_CHANGES_MAX + 1)))
    served, task = in_a_request(writer, 9_999)
    await until(lambda: writer.queued_changes > 2 * BATCH_CHANGES_MAX)
    applier.gate.set()
    await asyncio.gather(first, task, *ahead)
    assert served.queue_batches == 3
    await writer.drain()


async def test_several_changes_of_one_request_wait_at_the_same_time(
    applier: Applier, writer: Writer, trace: Trace
) -> None:
    """A batch that holds several of them counts once: never more than really passed."""
    applier.sync_seconds = 0.25
    await applier.shut(writer)
    tasks = await submitted(writer, *(change(number) for number in range(1, 200)))
    applier.gate.set()
    await finished(tasks)
    ended = perf_counter()
    assert trace.sync_seconds == 0.5  # the first one's batch, and that of all others
    assert 0 < trace.queue_seconds + trace.commit_seconds <= ended - trace.began
    await writer.drain()


async def test_batches_are_counted_whatever_comes_out(applier: Applier, writer: Writer) -> None:
    """A batch that fails as a whole is one, and so is each of its changes that is then tried alone."""
    applier.fail = lambda numbers: StorageFullError() if 2 in numbers else None
    await applier.shut(writer)
    tasks = await submitted(writer, change(1), change(2), change(3))
    assert not writer.met_full_disk.is_set()
    applier.gate.set()
    await finished(tasks)
    assert (writer.batch_changes.count, writer.batch_changes.total) == (5, 7)
    assert writer.commit_seconds.count == writer.sync_seconds.count == 5
    assert writer.met_full_disk.is_set()
    await writer.drain()


async def test_a_disk_that_hangs_shows_while_it_does(applier: Applier, writer: Writer) -> None:
    """A commit that never ends is in no histogram, but its age grows."""
    assert writer.applying_seconds == 0
    await applier.shut(writer)
    before = writer.applying_seconds
    assert 0 < before < writer.applying_seconds
    applier.gate.set()
    await writer.drain()
    assert writer.applying_seconds == 0


async def test_who_waits_for_a_reader_s_thread_is_told_from_who_reads_long(sqlite: SqliteEngine, trace: Trace) -> None:
    """All threads are held; what comes behind them waits, and what holds them reads."""
    release = threading.Event()

    def hold(_handle: Handle) -> None:
        assert release.wait(30)

    holding = Trace("holding")

    async def held() -> None:
        TRACE.set(holding)
        await sqlite._readers.ask("a test", hold)

    assert sqlite.figures()["oldest_reader_ms"] == 0
    holders = [asyncio.ensure_future(held()) for _ in range(4)]
    await until(lambda: len(sqlite._readers._began) == 4)
    waiting = asyncio.ensure_future(sqlite.list_agents(1, None))
    await asyncio.sleep(0)  # it waits from here on
    held_seconds = sqlite._readers.oldest_seconds
    await until(lambda: sqlite._readers.oldest_seconds >= held_seconds + 0.02)
    assert int(str(sqlite.figures()["oldest_reader_ms"])) >= 20
    release.set()
    await asyncio.gather(waiting, *holders)
    assert trace.read_wait_seconds > trace.read_seconds > 0
    assert holding.read_seconds >= 0.02
    assert sqlite.figures()["oldest_reader_ms"] == 0


async def test_a_store_that_another_program_locks_is_the_commit_s_time_and_not_the_disk_s(
    sqlite: SqliteEngine, path: Path, clock: Clock, trace: Trace
) -> None:
    """The wait for the lock is in the commit, and neither in the queue nor in the sync."""
    await sqlite._writer.call(lambda: sqlite._handle().execute("PRAGMA busy_timeout = 30"))
    writer = Writer(sqlite, Limits())
    writer.start()
    sessions = Sessions(sqlite, writer, NoPreviews(), Limits(), clock)
    await sessions.append_session_output("agent", ["x"])
    synced_seconds, commit_seconds = trace.sync_seconds, trace.commit_seconds
    assert 0 < synced_seconds < commit_seconds
    with meddling(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailableError):
            await sessions.append_session_output("agent", ["x"])
        connection.execute("ROLLBACK")
    assert trace.commit_seconds - commit_seconds >= 0.025
    assert trace.sync_seconds == synced_seconds
    await writer.drain()


class NoPreviews:
    """Works nothing out, and takes a moment for it."""

    def notify(self) -> None:
        """Hear nothing."""

    async def work_out(self, _zone: Zone) -> Preview:
        """Find nothing."""
        await asyncio.sleep(0)
        return NO_PREVIEW


async def test_waiting_for_previews_is_told(sqlite: SqliteEngine, clock: Clock, trace: Trace) -> None:
    """A list that works out what its rows lack says how long that took."""
    writer = Writer(sqlite, Limits())
    writer.start()
    sessions = Sessions(sqlite, writer, NoPreviews(), Limits(), clock)
    await sessions.append_session_output("agent", ["x"])
    assert trace.preview_seconds == 0
    await sessions.archive_session("agent")
    await sessions.list_archives("agent")
    assert trace.preview_seconds > 0
    await writer.drain()


async def test_a_stage_counts_what_its_blocks_take_also_where_they_fail(trace: Trace) -> None:
    """Twice the same stage adds up."""
    for _ in range(2):
        before = trace.encode_seconds
        with pytest.raises(ZeroDivisionError), spent_on("encode_seconds"):
            _ = 1 // 0
        assert trace.encode_seconds > before
