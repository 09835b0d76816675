"""Previews in the background, over the real engine."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from store import preview_worker
from store.engine import AppendOutput, ArchiveSession, Change, Engine, KeepPreview, WriteState
from store.errors import (
    OverloadedError,
    ShuttingDownError,
    StorageDamagedError,
    StorageFullError,
    StorageUnavailableError,
)
from store.limits import Limits
from store.preview_worker import THREAD_SNAPSHOT_BYTES_MAX, PreviewWorker
from store.previews import Preview
from store.records import Archived
from store.sqlite import open_sqlite
from store.writer import Writer
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_current_zone


def snapshot(message: str, filler_bytes: int = 0) -> bytes:
    """Make a snapshot of two nodes, the second with the user's message, and something large before it."""
    nodes = [{"type": "markdown", "content": "x" * filler_bytes}, {"type": "user_message", "message": message}]
    return json.dumps({"nodes": nodes}).encode()


def turn(message: str) -> bytes:
    """Make a line of output: a turn of the user."""
    return json.dumps({"type": "user", "message": {"role": "user", "content": message}}).encode() + b"\n"


LARGE = snapshot("large", THREAD_SNAPSHOT_BYTES_MAX)


class Bench:
    """A store, and a worker whose results and waits a test can follow and refuse.

    Attributes:
        kept: the previews that were stored, in order.
        refusals: what to answer to the next results instead of storing them.
        delays_s: the waits that the worker asked for; each lasts until the test ends it with `retry`.
    """

    def __init__(self, engine: Engine) -> None:
        """Make a worker that is not started."""
        self.engine = engine
        self.writer = Writer(engine, Limits())
        self.worker = PreviewWorker(engine, self.submit, self.sleep)
        self.kept: list[KeepPreview] = []
        self.refusals: list[Exception] = []
        self.submitted = 0
        self.delays_s: list[float] = []
        self.changed = asyncio.Condition()
        self.retry = asyncio.Event()

    async def submit(self, change: Change) -> object:
        """Store a preview, or refuse it."""
        assert isinstance(change, KeepPreview)
        self.submitted += 1
        if self.refusals:
            raise self.refusals.pop(0)
        result = await self.writer.submit(change)
        self.kept.append(change)
        await self.tell()
        return result

    async def sleep(self, delay_s: float) -> None:
        """Wait until the test says that the time is over."""
        self.delays_s.append(delay_s)
        await self.tell()
        await self.retry.wait()
        self.retry.clear()

    async def tell(self) -> None:
        """Wake a test that waits for something to have happened."""
        async with self.changed:
            self.changed.notify_all()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until it has happened."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(happened)

    async def archive(self, agent: str, now_ms: int, state: bytes | None, output: bytes | None = None) -> Zone:
        """Put an archive into the store."""
        zone = agent_current_zone(agent)
        if state is not None:
            await self.writer.submit(WriteState(zone, state, now_ms))
        if output is not None:
            await self.writer.submit(AppendOutput(zone, output, now_ms))
        archived = await self.writer.submit(ArchiveSession(zone, now_ms))
        assert isinstance(archived, Archived)
        assert archived.archive_zoneid is not None
        return archived.archive_zoneid

    async def stored(self, zone: Zone) -> tuple[str | None, int]:
        """Read what is stored of an archive's preview."""
        rows = await self.engine.list_archives(zone.definition_id, 100, None)
        return next((row.preview, row.node_count) for row in rows if row.archive_zoneid == zone)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Open a store; leave no task, thread or process behind."""
    engine = await open_sqlite(tmp_path / "zones.db")
    bench = Bench(engine)
    bench.writer.start()
    yield bench
    await bench.worker.stop()
    await bench.writer.drain()
    await engine.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("preview")]


Read = Callable[[Zone, str, int, int], Any]


def around_reads(bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Zone, str, int], Any]) -> None:
    """Have a coroutine run before each read of bytes; it may wait or raise."""
    read: Read = bench.engine.read_bytes

    async def read_bytes(zone: Zone, name: str, start_byte: int, max_bytes: int) -> bytes:
        await fault(zone, name, start_byte)
        data: bytes = await read(zone, name, start_byte, max_bytes)
        return data

    monkeypatch.setattr(bench.engine, "read_bytes", read_bytes)


class Gate:
    """Holds readers until it is opened, and tells when the first has come."""

    def __init__(self) -> None:
        """Make a closed gate."""
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.readers = 0

    async def __call__(self, _zone: Zone, _name: str, _start_byte: int) -> None:
        """Wait here."""
        self.readers += 1
        self.reached.set()
        await self.opened.wait()


# --- what is kept


async def test_every_archive_gets_its_preview(bench: Bench) -> None:
    """From the snapshot, small or large, or else from the output, and what was kept is what a list shows."""
    cases: list[tuple[bytes | None, bytes | None, tuple[str, int]]] = [
        (snapshot("small"), turn("not this"), ("small", 2)),
        (LARGE, None, ("large", 2)),
        (None, turn("typed"), ("typed", 0)),
        (b'{"nodes":[1,2,3]}', turn("typed"), ("typed", 3)),
        (snapshot(" ", THREAD_SNAPSHOT_BYTES_MAX), turn("typed"), ("typed", 2)),
        (b"not JSON", None, ("", 0)),
        (None, b"\n", ("", 0)),
        (None, b'{"x":"%b"}\n' % (b"y" * 3_000_000) + turn("after three megabytes"), ("after three megabytes", 0)),
    ]
    zones = [await bench.archive("a", 1000 + index, state, output) for index, (state, output, _) in enumerate(cases)]
    bench.worker.start()
    await bench.until(lambda: len(bench.kept) == len(cases))
    assert [await bench.stored(zone) for zone in zones] == [expected for _, _, expected in cases]
    assert await bench.engine.archives_without_preview(10) == []
    assert bench.delays_s == []


async def test_the_newest_archive_comes_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is archived while others wait comes before them."""
    gate = Gate()
    zones = [await bench.archive("a", now_ms, None, turn("hi")) for now_ms in (1000, 2000, 3000)]
    around_reads(bench, monkeypatch, gate)
    bench.worker.start()
    await gate.reached.wait()
    zones.append(await bench.archive("b", 4000, None, turn("hi")))
    bench.worker.notify()
    gate.opened.set()
    await bench.until(lambda: len(bench.kept) == 4)
    assert [keep.zone for keep in bench.kept] == [zones[2], zones[3], zones[1], zones[0]]


