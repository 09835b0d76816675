"""The terms on which a daemon uses a database that others use as well: what it takes of it, and what it wants from it."""

from __future__ import annotations

from dataclasses import dataclass

from store.durability import Level


@dataclass(frozen=True, slots=True)
class Terms:
    """What a daemon was told.

    Attributes:
        connections: at once, one of which writes; two at least.
        statement_seconds_max: after which the server ends a statement: longer than the largest change takes, a snapshot of
            64 MiB, and short enough that whoever waits for one that is stuck hears of it.
        durability: what a commit must mean at least.
    """

    connections: int = 5
    statement_seconds_max: int = 30
    durability: Level = Level.DISK
