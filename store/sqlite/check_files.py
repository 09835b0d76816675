"""Checking one file of a session, in slices of one transaction each, while a daemon may go on writing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from store.checks import FileName, Finding, Position, check_end, check_part
from store.codec import RAW_CODEC
from store.sql import load

_RESTARTS_MAX: Final = 3
_BEFORE_ALL: Final = -(2**63)

_STATEMENTS: Final = load("sqlite_check.sql")


@dataclass(slots=True)
class Slice:
    """What was seen of a file in one transaction.

    Attributes:
        end: how far it went.
        findings: what is wrong in it.
        size_bytes: bytes of its parts.
        stored_bytes: bytes that those are stored in; fewer where they are compressed.
        is_last: there is nothing behind it.
    """

    end: Position
    findings: list[Finding] = field(default_factory=list)
    size_bytes: int = 0
    stored_bytes: int = 0
    is_last: bool = False


class FileCheck:
    """Checks files through one handle, a bounded number of bytes in one transaction."""

    def __init__(self, connection: sqlite3.Connection, slice_bytes: int, tell: Callable[[int], None]) -> None:
        """Keep the handle.

        Args:
            connection: the handle; whoever calls `check` has begun a transaction on it.
            slice_bytes: content that a transaction may read.
            tell: told how many bytes more were read.
        """
        self._connection = connection
        self._slice_bytes = slice_bytes
        self._tell = tell
        self._read_bytes = 0
        self._has_begun_anew = False

    def begin(self) -> None:
        """Hear that a transaction has begun."""
        self._read_bytes = 0
        self._has_begun_anew = False

    @property
    def is_spent(self) -> bool:
        """Whether that transaction has read enough, or had to give way to another one."""
        return self._has_begun_anew or self._read_bytes >= self._slice_bytes

    def check(self, zone_id: int, file: FileName, name: object) -> list[Slice]:
        """Check a file. It may grow, or be written anew, between one slice and the next.

        A slice counts as long as the part that it ended with is the same in the next transaction. A file that changes faster
        than it is read is at last read in one transaction, whatever its size.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        seen: list[Slice] = []
        restarts = 0
        while not seen or not seen[-1].is_last:
            if seen:
                self._begin_anew()
            while seen and not self._stands(zone_id, name, seen[-1].end):
                seen.pop()
                restarts += 1
            start = seen[-1].end if seen else Position()
            bytes_max = self._slice_bytes - self._read_bytes if restarts < _RESTARTS_MAX else None
            seen.append(self._slice(zone_id, file, name, start, bytes_max))
        return seen

    def _slice(self, zone_id: int, file: FileName, name: object, start: Position, bytes_max: int | None) -> Slice:
        """Check parts from a position on: one at least, where there is one, and no more than fit the slice."""
        piece = Slice(start)
        after = _BEFORE_ALL if start.last_start_byte is None else start.last_start_byte
        wanted = {"zone_id": zone_id, "name": name, "after": after}
        with closing(self._connection.execute(_STATEMENTS["parts_after"], wanted)) as rows:
            for row in rows:
                piece.end, findings = check_part(file, piece.end, row)
                piece.findings += findings
                stored_bytes = len(row[-1]) if isinstance(row[-1], bytes | str) else 0
                piece.stored_bytes += stored_bytes
                piece.size_bytes += _size_of(row, stored_bytes)
                self._read_bytes += stored_bytes
                self._tell(stored_bytes)
                if bytes_max is not None and piece.stored_bytes >= bytes_max:
                    return piece
        piece.is_last = True
        piece.findings += check_end(file, piece.end)
        return piece

    def _stands(self, zone_id: int, name: object, end: Position) -> bool:
        """Tell whether the part that a slice ended with is the same as it was."""
        wanted = {"zone_id": zone_id, "name": name, "start_byte": end.last_start_byte}
        found: tuple[object, ...] | None = self._connection.execute(_STATEMENTS["part_at"], wanted).fetchone()
        return found == end.last

    def _begin_anew(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN")
        self._read_bytes = 0
        self._has_begun_anew = True


def _size_of(row: tuple[object, ...], stored_bytes: int) -> int:
    """Return how many bytes a part holds: those that are stored, or, where they are compressed, as many as it says."""
    size_bytes, codec = row[2], row[7]
    return size_bytes if codec != RAW_CODEC and isinstance(size_bytes, int) else stored_bytes
