"""Tables for people: columns that line up, and numbers in words."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from srv.escapes import escaped
from srv.output import is_terminal, size_in_words

_GAP: Final = "  "
_NOTHING: Final = "-"
_SECOND_MS: Final = 1_000


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Line up columns below their names. On a terminal the last one is cut where its line would be wider than that.

    Args:
        header: the names of the columns; a name that begins with `>` has its column lined up at the right.
        rows: the cells. Control characters in them are escaped.
    """
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - only those who print a table need it

    names = [name.removeprefix(">") for name in header]
    lines = [names, *([escaped(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(names))]

    def padded(column: int, cell: str) -> str:
        gap = " " * (widths[column] - cell_len(cell))
        return gap + cell if header[column].startswith(">") else cell + gap

    shown = [_GAP.join(padded(column, cell) for column, cell in enumerate(line)).rstrip() for line in lines]
    if is_terminal():
        width = shutil.get_terminal_size().columns
        shown = [line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…" for line in shown]
    return "\n".join(shown)


def facts(rows: Sequence[tuple[str, str]], indent: str = "") -> list[str]:
    """Write names and what they are, a line each. Nothing is cut: what does not fit stays whole for whoever copies it."""
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{indent}{escaped(name):<{width}}{_GAP}{escaped(value)}" for name, value in rows]


def flattened(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten a result of the wire to names and values in words: `store.wal_bytes` and a size."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flattened(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, _in_words(prefix, value)


def _in_words(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return _number_in_words(name, value) if isinstance(value, int | float) else str(value)


def _number_in_words(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return size_in_words(int(value))
    if name.endswith("_at_ms"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value / 1000))
    if name.endswith("_ms"):
        return duration_in_words(value) if value >= _SECOND_MS else f"{value:g} ms"
    return str(value)


def age_in_words(time_ms: int | None, now_ms: int) -> str:
    """Write how long ago a time was, in unix ms both; `-` for none."""
    return _NOTHING if time_ms is None else duration_in_words(max(0, now_ms - time_ms))


def duration_in_words(duration_ms: float) -> str:
    """Write a duration for people, in its two largest units."""
    minutes, seconds = divmod(int(duration_ms // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "0 s"
