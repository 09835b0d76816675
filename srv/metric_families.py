"""Metrics for Prometheus: one table of families, made of what `srv:status` says and of what calls and batches were counted.

`python -m srv.metric_families` prints the README's table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from srv.config import DURABILITIES

PREFIX: Final = "zonekeeper_"


class Histogram(Protocol):
    """What is made of a `store.histogram.Histogram` here."""

    @property
    def bounds(self) -> tuple[float, ...]:
        """The largest value of each slot, ascending."""

    @property
    def counts(self) -> list[int]:
        """Values in each slot, and behind these those beyond all bounds."""

    @property
    def total(self) -> float:
        """Of all values."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted and is no part of the status.

    Attributes:
        calls: gives method, outcome and seconds of the calls.
        batch_changes: changes in a batch.
        commit_seconds: for a batch.
        sync_seconds: of these, the disk's share.
    """

    calls: Iterable[tuple[str, str, Histogram]]
    batch_changes: Histogram
    commit_seconds: Histogram
    sync_seconds: Histogram


Labels = tuple[str, ...]
Sample = tuple[Labels, Any]
_Source = Callable[[Mapping[str, Any], Counted], Iterator[Sample]]


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table.

    Attributes:
        name: without the prefix, and without what Prometheus puts behind it (`_total`, `_info`).
        kind: gauge, counter, histogram or info.
        about: the help text.
        source: gives the samples, each with the values of its labels, out of the status and of what was counted.
        labels: their names.
    """

    name: str
    kind: str
    about: str
    source: _Source
    labels: Labels = ()

    @property
    def full_name(self) -> str:
        """The name under which a sample is found."""
        return PREFIX + self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")

    def metric(self, status: Mapping[str, Any], counted: Counted) -> Metric:
        """Make the family as it is now."""
        name, samples = PREFIX + self.name, list(self.source(status, counted))
        match self.kind:
            case "info":
                ((values, _),) = samples
                return InfoMetricFamily(name, self.about, value=dict(zip(self.labels, values, strict=True)))
            case "histogram":
                histogram = HistogramMetricFamily(name, self.about, labels=self.labels)
                for values, spread in samples:
                    histogram.add_metric(values, buckets=_buckets(spread), sum_value=spread.total)
                return histogram
            case "counter":
                counter = CounterMetricFamily(name, self.about, labels=self.labels)
                for values, value in samples:
                    counter.add_metric(values, value)
                return counter
        gauge = GaugeMetricFamily(name, self.about, labels=self.labels)
        for values, value in samples:
            gauge.add_metric(values, value)
        return gauge


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    return list(zip(names, accumulate(histogram.counts), strict=True))


