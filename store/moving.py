"""From one place to another: who opens what, in which order, and on which thread it is copied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager

from store.copying import Copier, CopyReport, Progress
from store.engine import Change, Engine, Outcome
from store.errors import StoreRefusedError
from store.place import Place, Reader


async def copy_place(
    source: Place,
    target: Place,
    *,
    is_held: bool,
    progress: Progress,
    stop: Callable[[], bool],
    verify_all: bool = False,
    at_one_instant: bool = False,
) -> tuple[CopyReport, int]:
    """Copy a store to another place, or go on with that.

    Args:
        source: where it is.
        target: an empty store, or a copy of it that nobody has served yet; made where it is missing.
        is_held: the caller holds the source's data directory.
        progress: told how far it is, on another thread.
        stop: tells whether to stop, asked on another thread.
        verify_all: read back everything, not only what was copied now.
        at_one_instant: read all in one transaction.

    Returns:
        What was done, and how many connections daemons had to the source at the end, as far as its engine can tell.

    Raises:
        StoreRefusedError, StoreError: one of the stores cannot be used, or is no source or target of the other.
        CopyStoppedError: it was asked to stop; another run goes on.
    """
    async with _opened(source.reader(is_held=is_held)) as reader:
        engine = await target.open(is_target=True)
        try:
            async with engine.turn(lambda: True) as is_ours:
                if not is_ours:
                    raise StoreRefusedError(f"somebody else copies to {target.shown}, or migrates old data there")
                # Closed before the engine: the last handle to a file moves the log into it, and only if it may write.
                async with _opened(target.reader(half_too=True)) as written:
                    changed = _Target(engine)
                    copier = Copier(
                        reader,
                        written,
                        changed.apply,
                        progress=progress,
                        stop=stop,
                        at_one_instant=at_one_instant,
                    )
                    await asyncio.to_thread(copier.check_kinship)
                    report = await asyncio.to_thread(copier.run, verify_all=verify_all)
                await changed.begin()  # where nothing has changed as well: it must not be served, or may be
                if not report.failures:
                    await engine.finish_copy()
                return report, await asyncio.to_thread(reader.daemons)
        finally:
            await engine.close()


@asynccontextmanager
async def _opened(reader: AbstractContextManager[Reader]) -> AsyncIterator[Reader]:
    """Open a reader, and close it, on a thread where it may wait."""
    opened = ExitStack()
    try:
        yield await asyncio.to_thread(opened.enter_context, reader)
    finally:
        await asyncio.to_thread(opened.close)


class _Target:
    """An engine that is copied to from another thread than the loop's; half a copy from the first change on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._has_begun = False

    def apply(self, changes: Sequence[Change]) -> list[Outcome]:
        """Apply changes, on the thread that copies."""
        return asyncio.run_coroutine_threadsafe(self._apply(changes), self._loop).result()

    async def _apply(self, changes: Sequence[Change]) -> list[Outcome]:
        await self.begin()
        outcomes = await self._engine.apply(changes)
        if self._engine.maintenance_due:
            await self._engine.maintain()
        return outcomes

    async def begin(self) -> None:
        """Make the store half a copy, once. Raises as `Engine.begin_copy` does."""
        if not self._has_begun:
            await self._engine.begin_copy()
            self._has_begun = True
