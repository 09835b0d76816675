"""Counts calls: of each method by outcome, and how long they took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from store.histogram import SECONDS, Histogram

OK: Final = "ok"
"""The outcome of a call that was answered with a result; of any other it is the word of its error."""

UNKNOWN: Final = "unknown"
"""Stands for every method that there is not: what callers make up must not become a name of ours."""

NONE: Final = "none"
"""Stands for the method where it did not come to one: what is no request, and what a batch had no room for."""


class CallCounts:
    """The calls of one daemon."""

    def __init__(self, methods: Iterable[str]) -> None:
        """Begin with no calls of these methods."""
        self._seconds = {(method, OK): Histogram(SECONDS) for method in methods}

    def of(self, method: str, outcome: str) -> Histogram:
        """Return how long the calls of a method took, in seconds, that came out so: whoever makes one adds to it."""
        key = method, outcome
        if key not in self._seconds:
            self._seconds[key] = Histogram(SECONDS)
        return self._seconds[key]

    def __iter__(self) -> Iterator[tuple[str, str, Histogram]]:
        """Go through all there were: method, outcome, and how long they took."""
        for (method, outcome), seconds in self._seconds.items():
            yield method, outcome, seconds

    def status(self) -> dict[str, object]:
        """Describe the calls of each method for `srv:status`: how many came out how, and what nearly all took at most."""
        found: dict[str, dict[str, object]] = {}
        for method, outcome, seconds in self:
            if seconds.count:
                found.setdefault(method, {})[outcome] = seconds.count
            if outcome == OK and (p99_seconds := seconds.at_most(0.99)) is not None:
                found[method]["p99_ms"] = 1_000 * p99_seconds
        return dict(found)
