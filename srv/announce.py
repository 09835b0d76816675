"""The JSON lines on standard output, by which a parent follows the start. Nothing else goes there.

A parent that has gone, or that does not read, must not stop the daemon: a line that cannot be written now is dropped.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from types import TracebackType
from typing import Any, Final, Self

from migrations.records import Progress

TICK_SECONDS: Final = 0.5
"""Half of the second within which DESIGN.md section 6 promises a line while migrating."""


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

    def __init__(self, first_migration: str) -> None:
        """Know which one comes first, since it may look around for long before it says how much there is."""
        self._now = Progress(first_migration, 0, 0)
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
            self._say()

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self._say()

    def _say(self) -> None:
        now = self._now
        say("migrating", migration=now.migration, done=now.done, total=now.total)