async def test_more_archives_than_are_asked_for_at_once_get_theirs(bench: Bench) -> None:
    """A sweep ends when none is left."""
    zones = [await bench.archive("a", 1000 + each, None, turn(str(each))) for each in range(40)]
    bench.worker.start()
    await bench.until(lambda: len(bench.kept) == 40)
    assert [keep.zone for keep in bench.kept] == zones[::-1]


async def test_an_archive_made_later_gets_its_preview_when_told(bench: Bench) -> None:
    """The worker rests until `notify`, and wakes each time."""
    bench.worker.start()
    for now_ms in (1000, 2000):
        zone = await bench.archive("a", now_ms, snapshot(str(now_ms)))
        bench.worker.notify()
        await bench.until(lambda zone=zone: bench.kept[-1:] == [KeepPreview(zone, str(zone.archived_at_ms), 2)])  # type: ignore[misc]  # mypy cannot infer a lambda with a default


# --- on demand


async def test_callers_share_the_work_and_it_is_kept_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two callers and the background read an archive once and keep it once."""
    gate = Gate()
    zone = await bench.archive("a", 1000, snapshot("hi"))
    around_reads(bench, monkeypatch, gate)
    bench.worker.start()
    callers = [asyncio.create_task(bench.worker.work_out(zone)) for _ in range(2)]
    await gate.reached.wait()
    gate.opened.set()
    assert await asyncio.gather(*callers) == [Preview("hi", 2)] * 2
    await bench.until(lambda: len(bench.kept) == 1)
    assert gate.readers == 2  # the snapshot, and its end
    assert bench.submitted == 1


async def test_a_caller_that_gives_up_does_not_stop_the_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a timeout nor by being cancelled: the other caller gets its answer, and it is kept."""
    gate = Gate()
    zone = await bench.archive("a", 1000, snapshot("hi"))
    around_reads(bench, monkeypatch, gate)
    patient, hasty = (asyncio.create_task(bench.worker.work_out(zone)) for _ in range(2))
    await gate.reached.wait()
    done, _ = await asyncio.wait({patient, hasty}, timeout=0)
    assert not done
    hasty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    gate.opened.set()
    assert await patient == Preview("hi", 2)
    await bench.until(lambda: len(bench.kept) == 1)


