"""The snapshots that were written last, in memory: the next write of one is compared with these, not with the disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from store.handle import Handle, SessionKey
from store.limits import KEPT_SNAPSHOT_BYTES_MAX
from store.parts import Part


class KeptSnapshots:
    """Parts of snapshots as this process has stored them, by session. The writing side's own; the longest unused go first."""

    def __init__(self, handle: Handle) -> None:
        """Look through the writing handle whether somebody else has changed the store."""
        self._handle = handle
        self._kept: OrderedDict[SessionKey, tuple[int, tuple[Part, ...]]] = OrderedDict()
        self._bytes = 0

    def of(self, key: SessionKey, revision: int) -> tuple[Part, ...] | None:
        """Return the parts of a session's snapshot as they are stored, None where those of that revision are not known."""
        if self._handle.is_changed_elsewhere():
            self.clear()
        kept_revision, parts = self._kept.get(key, (0, None))
        if parts is None or kept_revision != revision:
            return None
        self._kept.move_to_end(key)
        return parts

    def keep(self, key: SessionKey, parts: Sequence[Part], revision: int) -> None:
        """Remember what was stored."""
        self.forget(key)
        self._kept[key] = revision, tuple(parts)
        self._bytes += parts[-1].end_byte
        while self._bytes > KEPT_SNAPSHOT_BYTES_MAX:
            self.forget(next(iter(self._kept)))

    def forget(self, key: SessionKey) -> None:
        """Forget one; the next write of it reads what is stored."""
        _, parts = self._kept.pop(key, (0, None))
        if parts is not None:
            self._bytes -= parts[-1].end_byte

    def clear(self) -> None:
        """Forget all: after a rollback, or where stored data turns out to be damaged, so that the next write mends it."""
        self._kept.clear()
        self._bytes = 0
