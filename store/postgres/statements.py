"""Statements of `store/sql/` in the form that PostgreSQL takes: each `:name` and `:name.field` becomes a number, as in `$1`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from store.sql import load

# Not the second colon of a cast, and not what stands in quotes.
_VALUE: Final = re.compile(r"'[^']*'|(?<!:):([a-z][a-z0-9_]*)(?:\.([a-z_]+))?")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and how its values are picked.

    Attributes:
        text: with `$1`, `$2`, ….
        picks: for each of these, the name of the value, and what takes the field of it, or of each where it is a list.
    """

    text: str
    picks: tuple[tuple[str, Callable[[Any], Any] | None], ...]

    def picked(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values in the statement's order."""
        return [values[name] if field is None else _taken(field, values[name]) for name, field in self.picks]


def _taken(field: Callable[[Any], Any], value: Any) -> Any:
    return list(map(field, value)) if isinstance(value, list) else field(value)


def compiled(text: str) -> Statement:
    """Number the values of a statement."""
    numbers: dict[tuple[str, str | None], int] = {}

    def number(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        return f"${numbers.setdefault((match[1], match[2]), len(numbers) + 1)}"

    text = _VALUE.sub(number, text)
    return Statement(text, tuple((name, attrgetter(field) if field else None) for name, field in numbers))


def load_statements(*file_names: str) -> dict[str, Statement]:
    """Read and number the statements of some files, by name."""
    texts = {name: text for file_name in file_names for name, text in load(file_name).items()}
    return {name: compiled(text) for name, text in texts.items()}