def _at(*path: str, unit: float = 1) -> _Source:
    """Take one number out of the status; nothing where it is not there, or not known."""

    def source(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
        found: Any = status
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is not None:
            yield (), found * unit

    return source


def _counted(name: str) -> _Source:
    def source(_status: Mapping[str, Any], counted: Counted) -> Iterator[Sample]:
        yield (), getattr(counted, name)

    return source


def _build(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    yield (status["version"], status["python"], status["store"]["engine"]), 1


def _calls(_status: Mapping[str, Any], counted: Counted) -> Iterator[Sample]:
    for method, outcome, seconds in counted.calls:
        yield (method, outcome), seconds


def _refusals(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    for http_status, number in status["transport"]["refused"].items():
        yield (http_status,), number


def _zones(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    store = status["store"]
    if store["sessions"] is not None:
        yield ("current",), store["sessions"] - store["archives"]
        yield ("archive",), store["archives"]


def _readable(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    yield (), int(status["store"]["sessions"] is not None)


def _durability(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    yield (), DURABILITIES.index(status["store"]["durability"]["level"])


def _memory(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    yield ("bodies",), status["memory"]["body_bytes"]
    yield ("answers",), status["memory"]["answer_bytes"]


def _level(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    yield (), ("enough", "warning", "critical").index(status["free_space"]["level"])


def _migrations(status: Mapping[str, Any], _counted: Counted) -> Iterator[Sample]:
    for migration, facts in status["migrations"].items():
        for what, number in facts.items():
            if what != "outcome":
                yield (migration, what), number


_MS: Final = 0.001

FAMILIES: Final = (
    Family("build", "info", "What runs here.", _build, ("version", "python", "store_engine")),
    Family(
        "call_duration_seconds",
        "histogram",
        "Calls, and how long each took from its parameters to its encoded result. method is unknown for all that there are "
        "not, none for what came to no method, file:read and file:write for the files below /zones/; outcome is ok or the "
        "word of the error.",
        _calls,
        ("method", "outcome"),
    ),
    Family("slow_calls", "counter", "Requests that took longer than --slow-call-ms.", _at("transport", "slow_calls")),
    Family(
        "http_refusals",
        "counter",
        "Requests that HTTP itself refused, by status.",
        _refusals,
        ("status",),
    ),
    Family("connections", "gauge", "Connections that are open.", _at("transport", "connections")),
    Family("requests_underway", "gauge", "Requests that are being answered.", _at("transport", "requests_underway")),
    Family("memory_bytes", "gauge", "Large bodies and large answers in memory.", _memory, ("of",)),
    Family("queue_changes", "gauge", "Changes that wait for the writer.", _at("writer", "queued_changes")),
    Family("queue_bytes", "gauge", "Bytes of these.", _at("writer", "queued_bytes")),
    Family("batch_changes", "histogram", "Changes in one commit.", _counted("batch_changes")),
    Family(
        "commit_duration_seconds", "histogram", "A batch, until it was applied or refused.", _counted("commit_seconds")
    ),
    Family(
        "sync_duration_seconds",
        "histogram",
        "Of that, until it was durable once its changes were made: the disk's share.",
        _counted("sync_seconds"),
    ),
    Family(
        "commit_underway_seconds",
        "gauge",
        "How long the batch that is being applied has been; grows where the disk hangs.",
        _at("writer", "applying_ms", unit=_MS),
    ),
    Family("store_readable", "gauge", "1 where the store could be read for this scrape.", _readable),
    Family(
        "store_durability",
        "gauge",
        "What an acknowledgement means: 0 none, 1 disk, 2 replica-received, 3 replica-disk, 4 replica-applied.",
        _durability,
    ),
    Family("store_database_bytes", "gauge", "Size of the database.", _at("store", "database_bytes")),
    Family("store_wal_bytes", "gauge", "Size of its write-ahead log.", _at("store", "wal_bytes")),
    Family(
        "store_sync_failed",
        "gauge",
        "1 once the disk has refused to sync the database: the log grows until the daemon is restarted.",
        _at("store", "sync_failed"),
    ),
    Family(
        "checkpoint_age_seconds",
        "gauge",
        "Since all of the log was last moved into the database, or the start; one is due after some 16 MiB.",
        _at("store", "checkpoint_age_ms", unit=_MS),
    ),
    Family(
        "checkpoint_waiting_pages",
        "gauge",
        "Pages that the last checkpoint had to leave in the log, for a reader.",
        _at("store", "checkpoint_pages_left"),
    ),
    Family(
        "oldest_reader_seconds",
        "gauge",
        "Age of the oldest of our own reads under way.",
        _at("store", "oldest_reader_ms", unit=_MS),
    ),
    Family("zones", "gauge", "Sessions, by kind: current or archive.", _zones, ("kind",)),
    Family(
        "parts_merged",
        "counter",
        "Small parts of outputs that were made into larger ones.",
        _at("store", "parts_merged"),
    ),
    Family(
        "previews_waiting", "gauge", "Archives whose preview is not worked out yet.", _at("store", "previews_waiting")
    ),
    Family("compressions_waiting", "gauge", "Archives still to be compressed.", _at("store", "compressions_waiting")),
    Family(
        "compression_saved_bytes",
        "counter",
        "Bytes that archives take less since they were compressed, by this daemon.",
        _at("store", "compression_saved_bytes"),
    ),
    Family(
        "migration_items",
        "gauge",
        "What the migrations of this start have counted.",
        _migrations,
        ("migration", "what"),
    ),
    Family(
        "free_space_bytes", "gauge", "Free space on the disk of the data directory.", _at("free_space", "free_bytes")
    ),
    Family("free_space_level", "gauge", "0 enough, 1 below the warning level, 2 below the critical one.", _level),
    Family(
        "event_loop_lag_seconds",
        "gauge",
        "How late the event loop was at worst within the last minute.",
        _at("event_loop", "worst_lag_ms", unit=_MS),
    ),
)
"""The one table of metrics. Beside it there are those of the process, `process_…`, as every client library names them."""


def markdown_table() -> str:
    """Write the table for the README."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for row in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.full_name}` | {row.kind} | {labels} | {row.about} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(markdown_table() + "\n")
