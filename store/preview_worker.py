"""Previews in the background: each archive's is worked out once, newest archive first, and kept.

Nothing here holds the event loop: files are read part by part through the engine, a small snapshot and the output are
looked into on a thread, and a large snapshot in a process of its own, because msgspec holds the interpreter's lock
while it decodes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

import msgspec
import structlog

from store.background import Background
from store.engine import Change, Engine, KeepPreview
from store.errors import ShuttingDownError, StorageDamagedError, StoreError, ZoneNotFoundError
from store.limits import KIB, MIB
from store.previews import NO_PREVIEW, OutputScanner, Preview, snapshot_preview
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone

_log = structlog.get_logger()
_Found = TypeVar("_Found")

CHUNK_BYTES: Final = 512 * KIB
"""Read at once: a few milliseconds of work for a thread."""

THREAD_SNAPSHOT_BYTES_MAX: Final = 1 * MIB
"""A larger snapshot goes to a child. This much takes some 20 ms to decode at worst, less than a child to start."""

SCANS_MAX: Final = 4
"""Archives looked into at once: each may hold a snapshot of a thread's size, or a line of the output."""

CHILDREN_MAX: Final = 1
"""Children at once: each holds a whole snapshot."""

SWEEP_ARCHIVES: Final = 16
"""Archives asked for at once; the newest are asked for again after these."""


class _ChildFailedError(Exception):
    """The child did not answer."""


@dataclass(frozen=True, slots=True)
class _Work:
    """One archive under way: `found` ends with its preview, `kept` when that is stored."""

    found: asyncio.Task[Preview]
    kept: asyncio.Task[None]


