"""The contract every engine keeps, and the changes it applies.

An engine speaks our verbs. Nothing above it knows how it stores them: SQLite stands in `store/sqlite/`, and whatever
stands beside it passes the same suite, `tests/contract/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from store.copied import CopySession, DropSession
from store.pieces import CompressParts
from store.records import (
    AgentStat,
    Appended,
    Archived,
    ArchiveSummary,
    ImportFile,
    Mount,
    Page,
    SessionState,
    Written,
    ZoneStat,
)
from store.zones import Zone


@dataclass(frozen=True, slots=True)
class WriteState:
    """Create or replace the snapshot of the current session; gives a `Written`.

    The session comes into being where there is none. Writing the bytes that are stored already changes neither revision
    nor modts; `covers_line` is set all the same.

    Attributes:
        zone: a current zone.
        content: the whole snapshot.
        now_ms: unix ms of the change.
        session_id: if given, the session must be this one: else `StaleSessionError`, on a fresh agent too.
        expect_revision: if given, the stored revision must be this (0: no snapshot): else `RevisionMismatchError`.
        covers_line: number of output lines the snapshot already contains, None where the writer does not say.
    """

    zone: Zone
    content: bytes | bytearray
    now_ms: int
    session_id: str | None = None
    expect_revision: int | None = None
    covers_line: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class AppendOutput:
    r"""Append to the output of the current session; gives an `Appended`.

    The session comes into being where there is none. An unterminated tail (migrated data) is closed with `\n` first. On
    repetition with `expect_offset`: if the bytes stored there are the ones sent, the append succeeds as a duplicate and
    nothing is stored; so a lost answer can be asked for again.

    Attributes:
        zone: a current zone.
        text: the bytes to append: whole lines, the last one ended by `\n`. Not empty.
        now_ms: unix ms of the change.
        session_id: as in `WriteState`.
        expect_offset: if given, the size the output must have: else `OffsetMismatchError`, unless it is a duplicate.
    """

    zone: Zone
    text: bytes
    now_ms: int
    session_id: str | None = None
    expect_offset: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return len(self.text)


@dataclass(frozen=True, slots=True)
class ArchiveSession:
    """Turn the current session into an archive: one row changes, whatever its size; gives an `Archived`.

    Its time is `now_ms`, or one more than the agent's newest archive if that is not earlier. Where no file of the zone
    has a byte there is nothing to archive and nothing changes. With the `session_id` of a session that is archived
    already: that archive again. With any other that is not the current one: `StaleSessionError`.
    """

    zone: Zone
    now_ms: int
    session_id: str | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return 0


@dataclass(frozen=True, slots=True)
class KeepPreview:
    """Keep the preview worked out for an archive; gives None. Where it is gone or has one, nothing changes."""

    zone: Zone
    preview: str
    node_count: int

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return len(self.preview)


@dataclass(frozen=True, slots=True)
class ImportSession:
    """Take over a session from elsewhere, as a zone of its own with a fresh session id; gives a `ZoneStat`.

    For an archive whose millisecond is taken, the next free one is used. A current zone that exists without a byte in
    it is replaced; one that has content is a `ValueError`: the caller looks before it asks. Whatever goes wrong, an
    exception out of a file's `chunks` too, undoes this change alone and is its outcome.

    Attributes:
        zone: where the session is to be.
        files: its files. An empty one is kept as empty.
        created_at_ms: unix ms.
        origin: where it came from; kept, see `Engine.origins`. None where another zone keeps it.
        covers_line: kept where it lies within the output, else dropped.
    """

    zone: Zone
    files: tuple[ImportFile, ...]
    created_at_ms: int
    origin: str | None = None
    covers_line: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return 0


@dataclass(frozen=True, slots=True)
class MoveSession:
    """Give a session another zone's name: one row changes, whatever its size; gives the `Zone` it has now.

    A current that moves to an archive's name gets no preview yet. For an archive whose millisecond is taken, the next
    free one is used. A current zone that exists without a byte in it is replaced; one with content is a `ValueError`:
    the caller looks before it asks. Where the source does not exist: `ZoneNotFoundError`.
    """

    source: Zone
    target: Zone

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return 0


@dataclass(frozen=True, slots=True)
class CompleteSession:
    """Finish a half-done move: the target takes the named files of the source, and the source is gone; gives None.

    The target keeps its session id, and remembers the source's origins with its own. Files named must not exist in the
    target. The source's `covers_line` is taken over where the target has none. Where either does not exist:
    `ZoneNotFoundError`.

    Attributes:
        source: the session that ends.
        target: the session that is completed.
        names: the files that the target takes.
        covers_line: what the snapshot says that the target has afterwards. Kept where neither session has a mark, and
            it lies within the output as it is then.
    """

    source: Zone
    target: Zone
    names: tuple[str, ...]
    covers_line: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return 0


WholeChange = ImportSession | MoveSession | CompleteSession | CopySession | DropSession
"""What may fail half way and is then undone alone, since it is no change of a serving daemon."""

Change = WriteState | AppendOutput | ArchiveSession | KeepPreview | CompressParts | WholeChange
Result = Written | Appended | Archived | ZoneStat | Zone | str | None
Outcome = Result | Exception
"""What became of one change: its result, or why it was refused while the others of its batch were applied."""


class Engine(ABC):
    """Keeps sessions.

    One caller at a time may be in `apply` or `maintain`: the writer. Reads may run beside it and each other. Every read
    sees the state after some commit, whole. Every read may raise `StorageDamagedError`, which names the zone and the
    file, and `StorageUnavailableError`.
    """

    name: str
    """What `srv:status` calls it."""

    identity: str | None = None
    """What tells the store from every other one; None where it is the data directory's own file."""

    sync_seconds: float = 0.0
    """Of the last `apply`: how long its changes took to be made durable once all were made, which is the disk's share."""

    @abstractmethod
    async def apply(self, batch: Sequence[Change]) -> list[Outcome]:
        """Apply the changes in order, as one durable transaction, and return an outcome for each.

        When it returns, every change whose outcome is a result is on disk. A change that is refused (stale session,
        mismatch) changes nothing and does not disturb the others.

        Raises:
            StorageFullError, StorageUnavailableError, StorageDamagedError: the transaction failed; nothing of the batch
            is stored.
        """

    @property
    @abstractmethod
    def maintenance_due(self) -> bool:
        """Tell whether `maintain` has something to do."""

    @abstractmethod
    async def maintain(self) -> None:
        """Do one bounded step of housekeeping, between two batches."""

    @abstractmethod
    async def read_session_state(
        self, zone: Zone, if_revision: int | None = None, content_bytes_max: int | None = None
    ) -> SessionState | None:
        """Read a zone's session and snapshot; None where there is no such zone.

        With `if_revision` equal to the stored revision: `unchanged`, without the content. A content above
        `content_bytes_max` is not read either, and `left_out_bytes` tells its size.
        """

    @abstractmethod
    async def read_output(self, zone: Zone, first_line: int | None, limit: int, max_bytes: int) -> Page | None:
        """Read lines of the output; None where there is no such zone.

        From `first_line`: the oldest that fit. Without it: the newest that fit. At most `limit` lines and `max_bytes`
        bytes (newlines counted), but at least one line where there is one. Past the end: no lines, and `first_line` is
        the total.
        """

    @abstractmethod
    async def mount(
        self,
        zone: Zone,
        tail_lines: int,
        max_bytes: int,
        content_bytes_max: int | None = None,
        if_revision: int | None = None,
    ) -> Mount | None:
        """Read snapshot and output in one transaction; None where there is no such zone.

        `content_bytes_max` and `if_revision` are as in `read_session_state`.

        Lines start at `covers_line`, or are the last `tail_lines` where that is fewer; of those the newest that fit
        `max_bytes`.
        """

    @abstractmethod
    async def stat(self, definition_ids: Sequence[str]) -> list[AgentStat]:
        """Describe agents in the order asked, without reading content."""

    @abstractmethod
    async def list_agents(self, limit: int, after: str | None) -> list[AgentStat]:
        """Describe the agents that have a session, current or archived, in order of id (by code point), beyond `after`."""

    @abstractmethod
    async def list_archives(self, definition_id: str, limit: int, before_ms: int | None) -> list[ArchiveSummary]:
        """List an agent's archives, newest first, only those older than `before_ms`, without opening any."""

    @abstractmethod
    async def archives_without_preview(self, limit: int) -> list[Zone]:
        """Name archives whose preview is not worked out yet, newest first, of any agent."""

    @abstractmethod
    async def archives_to_compress(self, limit: int) -> list[Zone]:
        """Name archives whose parts are stored as they were written, and not gone through yet, newest first, of any agent.

        None where the engine compresses what it writes.
        """

    @abstractmethod
    async def compressed_parts(self, zone: Zone, before: CompressParts | None) -> CompressParts | None:
        """Compress a piece of an archive, the first one or the one behind `before`; None where there is no such archive.

        Left out is what is compressed already, what would hardly be smaller, and what is damaged. Nothing is stored: for that
        the piece is to be submitted. Where the zone holds another session by now than `before` says, it is the first piece.
        """

    @abstractmethod
    async def zone_stat(self, zone: Zone) -> ZoneStat | None:
        """Describe a zone and its files; None where there is no such zone."""

    @abstractmethod
    async def zones_of(self, definition_id: str) -> list[ZoneStat]:
        """Describe all zones of an agent: the current one first, then archives by time."""

    @abstractmethod
    async def read_bytes(self, zone: Zone, name: str, start_byte: int, max_bytes: int) -> bytes:
        """Read bytes of a file: at least one and at most `max_bytes` from `start_byte`; empty at or past its end."""

    @abstractmethod
    async def read_session_bytes(self, session_id: str, name: str, start_byte: int, max_bytes: int) -> bytes:
        """Read bytes of a session's file, whatever zone the session is in by now: as `read_bytes` does.

        A reading of many steps that began in a current zone so goes on in the archive that this has become meanwhile. Empty
        as well where there is no such session.
        """

    @abstractmethod
    async def origins(self) -> set[str]:
        """Return every origin that a session of the store came from."""

    @abstractmethod
    async def status(self) -> dict[str, object]:
        """Describe the store for `srv:status` and the metrics: `figures`, and the members of `SessionCounts`."""

    @abstractmethod
    def figures(self) -> dict[str, object]:
        """Describe what is known without asking the store, and so when it cannot be read as well.

        Versions, and whatever the engine has of: `database_bytes`, `wal_bytes`; `checkpoint_age_ms`, since the log was last
        moved as a whole, and `checkpoint_pages_left` by the last try; `oldest_reader_ms`, the age of the oldest read that is
        under way; `parts_merged` so far; `compression_saved_bytes` so far, of archives; `sync_failed`, whether the disk has
        refused what cannot be asked of it again;
        `durability`, what an acknowledgement means, see `store.durability.Durability.status`.
        """

    @abstractmethod
    async def begin_copy(self) -> None:
        """Say that the store, which was opened to be copied to, is half a copy from now on, which nobody opens.

        Raises:
            StoreRefusedError: a daemon is connected to it, or one has taken it since it was opened.
        """

    def give_up(self) -> None:  # noqa: B027 - most have nothing that could be cut off
        """End at once what is under way with a database that does not answer, for whoever has to stop now.

        It fails with `StorageUnavailableError`, as does all that is asked from now on. A disk cannot be given up.
        """

    @abstractmethod
    async def finish_copy(self) -> None:
        """Say that the copy is whole: from now on a daemon may serve it.

        Raises:
            StorageUnavailableError: it is half a copy no longer, as another run has finished it.
        """

    @asynccontextmanager
    async def turn(self, stop: Callable[[], bool]) -> AsyncIterator[bool]:
        """Hold what one process at a time may do to a store: migrate old data, or copy to it. Ends with its holder.

        Whoever holds a data directory is alone with the file in it.

        Args:
            stop: asked about twice a second, while another process has its turn, whether to wait no longer.

        Returns:
            Whether it is ours as long as the block runs; False where the wait was given up.
        """
        del stop
        yield True

    @abstractmethod
    async def close(self) -> None:
        """Wait for what is under way and let go of everything. Doing it twice is harmless."""
