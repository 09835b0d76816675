"""The writer's thread: one hop for each batch, and nothing between the loop and the work but a queue.

An executor of the standard library does the same with two futures, three locks and a callback for each call, which is a tenth
of what a small commit takes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

_Result = TypeVar("_Result")


class WriterThread:
    """Does what it is given, one thing after the other, on one thread of its own."""

    def __init__(self, name: str) -> None:
        """Name the thread; it begins with the first call."""
        self._work: Final[SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_started = False

    async def call(self, work: Callable[[], _Result]) -> _Result:
        """Have work done and return what it returns. Whoever gives up waiting does not stop it."""
        answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        if not self._is_started:
            self._is_started = True
            self._thread.start()
        self._work.put((work, answer))
        try:
            return await answer
        finally:
            # Else the future, its error and that one's traceback hold each other, and all of them the work.
            del answer

    def close(self) -> None:
        """Wait until all that was given is done, and end the thread. Doing it twice is harmless."""
        self._work.put(None)
        if self._is_started:
            self._thread.join()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, answer = item
            del item
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is the caller's answer
                _tell(answer, None, error)
            else:
                _tell(answer, result, None)
            del work, answer


def _tell(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
        answer.get_loop().call_soon_threadsafe(_settle, answer, result, error)


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
