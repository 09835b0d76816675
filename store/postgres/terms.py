"""The terms on which a daemon uses its server: how many connections, how long a statement may take, what a commit must mean.

They are said with every BEGIN, for that transaction alone: behind a pooler in transaction mode nothing that is said to a
connection outlives the commit. It costs two microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from store.durability import Level
from store.postgres.durability import CHOICE_OF

CONNECTIONS_MIN = 2
"""One that writes, and one that reads."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a daemon was told.

    Attributes:
        connections: at once, one of which writes.
        statement_seconds_max: after which the server ends a statement. A wait for another daemon's lock ends in half of that,
            and in a third a transaction whose daemon has gone without a word: so who waits outlasts who is gone.
        durability: what a commit must mean at least.
    """

    connections: int = 5
    statement_seconds_max: int = 30
    durability: Level = Level.DISK

    @property
    def begin_reading(self) -> str:
        """Begin a transaction that sees one state of the database."""
        return f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {self._bounds}"

    @property
    def begin_writing(self) -> str:
        """Begin a transaction that changes something."""
        return f"BEGIN; {self._bounds}; SET LOCAL lock_timeout = {self.statement_seconds_max * 500}"

    @property
    def choose_durability(self) -> str:
        """Have the commit of the open transaction mean enough, as far as that is its own choice."""
        return f"SET LOCAL synchronous_commit = {CHOICE_OF[self.durability]}"

    @property
    def _bounds(self) -> str:
        statement_ms = self.statement_seconds_max * 1_000
        return (
            f"SET LOCAL statement_timeout = {statement_ms};"
            f" SET LOCAL idle_in_transaction_session_timeout = {statement_ms // 3}"
        )
