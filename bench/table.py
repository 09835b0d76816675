"""Tables of text, aligned so that they read well on a terminal and in a message."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A measurement as people read it.

    Attributes:
        title: what was measured.
        header: one word or two per column; the first column is text, the others are figures.
        rows: the figures, each with its unit in the header.
        note: what the figures mean, or how they came about.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        """Return the title, the aligned columns and the note."""
        widths = [max(len(cell) for cell in column) for column in zip(self.header, *self.rows, strict=True)]
        lines = [self._line(self.header, widths), "  ".join("-" * width for width in widths)]
        lines += [self._line(row, widths) for row in self.rows]
        return "\n".join([self.title, "", *lines, *(["", self.note] if self.note else []), ""])

    @staticmethod
    def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])


def whole(value: float) -> str:
    """Write a figure without decimals, thousands apart."""
    return f"{value:,.0f}"


def decimal(value: float) -> str:
    """Write a figure with as many decimals as its size can bear."""
    return f"{value:,.2f}" if value < 100 else whole(value)


def times(value: float, reference: float) -> str:
    """Write how many times the reference a value is."""
    return f"{value / reference:,.2f} x" if reference else "-"


def size(value_bytes: int | None) -> str:
    """Write a size in binary units; `-` where it is not known."""
    if value_bytes is None:
        return "-"
    if value_bytes < 1024:
        return f"{value_bytes} B"
    if value_bytes < 1024 * 1024:
        return f"{value_bytes / 1024:,.1f} KiB"
    return f"{value_bytes / 1024 / 1024:,.1f} MiB"


def rank(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed, 0 where there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0
