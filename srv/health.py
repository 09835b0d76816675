"""How the daemon is: for `srv:status`, and for whoever asks whether it is ready."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import structlog

from migrations.records import MigrationReport
from srv.version import VERSION
from store.engine import Engine
from store.writer import Writer

READ_SECONDS_MAX: Final = 2
"""A store that does not answer the smallest question in this time is not ready."""

_log = structlog.get_logger()


class Health:
    """Describes one daemon.

    Args:
        engine: the store.
        writer: the writer in front of it.
        reports: how the migrations went at the start.
        now_ms: the clock, in unix milliseconds.
    """

    def __init__(
        self, engine: Engine, writer: Writer, reports: Sequence[MigrationReport], now_ms: Callable[[], int]
    ) -> None:
        """Keep the collaborators, and begin to count."""
        self._engine = engine
        self._writer = writer
        self._reports = reports
        self._now_ms = now_ms
        self.started_at_ms = now_ms()

    async def status(self) -> dict[str, Any]:
        """Return the result of `srv:status`: times in unix ms, sizes in bytes."""
        return {
            "version": VERSION,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "started_at_ms": self.started_at_ms,
            "uptime_ms": max(0, self._now_ms() - self.started_at_ms),
            "store": {"engine": self._engine.name, **await self._engine.status()},
            "migrations": {report.name: migration_facts(report) for report in self._reports},
            "writer": {
                "queued_changes": self._writer.queued_changes,
                "queued_bytes": self._writer.queued_bytes,
            },
        }

    async def is_ready(self) -> bool:
        """Tell whether the store can be read."""
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                await self._engine.list_agents(1, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is no
            _log.warning("not_ready", kind=type(error).__name__, error=str(error))
            return False
        return True


def migration_facts(report: MigrationReport) -> dict[str, Any]:
    """Return how a migration went: its outcome and its statistics."""
    return {"outcome": str(report.outcome), **asdict(report.stats)}
