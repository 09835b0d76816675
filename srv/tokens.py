"""The tokens that callers show."""

from __future__ import annotations

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