async def test_an_answer_does_not_wait_until_it_is_kept(bench: Bench) -> None:
    """A preview that cannot be kept is an answer all the same, and is worked out again when it is asked for again."""
    zone = await bench.archive("a", 1000, snapshot("hi"))
    bench.refusals = [StorageFullError()]
    assert await bench.worker.work_out(zone) == Preview("hi", 2)
    await asyncio.gather(*(work.kept for work in bench.worker._under_way.values()), return_exceptions=True)
    assert await bench.stored(zone) == (None, 0)
    assert await bench.worker.work_out(zone) == Preview("hi", 2)
    await bench.until(lambda: len(bench.kept) == 1)
    assert await bench.stored(zone) == ("hi", 2)


async def test_an_archive_that_is_not_there_shows_nothing(bench: Bench) -> None:
    """It may have been renamed since its row was read."""
    assert await bench.worker.work_out(Zone("a", 1000)) == Preview("", 0)


# --- faults


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        ({SNAPSHOT_FILE}, ("typed", 0)),
        ({OUTPUT_FILE}, ("said", 2)),
        ({SNAPSHOT_FILE, OUTPUT_FILE}, ("", 0)),
    ],
)
async def test_what_is_damaged_is_not_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, damaged: set[str], expected: tuple[str, int]
) -> None:
    """A preview comes from what can be read, is empty where nothing can, and is kept so that nobody tries forever."""

    async def fault(zone: Zone, name: str, _start_byte: int) -> None:
        if name in damaged:
            raise StorageDamagedError(f"{zone} {name}")

    zone = await bench.archive("a", 1000, snapshot("said"), turn("typed"))
    around_reads(bench, monkeypatch, fault)
    bench.worker.start()
    await bench.until(lambda: len(bench.kept) == 1)
    assert await bench.stored(zone) == expected


async def test_damage_in_the_middle_leaves_what_came_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a snapshot it leaves nothing that can be read; in an output the lines before it."""

    async def fault(zone: Zone, name: str, start_byte: int) -> None:
        if start_byte > 0:
            raise StorageDamagedError(f"{zone} {name}")

    agent_turn = b'{"type":"assistant","message":{"content":[{"type":"text","text":"hello"}]}}\n'
    zone = await bench.archive("a", 1000, LARGE, agent_turn + b"x" * 1_000_000 + b"\n" + turn("lost"))
    around_reads(bench, monkeypatch, fault)
    assert await bench.worker.work_out(zone) == Preview("hello", 0)


@pytest.mark.parametrize(
    "refusal", [StorageFullError(), StorageUnavailableError("locked"), OverloadedError(), ShuttingDownError()]
)
async def test_what_cannot_be_kept_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    """After a delay that grows, once each time, and the next failure begins with the short delay again."""
    listed = bench.engine.archives_without_preview
    lengths: list[int] = []

    async def archives_without_preview(limit: int) -> list[Zone]:
        found = await listed(limit)
        lengths.append(len(found))
        await bench.tell()
        return found

    monkeypatch.setattr(bench.engine, "archives_without_preview", archives_without_preview)
    zones = [await bench.archive("a", now_ms, snapshot("hi")) for now_ms in (1000, 2000)]
    bench.refusals = [refusal] * 3
    bench.worker.start()
    for delays_s in ([1.0], [1.0, 2.0], [1.0, 2.0, 4.0]):
        await bench.until(lambda: len(bench.delays_s) == len(delays_s))  # noqa: B023 - waited for within the loop
        assert bench.delays_s == delays_s
        assert bench.submitted == len(delays_s)
        bench.retry.set()
    await bench.until(lambda: lengths[-1] == 0)
    assert [keep.zone for keep in bench.kept] == zones[::-1]
    await bench.archive("a", 3000, snapshot("hi"))
    bench.refusals = [refusal]
    bench.worker.notify()
    await bench.until(lambda: len(bench.delays_s) == 4)
    assert bench.delays_s[-1] == 1.0


async def test_news_end_the_delay(bench: Bench) -> None:
    """A new archive is a reason to try again."""
    await bench.archive("a", 1000, snapshot("hi"))
    bench.refusals = [StorageFullError()]
    bench.worker.start()
    await bench.until(lambda: bench.delays_s == [1.0])
    bench.worker.notify()
    await bench.until(lambda: len(bench.kept) == 1)


async def test_the_delay_has_an_end(bench: Bench) -> None:
    """It stops growing at the last."""
    await bench.archive("a", 1000, snapshot("hi"))
    bench.refusals = [StorageFullError()] * 12
    bench.worker.start()
    for count in range(1, 13):
        await bench.until(lambda: len(bench.delays_s) == count)  # noqa: B023 - waited for within the loop
        bench.retry.set()
    assert bench.delays_s[-4:] == [256.0, 300.0, 300.0, 300.0]
    await bench.until(lambda: len(bench.kept) == 1)


async def test_an_error_nobody_expects_costs_only_its_archive(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others get their previews in the same sweep, even behind more such archives than are asked for at once."""
    broken = True

    async def fault(zone: Zone, _name: str, _start_byte: int) -> None:
        if broken and zone.definition_id == "bad":
            raise ZeroDivisionError

    good = await bench.archive("good", 1000, snapshot("hi"))
    for each in range(17):
        await bench.archive("bad", 2000 + each, snapshot("hi"))
    around_reads(bench, monkeypatch, fault)
    bench.worker.start()
    await bench.until(lambda: bench.delays_s == [1.0])
    assert [keep.zone for keep in bench.kept] == [good]
    broken = False
    bench.retry.set()
    await bench.until(lambda: len(bench.kept) == 18)


