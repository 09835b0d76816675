"""What reading and writing ask of a database, whichever it is: statements by their names, and parts by the row.

Every engine has the same statements in its own SQL, with the same values and columns. What is above them is written once: in
`store/stored.py`, `store/reads.py`, `store/changes.py` and `store/imports.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from store.zones import Zone

SessionKey = Hashable
"""What an engine knows a session by in its tables. It stays the session's, whatever zone that is in."""

PartRow = tuple[SessionKey, str, int, int, int, int, int, int, int, bytes]
"""A part as it is stored: session key, name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision, crc32,
data."""


class Handle(ABC):
    """A connection to the database, used by one thread at a time. Raises the database's own errors."""

    __slots__ = ()

    @abstractmethod
    def rows(self, statement: str, **values: Any) -> Sequence[Sequence[Any]]:
        """Carry out a statement and return all its rows. Where it asks about a set, that is a list among the values."""

    def row(self, statement: str, **values: Any) -> Sequence[Any] | None:
        """Carry out a statement and return its first row, None where there is none."""
        return next(iter(self.rows(statement, **values)), None)

    @abstractmethod
    def each(self, statement: str, **values: Any) -> Generator[Sequence[Any], None, None]:
        """Yield the rows of a statement about parts, in its order, a few at a time; whoever stops early closes it."""

    @abstractmethod
    def put_parts(self, rows: Sequence[PartRow], grown: Sequence[PartRow] = ()) -> None:
        """Store parts, each anew or in place of what begins where it does. No two of `rows` begin at one place.

        `grown` are parts of outputs that are stored already and have grown at their ends, which may be less work. One of them
        that begins where one of `rows` does is an earlier state of that.
        """

    @abstractmethod
    def insert_zone(
        self, zone: Zone, session_id: str, created_at_ms: int, covers_line: int | None, origin: str | None
    ) -> SessionKey:
        """Make a session's row and return its key."""

    @abstractmethod
    def rename_zone(self, key: SessionKey, source: Zone, target: Zone) -> None:
        """Give the session of a zone another zone's name: one row, whatever its size."""

    @abstractmethod
    def change_apart(self) -> AbstractContextManager[None]:
        """Undo what the block has changed, and only that, where it raises."""

    @abstractmethod
    def read_transaction(self) -> AbstractContextManager[None]:
        """Ask everything in the block of one state of the database."""

    @abstractmethod
    def is_changed_elsewhere(self) -> bool:
        """Tell whether somebody else has written to the store since the last time, without the engine's noticing."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, whatever thread it was used by."""
