"""Tables of text: aligned for a terminal, and in Markdown for a README."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.rows import Row

HEADER: Final = ("what", "engine", "ours", "yardstick", "ratio", "wanted", "holds")


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Put the cells in columns; the first two are text, the others are figures."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(cells, widths) for cells in (header, rule, *rows))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write the cells as a Markdown table, one row a line."""
    rule = "|" + "---|" * len(header)
    lines = [_cells(header), rule, *(_cells(row) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the rows as both tables show them."""
    return [row.cells() for row in rows]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts, figures = zip(cells[:2], widths[:2], strict=True), zip(cells[2:], widths[2:], strict=True)
    padded = [*(cell.ljust(width) for cell, width in texts), *(cell.rjust(width) for cell, width in figures)]
    return "  ".join(padded).rstrip()


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
