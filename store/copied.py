"""What a copy of a store asks of the engine that it is made in (`store/copying.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from store.records import FilePiece, SessionFacts
from store.zones import Zone


@dataclass(frozen=True, slots=True)
class CopySession:
    """Make a session what it is in another store, to its id, revisions and times; gives the id of one that stood in its place.

    None where nobody did. One that did goes to a zone at the end of time, until it is copied itself. The session may be there
    already, in whatever zone: then its row and the pieces are brought up to date, and files that it does not have any more
    go. Doing it again changes nothing. For the target of a copy alone, which nobody serves.

    Attributes:
        facts: the session as it is to be, once all pieces of it are copied.
        pieces: what its files lack: of an output from the very byte at which the copy's ends, else the whole file.
    """

    facts: SessionFacts
    pieces: tuple[FilePiece, ...] = ()

    @property
    def zone(self) -> Zone:
        """Where the session is to be."""
        return self.facts.zone

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return 0


@dataclass(frozen=True, slots=True)
class DropSession:
    """Delete a session that the other store does not have any more; gives None. As `CopySession`, for targets alone."""

    zone: Zone
    session_id: str

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return 0