async def test_damage_where_one_is_kept_costs_only_that_one(bench: Bench) -> None:
    """An archive whose preview cannot be kept for good does not stand before the others."""
    zones = [await bench.archive("a", now_ms, snapshot("hi")) for now_ms in (1000, 2000)]
    bench.refusals = [StorageDamagedError("its row")]
    bench.worker.start()
    await bench.until(lambda: bench.delays_s == [1.0])
    assert [keep.zone for keep in bench.kept] == zones[:1]


async def test_a_store_that_cannot_be_read_now_is_read_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it fails to list what lacks a preview, or to read one; who asked for one is told."""
    zone = await bench.archive("a", 1000, snapshot("hi"))
    errors: list[Exception] = [StorageUnavailableError("locked"), ZeroDivisionError()]
    listed = bench.engine.archives_without_preview

    async def archives_without_preview(limit: int) -> list[Zone]:
        if errors:
            raise errors.pop()
        return await listed(limit)

    async def fault(_zone: Zone, _name: str, _start_byte: int) -> None:
        if len(bench.delays_s) == 2:
            raise StorageUnavailableError("locked")

    monkeypatch.setattr(bench.engine, "archives_without_preview", archives_without_preview)
    around_reads(bench, monkeypatch, fault)
    bench.worker.start()
    for count in (1, 2, 3):
        await bench.until(lambda: len(bench.delays_s) == count)  # noqa: B023 - waited for within the loop
        if count == 2:
            with pytest.raises(StorageUnavailableError):
                await bench.worker.work_out(zone)
        bench.retry.set()
    await bench.until(lambda: len(bench.kept) == 1)


async def test_a_preview_that_does_not_stay_kept_makes_no_busy_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each archive is tried once in a sweep, whatever the engine lists."""
    zone = await bench.archive("a", 1000, snapshot("hi"))

    async def archives_without_preview(_limit: int) -> list[Zone]:
        return [zone]

    monkeypatch.setattr(bench.engine, "archives_without_preview", archives_without_preview)
    bench.worker.start()
    await bench.until(lambda: bench.delays_s == [1.0])
    assert bench.submitted == 1


# --- the child


def program(path: Path, text: str) -> str:
    """Write a program to stand in for the interpreter."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_a_large_snapshot_is_not_decoded_in_this_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder would hold the lock of the interpreter, and so the event loop."""

    def refuse(_content: bytes) -> Preview:
        raise AssertionError

    monkeypatch.setattr(preview_worker, "snapshot_preview", refuse)
    large = await bench.archive("a", 1000, LARGE)
    small = await bench.archive("a", 2000, snapshot("small"))
    assert await bench.worker.work_out(large) == Preview("large", 2)
    with pytest.raises(AssertionError):
        await bench.worker.work_out(small)


