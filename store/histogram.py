"""How values are spread: counted in plain slots, since what is counted lies on the path of every call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Slots for how long something took: an append alone takes a third of a millisecond, and at 10 s callers have given up."""


class Histogram:
    """Values, by how large they were.

    Attributes:
        bounds: the largest value of each slot, ascending.
        counts: how many values fell into each slot, and behind these how many were larger than all bounds.
        total: of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with none."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def at_most(self, share: float) -> float | None:
        """Return the bound that so many of the values did not exceed, such as 0.99 of them.

        None where there were no values; the largest bound where it was exceeded as well.
        """
        wanted = share * self.count
        if not wanted:
            return None
        slots = zip(self.bounds, accumulate(self.counts), strict=False)
        return next((bound for bound, reached in slots if reached >= wanted), self.bounds[-1])
