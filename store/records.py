"""Frozen records that cross layers. Fields that go over the wire bear the wire's names (DESIGN.md section 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from store.zones import Zone

Content = tuple[bytes, ...]
"""The bytes of a file in pieces, in order: a snapshot of 50 MB is never joined where its pieces will do."""


class Standing(StrEnum):
    """Whose the sessions of a store are.

    A daemon serves its own, and makes a copy that is whole its own when it begins to; one that is not whole it refuses.
    """

    OWN = "own"
    COPYING = "copying"
    COPIED = "copied"


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session and its snapshot.

    Attributes:
        session_id: id of the session.
        content: the snapshot; None where there is none, or where `unchanged`.
        modts: unix ms of the snapshot's last change, None where there is no snapshot.
        revision: the snapshot's revision, None where there is no snapshot.
        unchanged: the revision asked about is the stored one, so the content was not read.
        left_out_bytes: size of a content that was not read because it is larger than was asked for; else 0.
    """

    session_id: str | None
    content: Content | None = None
    modts: int | None = None
    revision: int | None = None
    unchanged: bool = False
    left_out_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What a snapshot write did. `revision` and `modts` are the old ones where the same bytes were stored already."""

    bytes_written: int
    modts: int
    revision: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did.

    Attributes:
        bytes_written: bytes of the texts sent with their newlines; for a duplicate too.
        offset: where in the output they begin.
        size_bytes: size of the whole output.
        total_lines: lines of the whole output that are not blank.
        session_id: id of the session.
        duplicate: the very bytes were stored at that offset already, by an earlier try.
    """

    bytes_written: int
    offset: int
    size_bytes: int
    total_lines: int
    session_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Archived:
    """The archive a session became; nothing but None where there was nothing to archive."""

    archive_zoneid: Zone | None
    archived_at_ms: int | None
    session_id: str | None


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """One row of `list_archives`.

    Attributes:
        archive_zoneid: name of the archive's zone.
        archived_at_ms: unix ms.
        preview: None while not worked out, "" where there is nothing to show.
        node_count: number of the snapshot's nodes, 0 where there are none.
        total_lines: lines of the output that are not blank.
        size_bytes: of all files together.
        session_id: id of the session.
    """

    archive_zoneid: Zone
    archived_at_ms: int
    preview: str | None
    node_count: int
    total_lines: int
    size_bytes: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Page:
    r"""Lines of an output.

    Attributes:
        lines: without their `\n` and the one `\r` before it.
        first_line: number of the first of them, counted from 0 over lines that are not blank.
        next_line: number of the line after them.
        total_lines: of the whole output.
        size_bytes: of the whole output.
        session_id: id of the session, None where there is none.
    """

    lines: list[str]
    first_line: int
    next_line: int
    total_lines: int
    size_bytes: int
    session_id: str | None


@dataclass(frozen=True, slots=True)
class Mount:
    """What a pane needs at once, from one read transaction. `state.content` is None where there is no snapshot."""

    state: SessionState
    covers_line: int | None
    output: Page


@dataclass(frozen=True, slots=True)
class AgentStat:
    """One agent without any content. Sizes and counts are 0, the rest None, where there is nothing.

    Attributes:
        definition_id: the agent.
        session_id: of its current session.
        snapshot_bytes: size of the snapshot.
        revision: of the snapshot.
        output_bytes: size of the output.
        total_lines: lines of the output that are not blank.
        modts: unix ms of the last change of any file of the current session.
        archives: number of archived sessions.
    """

    definition_id: str
    session_id: str | None
    snapshot_bytes: int
    revision: int | None
    output_bytes: int
    total_lines: int
    modts: int | None
    archives: int


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """How many sessions a store has.

    Attributes:
        sessions: all of them.
        archives: those that are archived.
        previews_waiting: archives whose preview is not worked out yet.
        compressions_waiting: archives that are still to be compressed.
    """

    sessions: int
    archives: int
    previews_waiting: int
    compressions_waiting: int


@dataclass(frozen=True, slots=True)
class FileStat:
    """One file of a session, as its last part tells it."""

    name: str
    size_bytes: int
    total_lines: int
    modified_at_ms: int
    revision: int


@dataclass(frozen=True, slots=True)
class ZoneStat:
    """One zone and its files, without any content.

    Attributes:
        zone: its name.
        session_id: the session it holds.
        created_at_ms: unix ms at which the session came into being.
        files: its files, by name.
    """

    zone: Zone
    session_id: str
    created_at_ms: int
    files: tuple[FileStat, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def modified_at_ms(self) -> int:
        """Unix ms of the last change of any file, of the zone's birth where it has none."""
        return max((file.modified_at_ms for file in self.files), default=self.created_at_ms)


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """All that a store keeps of a session, without any content: what makes a copy of it the same session.

    Attributes:
        zone: where it is.
        session_id: its id.
        created_at_ms: unix ms.
        covers_line: number of output lines that its snapshot contains, None where that is not known.
        preview: None while not worked out.
        node_count: of the preview.
        origin: where it came from; several, a line each, where it was completed from another.
        files: its files, by name.
    """

    zone: Zone
    session_id: str
    created_at_ms: int
    covers_line: int | None
    preview: str | None
    node_count: int
    origin: str | None
    files: tuple[FileStat, ...]

    def file(self, name: str) -> FileStat | None:
        """Return a file of it, None where it has no such file."""
        return next((file for file in self.files if file.name == name), None)


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Bytes of a file that are copied: all of it, or what an output has more than the copy.

    Attributes:
        name: of the file.
        start_byte: where they begin; whatever the copy has from there on goes.
        chunks: as in `ImportFile`.
    """

    name: str
    start_byte: int
    chunks: Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file of a session that comes from elsewhere.

    Attributes:
        name: its name.
        modified_at_ms: unix ms of its last change.
        chunks: makes a fresh iterator over its bytes. It may be called more than once (a batch that failed is tried
            again), runs on the engine's thread, and is never asked for more than one chunk ahead.
    """

    name: str
    modified_at_ms: int
    chunks: Callable[[], Iterable[bytes]]
