"""Bounds how often one event is logged: neither a page that hammers on the door nor a slow disk may fill the disk."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final

import structlog

LINES_MAX: Final = 30
"""Of one event in a minute: enough to see what is going on, at most some megabytes a day."""

MINUTE_SECONDS: Final = 60.0

_log = structlog.get_logger()


class LineBound:
    """Lets so many lines of one event into the log in a minute; at its end it says how many were left out.

    Args:
        event: its name.
        lines_max: lines in a minute.
        minute_seconds: how long a minute is.
    """

    def __init__(self, event: str, lines_max: int = LINES_MAX, minute_seconds: float = MINUTE_SECONDS) -> None:
        """Begin with nothing logged."""
        self._event = event
        self._lines_max = lines_max
        self._minute_seconds = minute_seconds
        self._ends_at = 0.0
        self._lines = 0
        self._left_out = 0

    def admits(self) -> bool:
        """Tell whether another line may be logged now, and count it. Needs a running event loop."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._ends_at:
            self._ends_at = loop.time() + self._minute_seconds
            self._lines = 0
        self._lines += 1
        if self._lines <= self._lines_max:
            return True
        if not self._left_out:
            loop.call_at(self._ends_at, self.tell, context=Context())  # on no request's account
        self._left_out += 1
        return False

    def tell(self) -> None:
        """Say how many lines were left out since this was said last, if any were."""
        if self._left_out:
            _log.warning("lines_left_out", of=self._event, lines=self._left_out)
            self._left_out = 0
