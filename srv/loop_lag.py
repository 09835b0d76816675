"""Looks how late the event loop is: whatever holds it up, everybody waits for that."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

LOOK_SECONDS: Final = 0.25

LOOKS_KEPT: Final = 240
"""A minute of them."""


class LoopLag:
    """How late the event loop was, at each look of the last minute."""

    def __init__(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Begin nothing before `start`."""
        self._look_seconds = look_seconds
        self._late_seconds: deque[float] = deque([0.0], maxlen=LOOKS_KEPT)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on. Needs a running event loop."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._look_seconds
        self._timer = loop.call_at(due, self._look, due)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def worst_seconds(self) -> float:
        """How late it was at worst, within the last minute."""
        return max(self._late_seconds)

    def status(self) -> dict[str, object]:
        """Describe it for `srv:status`."""
        return {"worst_lag_ms": round(1_000 * self.worst_seconds, 1)}

    def _look(self, due: float) -> None:
        self._late_seconds.append(max(0.0, asyncio.get_running_loop().time() - due))
        self.start()
