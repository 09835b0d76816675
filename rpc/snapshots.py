"""Snapshots as they go over the wire, kept for panes that come back: to mount one again, nothing is read or encoded.

A revision of a session never changes, so what is kept under both is never out of date: the store is asked for the revision it
has, in the same transaction as for the rest, and leaves the content out where that is the one kept.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import orjson

from rpc.answers import Encoded, StoredText, stored_text
from store.limits import MIB
from store.records import SessionState

KEPT_BYTES_MAX: Final = 32 * MIB
"""All that are kept together: some dozen panes of the usual size."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One snapshot: its session, its revision, and its content as a JSON string."""

    session_id: str
    revision: int
    encoded: bytes


class SnapshotsKept:
    """The snapshots of current sessions that were read last."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        """Keep up to so many bytes of encoded content; the longest unused goes first."""
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def of(self, definition_id: str) -> Kept | None:
        """Return what is kept of an agent."""
        kept = self._kept.get(definition_id)
        if kept is not None:
            self._kept.move_to_end(definition_id)
        return kept

    def content(self, definition_id: str, state: SessionState, kept: Kept | None) -> Encoded | StoredText | None:
        """Return the content of a state that was read, and keep it where it is small; of an unchanged one, what was kept."""
        if state.unchanged and kept is not None:
            return Encoded(kept.encoded)
        if state.content is None:
            return None
        text = stored_text(state.content)
        if isinstance(text, StoredText):
            return text
        encoded = orjson.dumps(text)
        if state.session_id is not None and state.revision is not None:
            self._keep(definition_id, Kept(state.session_id, state.revision, encoded))
        return Encoded(encoded)

    def _keep(self, definition_id: str, kept: Kept) -> None:
        if before := self._kept.pop(definition_id, None):
            self._bytes -= len(before.encoded)
        self._kept[definition_id] = kept
        self._bytes += len(kept.encoded)
        while self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.encoded)
