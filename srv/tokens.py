"""The tokens that callers show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """The tokens of one start. They have no `repr`, so that none gets into a log.

    Attributes:
        full: opens everything.
        read_only: opens what only reads; None where there is none.
    """

    full: str
    read_only: str | None = None

    def __iter__(self) -> Iterator[str]:
        """Go through those that there are."""
        yield self.full
        if self.read_only is not None:
            yield self.read_only
