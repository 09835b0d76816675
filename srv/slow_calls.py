"""Tells the log of requests that took long, and where their time went."""

from __future__ import annotations

from time import perf_counter
from typing import Final

import structlog

from rpc.trace import Trace
from srv.escapes import escaped
from srv.line_bound import LineBound
from srv.requests import Request

STAGES: Final = (
    *("body", "decode", "memory_wait", "read_wait", "read", "preview"),
    *("queue", "commit", "sync", "encode", "send"),
)
"""Those of a `Trace`, in the order in which a request goes through them."""

SHOWN_MS_MIN: Final = 0.1
"""A stage that took less is left out of the line."""

PATH_CHARACTERS_MAX: Final = 100

_log = structlog.get_logger()


class SlowCalls:
    """The slow requests of one daemon.

    Attributes:
        count: how many there were.
    """

    def __init__(self, slow_call_ms: int) -> None:
        """Say from how many ms on a request is slow."""
        self._slow_seconds = slow_call_ms / 1_000
        self._lines = LineBound("slow_call")
        self.count = 0

    def note(self, request: Request, trace: Trace) -> None:
        """Look at a request that is answered, or given up."""
        seconds = perf_counter() - trace.began
        if seconds >= self._slow_seconds:
            self.count += 1
            if self._lines.admits():
                method = trace.method or _path(request)
                _log.warning("slow_call", method=method, outcome=trace.outcome, **times_ms(trace, seconds))

    def close(self) -> None:
        """Say what is still to be said."""
        self._lines.tell()


def times_ms(trace: Trace, seconds: float) -> dict[str, float]:
    """Say in ms where the time of a request went.

    Args:
        trace: of the request.
        seconds: how long it took in all.

    Returns:
        `total_ms`, and of each stage that it went through its share, `sync_ms` being a part of `commit_ms`. `queue_batches`
        with `queue_ms`. `other_ms` is what no stage accounts for: work on the event loop, and waiting for it.
    """
    spent = {stage: 1_000 * getattr(trace, f"{stage}_seconds") for stage in STAGES}
    shown = {"total_ms": round(1_000 * seconds, 1)}
    for stage, stage_ms in spent.items():
        if stage_ms >= SHOWN_MS_MIN:
            shown[f"{stage}_ms"] = round(stage_ms, 1)
            if stage == "queue":
                shown["queue_batches"] = trace.queue_batches
    other_ms = 1_000 * seconds - sum(spent.values()) + spent["sync"]
    if other_ms >= SHOWN_MS_MIN:
        shown["other_ms"] = round(other_ms, 1)
    return shown


def _path(request: Request) -> str:
    """Name a request that called no method: never with its query, where somebody may have put a token."""
    return f"{request.method} {escaped(request.path.partition('?')[0])[:PATH_CHARACTERS_MAX]}"
