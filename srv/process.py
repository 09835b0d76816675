"""What a daemon asks of its own process: an event loop, open files, and how often garbage is looked for."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

COLLECT_AFTER_OBJECTS: Final = 10_000
"""New objects that may be left over before they are looked through: with Python's 700 that took 4 % of a busy daemon's time."""

OWN_FILES_MAX: Final = 1_000
"""Open files besides the connections: the store's and the system's own, with room to spare."""

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine on the fastest event loop there is."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)


def new_loop() -> asyncio.AbstractEventLoop:
    """Make the fastest event loop there is."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - not there on win32

    return uvloop.new_event_loop()


def stop_at_signal() -> asyncio.Event:
    """Return what is set once a signal asks to stop, for work that does so by itself; a second signal does what signals do."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        stop.set()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, ask)
    return stop


def leave_alone_what_stays() -> None:
    """Have the garbage collector look at what calls make only, and less often: what the start has made stays anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)


def raise_file_limit(connections_max: int) -> None:
    """Allow as many open files as the connections and the process itself may need, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files_max = connections_max + OWN_FILES_MAX
    wanted = files_max if hard == resource.RLIM_INFINITY else min(files_max, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
