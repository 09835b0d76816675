"""The reading side: a few threads with a read-only handle each, and a question at a time in a read transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Concatenate, Final, ParamSpec, TypeVar

from store.errors import StorageDamagedError, StorageUnavailableError
from store.handle import Handle
from store.trace import TRACE

READERS: Final = 4

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Readers:
    """The readers of one store.

    Attributes:
        handles: those that are open.
        found_damage: a question has met damage since this was last set to False.
    """

    def __init__(
        self,
        name: str,
        open_reading: Callable[[], Handle],
        translated: Callable[[str], AbstractContextManager[None]],
        is_lost: Callable[[BaseException], bool] = lambda _: False,
        readers: int = READERS,
    ) -> None:
        """Say how a handle is opened, how its errors are told, which of them mean that it was lost, and how many there are.

        Each thread opens its own with its first question, and anew with the one that finds it lost.
        """
        self._open_reading = open_reading
        self._translated = translated
        self._is_lost = is_lost
        self._threads = ThreadPoolExecutor(readers, name)
        self._own = threading.local()
        self._began: dict[int, float] = {}
        self._is_away = False
        self._probing = threading.Lock()
        self.handles: set[Handle] = set()
        self.found_damage = False

    async def ask(
        self,
        place: str,
        question: Callable[Concatenate[Handle, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """Ask one question, in one read transaction. Raises the store's errors, which name the place."""
        trace = TRACE.get()
        asked = began = ended = perf_counter()

        def answer() -> _Answer:
            nonlocal began, ended
            thread = threading.get_ident()
            began = self._began[thread] = perf_counter()
            try:
                with self._translated(place):
                    return self._answer(question, *arguments, **named)
            finally:
                del self._began[thread]
                ended = perf_counter()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, answer)
        finally:
            trace.read_wait_seconds += began - asked
            trace.read_seconds += ended - began

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest question that is being answered has been: so long the log cannot begin anew."""
        began = min(list(self._began.values()), default=None)
        return 0.0 if began is None else perf_counter() - began

    def shut_down(self) -> None:
        """Wait until all that was asked is answered. The handles stay open, for the caller to close."""
        self._threads.shutdown()

    def _answer(
        self,
        question: Callable[Concatenate[Handle, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """Ask. Where the database is away, one question at a time finds out whether it still is; others wait for nothing."""
        if not self._is_away:
            return self._asked(question, *arguments, **named)
        if not self._probing.acquire(blocking=False):
            raise StorageUnavailableError("the database cannot be reached at the moment")
        try:
            return self._asked(question, *arguments, **named)
        finally:
            self._probing.release()

    def _asked(
        self,
        question: Callable[Concatenate[Handle, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """Ask, and once more where the handle turns out to have been lost since the last question."""
        for is_last in (False, True):
            try:
                answer = self._transaction(question, *arguments, **named)
            except Exception as error:
                is_lost = self._is_lost(error)
                self._is_away = is_lost and (is_last or isinstance(error, TimeoutError))
                if is_last or self._is_away or not is_lost:
                    raise
            else:
                self._is_away = False
                return answer
        raise AssertionError("the last time returns or raises")

    def _transaction(
        self,
        question: Callable[Concatenate[Handle, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        handle = self._handle()
        try:
            with handle.read_transaction():
                return question(handle, *arguments, **named)
        except BaseException as error:
            self.found_damage = self.found_damage or isinstance(error, StorageDamagedError)
            # A statement that an error left running would answer the next question from the past.
            self._drop_handle(handle)
            raise

    def _handle(self) -> Handle:
        handle: Handle | None = getattr(self._own, "handle", None)
        if handle is None:
            handle = self._own.handle = self._open_reading()
            self.handles.add(handle)
        return handle

    def _drop_handle(self, handle: Handle) -> None:
        self._own.handle = None
        self.handles.discard(handle)
        handle.close()
