"""When to stop: a signal, or the end of standard input where the parent asked for that. A second signal ends at once.

Ending at once loses nothing that was acknowledged: that is on disk, and a transaction that is cut off was never there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import threading
from collections.abc import Callable
from contextvars import Context
from types import FrameType
from typing import Final

import structlog

from srv.exits import Exit, StartFailedError

STOP_SECONDS_MAX: Final = 4.5
"""After this the process ends, whatever it still waits for: half a second short of what DESIGN.md section 5 promises."""

_STANDARD_INPUT: Final = 0

_log = structlog.get_logger()


class Stop:
    """Tells the event loop, and threads, that it is time to stop."""

    def __init__(self, announce: Callable[[str], None], clean_up: Callable[[], None]) -> None:
        """Keep whom to tell the reason, and what must be done even by a process that ends at once: quick, without the loop."""
        self._announce = announce
        self._clean_up = clean_up
        self._signals: list[signal.Signals] = []
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def listen(self, *, exit_with_parent: bool) -> None:
        """Heed signals from now on, and the end of standard input if that is asked for.

        The handlers are the process's, not the loop's: those go with the loop, and a signal that came later would kill.

        Raises:
            StartFailedError: standard input is nothing whose end would tell of a parent.
        """
        if exit_with_parent:
            _check_standard_input()
        self._signals = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it so that we live on
            self._signals.append(signal.SIGHUP)
        for each in self._signals:
            signal.signal(each, self._hear)
        if exit_with_parent:
            threading.Thread(target=self._await_parent, name="parent-watch", daemon=True).start()

    def listen_no_more(self) -> None:
        """Ignore signals from now on: all is done, and what is left of the process is its exit code.

        Ignored they stay to the very end; handlers of Python's are taken away before that.
        """
        for each in self._signals:
            signal.signal(each, signal.SIG_IGN)

    def ask(self, reason: str) -> None:
        """Ask to stop; who asks a second time does not want to wait."""
        if self._asked.is_set():
            self._end(f"{reason} again")
            return
        _log.info("stopping", reason=reason)
        self._announce(reason)
        self._asked.set()
        watch = threading.Timer(STOP_SECONDS_MAX, self._end, ["time is over"])
        watch.daemon = True
        watch.start()

    def is_asked(self) -> bool:
        """Tell whether someone has asked to stop; callable from any thread."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Wait until someone asks to stop."""
        await self._asked.wait()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        # Whatever request it interrupts, it is not on its account.
        self._loop.call_soon_threadsafe(self.ask, signal.Signals(number).name, context=Context())

    def _await_parent(self) -> None:
        """Read standard input to its end; what stands in it means nothing."""
        try:
            while os.read(_STANDARD_INPUT, 65_536):
                pass
        except OSError:
            pass  # a standard input that cannot be read has no parent at its other end
        if not self._asked.is_set():
            self._loop.call_soon_threadsafe(self._parent_gone)

    def _parent_gone(self) -> None:
        if not self._asked.is_set():
            self.ask("standard input ended")

    def _end(self, reason: str) -> None:
        _log.warning("stopped_at_once", reason=reason)
        self._clean_up()
        os._exit(Exit.STOPPED)


def _check_standard_input() -> None:
    """Refuse what ends at once, as /dev/null does, or may suspend us when it is read, as a terminal does in the background."""
    mode = os.fstat(_STANDARD_INPUT).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return
    kind = (
        "a file" if stat.S_ISREG(mode) else "a terminal" if os.isatty(_STANDARD_INPUT) else "a device such as /dev/null"
    )
    raise StartFailedError(
        Exit.WRONG_USAGE,
        f"--exit-with-parent needs a pipe as standard input, whose other end the parent holds open; it is {kind}",
    )
