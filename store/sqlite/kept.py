"""The snapshots that were written last, in memory: the next write of one is compared with these, not with the disk."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence

from store.limits import KEPT_SNAPSHOT_BYTES_MAX
from store.parts import Part


class KeptSnapshots:
    """Parts of snapshots as this process has stored them, by session. The writing side's own; the longest unused go first."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Look through the writing handle whether somebody else has changed the store."""
        self._connection = connection
        self._kept: OrderedDict[int, tuple[Part, ...]] = OrderedDict()
        self._bytes = 0
        self._version = 0

    def of(self, zone_id: int) -> tuple[Part, ...] | None:
        """Return the parts of a session's snapshot as they are stored, None where that is not known."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:  # somebody else has written to the store
            self._version = version
            self.clear()
        kept = self._kept.get(zone_id)
        if kept is not None:
            self._kept.move_to_end(zone_id)
        return kept

    def keep(self, zone_id: int, parts: Sequence[Part]) -> None:
        """Remember what was stored."""
        self.forget(zone_id)
        self._kept[zone_id] = tuple(parts)
        self._bytes += parts[-1].end_byte
        while self._bytes > KEPT_SNAPSHOT_BYTES_MAX:
            self.forget(next(iter(self._kept)))

    def forget(self, zone_id: int) -> None:
        """Forget one; the next write of it reads what is stored."""
        parts = self._kept.pop(zone_id, None)
        if parts is not None:
            self._bytes -= parts[-1].end_byte

    def clear(self) -> None:
        """Forget all: after a rollback, or where stored data turns out to be damaged, so that the next write mends it."""
        self._kept.clear()
        self._bytes = 0