async def test_the_child_is_not_told_the_token_and_does_not_depend_on_where_we_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Children do not inherit ZONEKEEPER_TOKEN (DESIGN.md section 6), and run our own package."""
    monkeypatch.setenv("ZONEKEEPER_TOKEN", "secret")
    monkeypatch.setenv("ZONEKEEPER_OTHER", "other")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "previews.py").write_text("raise SystemExit(9)")
    seen = tmp_path / "environment"
    spy = program(tmp_path / "spy", f'env > {seen}\nexec {sys.executable} "$@"')
    monkeypatch.setattr(sys, "executable", spy)
    monkeypatch.setattr(preview_worker, "snapshot_preview", None)
    assert await bench.worker.work_out(await bench.archive("a", 1000, LARGE)) == Preview("large", 2)
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "ZONEKEEPER_OTHER" in names
    assert "ZONEKEEPER_TOKEN" not in names


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="it is not there"),
        pytest.param("exec <&-; exit 0", id="it does not listen"),
        pytest.param("exit 3", id="it ends at once"),
        pytest.param("cat > /dev/null; exit 3", id="it ends badly"),
        pytest.param("cat > /dev/null; kill -9 $$", id="it is killed"),
        pytest.param("cat > /dev/null; echo rubbish", id="it prints rubbish"),
        pytest.param("cat > /dev/null", id="it prints nothing"),
    ],
)
async def test_where_the_child_fails_the_snapshot_is_read_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    """On a thread: rather late than never."""
    path = tmp_path / "interpreter"
    monkeypatch.setattr(sys, "executable", str(path) if text is None else program(path, text))
    assert await bench.worker.work_out(await bench.archive("a", 1000, LARGE)) == Preview("large", 2)


# --- the end


async def test_stopping_ends_the_child_and_tells_the_waiters(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a preview then hears that the daemon shuts down, and so does who asks later."""
    started: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def create_subprocess_exec(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await create(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create_subprocess_exec)
    gate = Gate()
    zone = await bench.archive("a", 1000, LARGE)
    around_reads(bench, monkeypatch, gate)
    bench.worker.start()
    waiter = asyncio.create_task(bench.worker.work_out(zone))
    await gate.reached.wait()
    await bench.worker.stop()
    with pytest.raises(ShuttingDownError):
        await waiter
    with pytest.raises(ShuttingDownError):
        await bench.worker.work_out(zone)
    assert len(started) == 1
    assert started[0].returncode == -9
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)
    await bench.worker.stop()
    assert bench.kept == []


def children() -> set[int]:
    """List the processes that this one started and that are still there."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for each in lists for pid in each.read_text().split()}


@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
@pytest.mark.parametrize("steps", range(12))
async def test_a_child_that_is_just_being_started_does_not_stay(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Stopping at any step of its start leaves none behind."""
    starting = asyncio.Event()
    create = asyncio.create_subprocess_exec

    async def create_subprocess_exec(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        starting.set()
        return await create(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create_subprocess_exec)
    zone = await bench.archive("a", 1000, LARGE)
    before = children()
    waiter = asyncio.create_task(bench.worker.work_out(zone))
    await starting.wait()
    for _ in range(steps):
        await asyncio.sleep(0)
    await bench.worker.stop()
    with pytest.raises(ShuttingDownError):
        await waiter
    assert children() <= before


async def test_stopping_waits_for_a_thread_at_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it returns, no thread of the worker is left, although one was in the middle of something."""
    running, ending = threading.Event(), threading.Event()

    def slow(_content: bytes) -> Preview:
        running.set()
        ending.wait(30)
        return Preview("", 0)

    monkeypatch.setattr(preview_worker, "snapshot_preview", slow)
    waiter = asyncio.create_task(bench.worker.work_out(await bench.archive("a", 1000, snapshot("hi"))))
    await asyncio.to_thread(running.wait, 30)
    stopping = asyncio.create_task(bench.worker.stop())
    with pytest.raises(ShuttingDownError):
        await waiter
    assert not stopping.done()
    ending.set()
    await stopping
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("preview")]


async def test_a_worker_that_was_never_started_can_be_stopped(bench: Bench) -> None:
    """And told of news."""
    bench.worker.notify()
    await bench.worker.stop()
    await bench.worker.stop()
