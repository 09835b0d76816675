"""The page of metrics that Prometheus scrapes.

Nothing on the path of a call knows of Prometheus: its objects are made when somebody asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from srv.metric_families import FAMILIES, Counted

_OPENMETRICS: Final = "application/openmetrics-text"


class _Taken(Collector):
    """Families that were taken from the daemon at one instant."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics:
    """The metrics of one daemon.

    Args:
        status: gives what `srv:status` says.
        counted: what was counted besides.
    """

    def __init__(self, status: Callable[[], Awaitable[Mapping[str, Any]]], counted: Counted) -> None:
        """Keep where the figures are."""
        self._status = status
        self._counted = counted

    async def page(self, accept: str) -> tuple[bytes, bytes]:
        """Return the metrics as they are now.

        Args:
            accept: the caller's `Accept` header: OpenMetrics where it names that, else the older text format.

        Returns:
            The content type and the page.
        """
        status = await self._status()
        # Taken at once, on the event loop, where everything is counted; what takes longer is done off it.
        taken = [family.metric(status, self._counted) for family in FAMILIES]
        return await asyncio.to_thread(_written, taken, is_openmetrics=_OPENMETRICS in accept.lower())


def _written(taken: list[Metric], *, is_openmetrics: bool) -> tuple[bytes, bytes]:
    registry = CollectorRegistry()
    registry.register(_Taken(taken))
    ProcessCollector(registry=registry)
    if is_openmetrics:
        return openmetrics.CONTENT_TYPE_LATEST.encode(), openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call] # it has no types
    return exposition.CONTENT_TYPE_PLAIN_0_0_4.encode(), exposition.generate_latest(registry)
