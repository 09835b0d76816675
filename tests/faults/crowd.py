"""Many callers of several agents at once, who append, write, archive and read until they are told to stop, or lose the daemon.

What each does follows from a seed, so a run can be repeated as far as what is sent goes; how the callers meet is up to the
machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import cycle
from random import Random
from types import TracebackType
from typing import Final, Self

from tests.faults.actors import Actor, Appender, Archiver, CarefulAppender, Reader, Writer
from tests.faults.ledger import Ledger
from tests.faults.wire import BrokenOffError, Caller, RefusedError
from tests.srv.daemon import Daemon

_OTHERS: Final[dict[type[Actor], int]] = {Writer: 2, Archiver: 1, Reader: 1}
CALLERS: Final[dict[str, dict[type[Actor], int]]] = {
    "ada": {Appender: 5, CarefulAppender: 1, **_OTHERS},
    "ben": {Appender: 5, CarefulAppender: 1, **_OTHERS},
    "cleo": {CarefulAppender: 1, **_OTHERS},
    "dan": {CarefulAppender: 2, **_OTHERS},
}
"""How many of each kind speak for each agent. Where nobody else appends a careful one is nearly always right."""

_AGAIN_SECONDS_MAX: Final = 0.02
"""So long at most a caller waits that is to come again shortly."""

_MEETINGS: Final = {"STALE_SESSION", "OFFSET_MISMATCH", "REVISION_MISMATCH"}
_CHANGES: Final = {"append_output", "write_state", "archive"}


class Crowd:
    """The callers of daemons while these live; a context manager that lets them in, and waits until they have gone.

    Attributes:
        callers: their connections.
        ledger: where they note everything.
    """

    def __init__(
        self, daemons: Sequence[Daemon], ledger: Ledger, seed: str, *tolerated: str, reads_too: bool = False
    ) -> None:
        """Say whom they call and what they do.

        Args:
            daemons: they listen, and serve one store. Callers are shared out among them.
            ledger: of the store.
            seed: what follows from it is different for each caller.
            tolerated: words of errors that changes may meet, each worth a retry, such as STORAGE_FULL.
            reads_too: whether reads may meet these as well.
        """
        self.callers: list[Caller] = []
        self.ledger = ledger
        self._daemons = cycle(daemons)
        self._seed = seed
        self._tolerated = tolerated
        self._reads_too = reads_too
        self._tasks: dict[asyncio.Task[None], Daemon] = {}
        self._is_over = False

    async def __aenter__(self) -> Self:
        """Let them in."""
        for agent, roles in CALLERS.items():
            for role, number in roles.items():
                for index in range(number):
                    await self._enter(role, agent, f"{agent}-{role.__name__}-{index}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let each finish what it has sent, and go; a failure of one is a failure of all."""
        self._is_over = True
        try:
            await self.gone()
        finally:
            for task in self._tasks:
                task.cancel()
            for caller in self.callers:
                caller.close()

    async def gone(self, daemon: Daemon | None = None) -> None:
        """Wait until all have gone of themselves, or one daemon's: told to, or because the daemon has left them."""
        await asyncio.gather(*(task for task, its in self._tasks.items() if daemon in {its, None}))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something holds, as `Ledger.until`; a caller that fails ends the waiting, one that is left as well."""
        waiting = asyncio.ensure_future(self.ledger.until(is_so))
        there = [task for task in self._tasks if not task.done()]
        try:
            await asyncio.wait([waiting, *there], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                await asyncio.gather(*(task for task in there if task.done()))
                raise AssertionError("the daemon has left its callers")
            await waiting
        finally:
            waiting.cancel()

    async def stand_still(self) -> None:
        """Wait, while the daemon stands still, until everyone has sent a request that it has not begun to answer."""
        # What is awaited is silence, which is no event: each turn takes what is left of answers off the sockets.
        while not all(caller.has_no_answer for caller in self.callers):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)

    async def _enter(self, role: type[Actor], agent: str, name: str) -> None:
        daemon = next(self._daemons)
        caller = await Caller.connect(daemon)
        self.callers.append(caller)
        actor = role(agent, name, caller, self.ledger, Random(f"{self._seed}/{name}"))
        self._tasks[asyncio.create_task(self._go_on(actor), name=name)] = daemon

    async def _go_on(self, actor: Actor) -> None:
        while not self._is_over:
            try:
                await actor.act()
            except BrokenOffError:
                return
            except RefusedError as error:
                self._note(actor, error)
                if error.data.get("retry") is True:
                    await asyncio.sleep(actor.random.uniform(0, _AGAIN_SECONDS_MAX))  # as a client does that is told so

    def _note(self, actor: Actor, error: RefusedError) -> None:
        assert self._is_expected(error), f"{actor.name}: {error}"
        self.ledger.count(error.word)

    def _is_expected(self, error: RefusedError) -> bool:
        """Tell what callers who meet hear of each other, and what a fault may do to changes; reads go on."""
        retry = error.data.get("retry")
        if error.word in _MEETINGS:
            return retry is False
        return retry is True and (
            error.word == "SHUTTING_DOWN"
            or (error.word in self._tolerated and (self._reads_too or error.method in _CHANGES))
        )
