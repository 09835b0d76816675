"""What the world is told of the start: JSON lines on standard output for a parent, and the same for a service manager.

Nothing else goes to standard output. Whoever has gone, or does not listen, must not stop the daemon: what cannot be said now is
dropped.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from migrations.records import Progress
from srv.supervisor import Supervisor

TICK_SECONDS: Final = 0.5
"""Half of the second within which DESIGN.md section 6 promises a line while migrating."""

EXTENSION_MICROSECONDS: Final = 30_000_000
"""How long after each sign of a migration a service manager waits for the next: a disk may stall us for some time."""

READY_SECONDS_MAX: Final = 1
"""How long a service manager that is busy is waited for with the one thing that it must hear."""


class Announcer:
    """Tells whoever started us how far we are."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Speak to standard output, and to a service manager where there is one."""
        self._supervisor = supervisor

    def migrating(self, progress: Progress) -> None:
        """Say how far the migrations are, so that a deadline can be extended."""
        migration, done, total = progress.migration, progress.done, progress.total
        say("migrating", migration=migration, done=done, total=total)
        status = f"{migration}: {done} of {total}" if total else f"{migration}: looking around"
        self._supervisor.tell(STATUS=status, EXTEND_TIMEOUT_USEC=str(EXTENSION_MICROSECONDS))

    def listening(self, facts: Mapping[str, Any]) -> None:
        """Say that we listen, and where; from now on say that we are alive, to whom that matters."""
        say("listening", **facts)
        self._supervisor.tell(wait_seconds=READY_SECONDS_MAX, READY="1", STATUS=f"listening on {facts['url']}")
        self._supervisor.keep_alive()

    def stopping(self, reason: str) -> None:
        """Say that we stop, and why."""
        self._supervisor.tell(STOPPING="1", STATUS=f"stopping: {reason}")


def say(event: str, **facts: Any) -> None:
    """Write one line, in one piece, or nothing where standard output cannot take it now."""
    if sys.stdout is None:
        return
    line = json.dumps({"event": event, **facts}).encode() + b"\n"
    try:
        handle = sys.stdout.fileno()
        if select.select([], [handle], [], 0)[1]:
            os.write(handle, line)
    except (OSError, ValueError):
        return


class MigrationTicker:
    """Says how far the migrations are: when one finds something to do, and at least every second.

    It has a thread of its own, so that a migration that keeps the event loop busy is heard of as well.
    """

    def __init__(self, first_migration: str, announce: Callable[[Progress], None]) -> None:
        """Know which one comes first, since it may look around for long before it says how much there is."""
        self._now = Progress(first_migration, 0, 0)
        self._announce = announce
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="migration-ticker", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; no line comes after this."""
        self._stop.set()
        self._thread.join()

    def progress(self, progress: Progress) -> None:
        """Hear how far a migration is. May be called from any thread, as often as one likes."""
        before, self._now = self._now, progress
        if progress.total and (progress.migration, progress.total) != (before.migration, before.total):
            self._announce(self._now)

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self._announce(self._now)
