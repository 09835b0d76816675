"""A row of the table: what was measured, in rounds, against what, and what is wanted of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from bench.scale import KIB, MIB

NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row is to show.

    Attributes:
        limit: the figure.
        is_most: it is the most there may be; otherwise the least.
        is_ratio: it speaks of the ratio; otherwise of our own value, in the row's unit.
        aim: a better figure that would be good to have.
    """

    limit: float
    is_most: bool = True
    is_ratio: bool = True
    aim: float | None = None

    def holds(self, value: float) -> bool:
        """Tell whether a value is within the limit."""
        return value <= self.limit if self.is_most else value >= self.limit


def at_most(limit: float, aim: float | None = None) -> Wanted:
    """Want a ratio that is not larger."""
    return Wanted(limit, aim=aim)


def at_least(limit: float, aim: float | None = None) -> Wanted:
    """Want a ratio that is not smaller."""
    return Wanted(limit, is_most=False, aim=aim)


def value_at_most(limit: float) -> Wanted:
    """Want our own value not to be larger."""
    return Wanted(limit, is_ratio=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: what was measured.
        unit: of both values: "/s", "ms", "s", "µs" or "bytes".
        ours: our value in each round.
        yardstick: the yardstick's value in each round; empty where there is none.
        against: what the yardstick is.
        wanted: what is wanted; None where the row is there for comparison.
        faster_is_larger: the ratio of durations says how many times as fast we are, so it is yardstick / ours.
        engine: over which it was measured.
    """

    name: str
    unit: str
    ours: Sequence[float]
    yardstick: Sequence[float] = ()
    against: str = ""
    wanted: Wanted | None = None
    faster_is_larger: bool = False
    engine: str = "SQLite"

    @property
    def our_value(self) -> float:
        """The median of our rounds."""
        return statistics.median(self.ours)

    @property
    def yardstick_value(self) -> float | None:
        """The median of the yardstick's rounds."""
        return statistics.median(self.yardstick) if self.yardstick else None

    @property
    def ratio(self) -> float | None:
        """Our median as a multiple of the yardstick's, or the other way round where that says what is faster."""
        if not self.yardstick_value:
            return None
        ratio = self.our_value / self.yardstick_value
        return 1 / ratio if self.faster_is_larger and ratio else ratio

    @property
    def holds(self) -> bool | None:
        """Whether the figure wanted is reached; None where nothing is wanted."""
        if self.wanted is None:
            return None
        value = self.ratio if self.wanted.is_ratio else self.our_value
        return value is not None and self.wanted.holds(value)

    def cells(self) -> tuple[str, ...]:
        """Return the row as the table shows it."""
        return (
            self.name,
            self.engine,
            shown(self.our_value, self.unit),
            NOTHING if self.yardstick_value is None else f"{shown(self.yardstick_value, self.unit)} {self.against}",
            NOTHING if self.ratio is None else _ratio(self.ratio),
            self._wanted(),
            {True: "yes", False: "NO", None: ""}[self.holds],
        )

    def facts(self) -> dict[str, Any]:
        """Return the row for JSON: what it was made of, every round included, and what follows from that."""
        rounds = {"ours": list(self.ours), "yardstick": list(self.yardstick)}
        follows = {"our_value": self.our_value, "yardstick_value": self.yardstick_value, "ratio": self.ratio}
        return {**asdict(self), **rounds, **follows, "holds": self.holds}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """Make a row of its facts again."""
        made_of = {each.name: facts[each.name] for each in fields(cls)}
        return cls(**made_of | {"wanted": facts["wanted"] and Wanted(**facts["wanted"])})

    def _wanted(self) -> str:
        if self.wanted is None:
            return ""
        sign = "≤" if self.wanted.is_most else "≥"
        limit = f"{self.wanted.limit:.2f}" if self.wanted.is_ratio else shown(self.wanted.limit, self.unit)
        aim = "" if self.wanted.aim is None else f", aim {self.wanted.aim:.2f}"
        return f"{sign} {limit}{aim}"


def alternate(rounds: int, *takers: Callable[[], float]) -> list[list[float]]:
    """Call the takers in turn, so many rounds; returns the values of each.

    What changes on the machine in the course of a run then changes for all of them.
    """
    values: list[list[float]] = [[] for _ in takers]
    for _ in range(rounds):
        for taker, taken in zip(takers, values, strict=True):
            taken.append(taker())
    return values


def rank(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed, 0 where there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def shown(value: float, unit: str) -> str:
    """Write a value with its unit, and as many decimals as its size can bear."""
    if unit == "bytes":
        return size(round(value))
    if unit == "/s":
        return f"{value:,.0f}/s"
    return f"{value:,.2f} {unit}" if value < 100 else f"{value:,.0f} {unit}"


def size(value_bytes: int) -> str:
    """Write a size in binary units, without decimals where there are none."""
    if value_bytes < KIB:
        return f"{value_bytes} B"
    if value_bytes < MIB:
        return f"{value_bytes / KIB:,.1f}".removesuffix(".0") + " KiB"
    return f"{value_bytes / MIB:,.1f}".removesuffix(".0") + " MiB"


def _ratio(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:,.2f}"
