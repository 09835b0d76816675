"""Puts the table into a README, between two markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.rows import Row
from bench.table import HEADER, cells, markdown

BEGIN: Final = "<!-- bench -->\n"
END: Final = "<!-- /bench -->"


def write(path: Path, machine: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Replace what is between the markers.

    Raises:
        ValueError: the file has no markers.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN.strip()} … {END}")
    path.write_text(f"{before}{begin}{part(machine, rows)}{end}{after}", encoding="utf-8")


def part(machine: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Return the table and, below it, where it was measured."""
    where = ", ".join(f"{name} {value}" for name, value in machine.items())
    return f"{markdown(HEADER, cells(rows))}\nMeasured on: {where}.\n"