class PreviewWorker:
    """Works out the previews of archives, in the background and on demand, and has them kept."""

    def __init__(
        self,
        engine: Engine,
        submit: Callable[[Change], Awaitable[object]],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Keep the collaborators; nothing begins before `start`.

        Args:
            engine: where archives are read.
            submit: applies a change and returns once it is durable; raises as `Writer.submit` does.
            sleep: waits for so many seconds before what failed is tried again.
        """
        self._engine = engine
        self._submit = submit
        self._under_way: dict[Zone, _Work] = {}
        self._scans = asyncio.Semaphore(SCANS_MAX)
        self._children = asyncio.Semaphore(CHILDREN_MAX)
        self._threads = ThreadPoolExecutor(SCANS_MAX, thread_name_prefix="preview")
        self._background = Background("previews", self._sweep, sleep)
        self._stopped = False

    def start(self) -> None:
        """Begin with the archives that have no preview."""
        self._background.start()

    def notify(self) -> None:
        """Hear that there may be new archives."""
        self._background.notify()

    async def work_out(self, zone: Zone) -> Preview:
        """Work out an archive's preview now, and have it kept.

        Callers of the same archive share the work. One that gives up does not stop it.

        Returns:
            The preview, as soon as it is found: keeping it goes on by itself. Empty where the archive is damaged,
            unreadable or not there.

        Raises:
            ShuttingDownError: the worker is stopped.
            StorageUnavailableError: the archive cannot be read now.
        """
        found = self._work(zone).found
        try:
            return await asyncio.shield(found)
        except asyncio.CancelledError:
            if self._stopped and found.cancelled():
                raise ShuttingDownError from None
            raise

    async def stop(self) -> None:
        """Give up what is under way and wait until its threads and processes are gone. Doing it twice is harmless."""
        self._stopped = True
        await self._background.stop()
        tasks: list[asyncio.Task[None] | asyncio.Task[Preview]] = []
        for work in self._under_way.values():
            tasks += (work.found, work.kept)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _sweep(self) -> bool:
        """Work through the archives without a preview, each once. Returns False where some must be tried again."""
        tried: set[Zone] = set()
        failed = 0
        while True:
            try:
                zones = await self._engine.archives_without_preview(SWEEP_ARCHIVES + failed)
            except Exception:  # noqa: BLE001 - said here, and tried again: previews go on whatever went wrong
                _log.exception("previews_not_listed")
                return False
            fresh = [zone for zone in zones if zone not in tried]
            if not fresh:
                return not zones
            for zone in fresh:
                tried.add(zone)
                try:
                    await self._work(zone).kept
                except Exception as error:  # noqa: BLE001 - said where it happened; the others still get theirs
                    if isinstance(error, StoreError) and error.retry:
                        return False  # a full or unreachable disk is so for every archive
                    failed += 1
                if self._background.take_news():
                    break  # the newest first

    def _work(self, zone: Zone) -> _Work:
        """Return the work on this archive that is under way, or begin it."""
        if self._stopped:
            raise ShuttingDownError
        work = self._under_way.get(zone)
        if work is None:
            found = asyncio.create_task(self._find(zone), name=f"preview of {zone}")
            work = _Work(found, asyncio.create_task(self._keep(zone, found), name=f"keeping preview of {zone}"))
            self._under_way[zone] = work
            work.kept.add_done_callback(partial(self._finished, zone))
        return work

    def _finished(self, zone: Zone, kept: asyncio.Task[None]) -> None:
        del self._under_way[zone]
        if kept.cancelled():
            return
        error = kept.exception()
        if isinstance(error, StoreError):
            _log.warning("preview_not_kept", zone=zone, code=error.word, error=str(error))
        elif error is not None:
            _log.error("preview_failed", zone=zone, exc_info=error)

    async def _keep(self, zone: Zone, found: asyncio.Task[Preview]) -> None:
        preview = await found
        await self._submit(KeepPreview(zone, preview.text, preview.node_count))

    async def _find(self, zone: Zone) -> Preview:
        """Find the preview in the snapshot or else in the output. What is damaged counts as not there."""
        preview = NO_PREVIEW
        with suppress(StorageDamagedError, ZoneNotFoundError):
            preview = await self._snapshot_preview(zone)
        if preview.text:
            return preview
        return Preview(await self._output_text(zone), preview.node_count)

    async def _snapshot_preview(self, zone: Zone) -> Preview:
        stat = await self._engine.zone_stat(zone)
        size_bytes = next((file.size_bytes for file in stat.files if file.name == SNAPSHOT_FILE), 0) if stat else 0
        read = partial(self._engine.read_bytes, zone, SNAPSHOT_FILE)
        if size_bytes <= THREAD_SNAPSHOT_BYTES_MAX:
            async with self._scans:
                return await self._in_thread(snapshot_preview, await _read_all(read)) if size_bytes else NO_PREVIEW
        async with self._children:
            try:
                return await _preview_by_child(read, size_bytes)
            except (_ChildFailedError, OSError) as error:
                _log.warning("preview_child_failed", zone=zone, error=repr(error))
            return await self._in_thread(snapshot_preview, await _read_all(read))

    async def _output_text(self, zone: Zone) -> str:
        scanner = OutputScanner()
        start_byte = 0
        async with self._scans:
            with suppress(StorageDamagedError, ZoneNotFoundError):
                while chunk := await self._engine.read_bytes(zone, OUTPUT_FILE, start_byte, CHUNK_BYTES):
                    start_byte += len(chunk)
                    if await self._in_thread(scanner.feed, chunk):
                        break
            return await self._in_thread(scanner.finish)

    async def _in_thread(self, work: Callable[..., _Found], *arguments: bytes) -> _Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


_Read = Callable[[int, int], Awaitable[bytes]]
"""Reads a file: from a byte, at most so many; empty at its end."""


async def _read_all(read: _Read) -> bytes:
    chunks: list[bytes] = []
    start_byte = 0
    while chunk := await read(start_byte, CHUNK_BYTES):
        start_byte += len(chunk)
        chunks.append(chunk)
    return b"".join(chunks)


async def _preview_by_child(read: _Read, size_bytes: int) -> Preview:
    """Have a snapshot read by a child: `python -m store.previews`.

    Raises:
        _ChildFailedError: it ended badly, or its answer cannot be read.
        OSError: it cannot be started, or does not listen.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "store.previews",
        str(size_bytes),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[1],  # `-m` looks there first, so the child runs this very package, installed or not
        env={name: value for name, value in os.environ.items() if name != "ZONEKEEPER_TOKEN"},
    )
    stdin, stdout = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)
    try:
        start_byte = 0
        while chunk := await read(start_byte, CHUNK_BYTES):
            start_byte += len(chunk)
            stdin.write(chunk)
            await stdin.drain()
        stdin.close()
        answer = await stdout.read()
        if await process.wait() != 0:
            raise _ChildFailedError(f"exit code {process.returncode}")
        return msgspec.json.decode(answer, type=Preview)
    except msgspec.DecodeError as error:
        raise _ChildFailedError("no answer") from error
    finally:
        stdin.close()
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
