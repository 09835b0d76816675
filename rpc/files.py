"""The files of sessions as they are, for callers whom JSON around them only hinders: found, read and written.

What is read is one revision. A snapshot comes from one read transaction. An output may be larger than any memory: it is read in
steps up to the size that it had at first, and stays with its session, which may be archived or moved meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Final

from rpc.conditions import Conditions, tag_of
from rpc.counts import OK, CallCounts
from rpc.errors import WireError, wire_error
from rpc.failures import FailureLog
from rpc.file_paths import FilePath
from rpc.memory import SMALL_ANSWER_BYTES, AnswerMemory, Room
from rpc.trace import TRACE
from rpc.wishes import Wishes
from store.errors import (
    InvalidParamsError,
    ReadOnlyError,
    RevisionMismatchError,
    ShuttingDownError,
    StaleSessionError,
    StorageDamagedError,
    StoreError,
    ZoneNotFoundError,
)
from store.limits import KIB
from store.records import Content, Written
from store.sessions import Sessions
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE

STEP_BYTES: Final = 512 * KIB
"""What is read of an output at once, and all that a slow reader holds of it: less than a small answer, so it needs no room."""

READ_FILE: Final = "file:read"
WRITE_FILE: Final = "file:write"
"""What the counts call these, among the methods."""

_SHOWABLE: Final = re.compile(r"[!#-~]+")
"""What a session id consists of: it goes into header lines."""


class RefusedError(Exception):
    """A file cannot be had, or not be written.

    Attributes:
        error: what the caller is told: the same as of a method.
    """

    def __init__(self, error: WireError) -> None:
        """Keep what the caller is told."""
        super().__init__(error.message)
        self.error = error


READ_ONLY: Final = wire_error(ReadOnlyError())
SHUTTING_DOWN: Final = wire_error(ShuttingDownError())
NOT_UTF8: Final = wire_error(InvalidParamsError("content", "content, which is the body, must be UTF-8"))
NOT_WHOLE: Final = wire_error(InvalidParamsError("Content-Range", "a snapshot is written whole, without Content-Range"))


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One revision of a file.

    Attributes:
        name: of the file.
        session_id: of its session.
        revision: which one it is.
        modified_at_ms: unix ms of its last change.
        size_bytes: its size.
        total_lines: lines of an output that are not blank, None for a snapshot.
        content: of a snapshot, where it was read; an output is read in steps.
    """

    name: str
    session_id: str
    revision: int
    modified_at_ms: int
    size_bytes: int
    total_lines: int | None = None
    content: Content | None = None

    @property
    def tag(self) -> str:
        """The entity tag, without its quotes."""
        return tag_of(self.session_id, self.revision)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """What a write did.

    Attributes:
        result: as `write_state` has it.
        tag: the entity tag of what is stored now, without its quotes.
    """

    result: Mapping[str, Any]
    tag: str


class Files:
    """Reads and writes files.

    Every verb raises `RefusedError` where a method would answer with an error, and tells the same.

    Args:
        sessions: whose files they are.
        memory: what large answers may hold together.
        counts: count what is done, beside the calls.
    """

    def __init__(self, sessions: Sessions, memory: AnswerMemory, counts: CallCounts) -> None:
        self._sessions = sessions
        self._memory = memory
        self._counts = counts
        self._failures = FailureLog()

    def room(self) -> Room:
        """Make room for a file that is read into memory. Whoever made it releases it."""
        return Room(self._memory)

    @contextmanager
    def telling(self, verb: str) -> Iterator[None]:
        """Raise `RefusedError` in place of the store's errors, and count them; the log hears what the disk does.

        Args:
            verb: `READ_FILE` or `WRITE_FILE`, what is being done.
        """
        began = perf_counter()
        try:
            yield
        except StoreError as error:
            self._failures.note(verb, error)
            self._counts.of(verb, error.word).add(perf_counter() - began)
            TRACE.get().outcome = error.word
            raise RefusedError(wire_error(error)) from error

    @contextmanager
    def _doing(self, verb: str) -> Iterator[None]:
        """Count what succeeds as well."""
        began = perf_counter()
        with self.telling(verb):
            yield
        self._counts.of(verb, OK).add(perf_counter() - began)

    async def find(
        self, path: FilePath, conditions: Conditions, room: Room, wants: Callable[[StoredFile], bool]
    ) -> StoredFile:
        """Find a file, and read of it what must come from one transaction: the content of a snapshot.

        Args:
            path: which one.
            conditions: `match` must be met.
            room: for what a large snapshot takes.
            wants: tells whether the content of a revision will be sent: a large one is not read in vain. What is returned may
                be a later revision than the one it was asked about.
        """
        with self._doing(READ_FILE):
            file = await self._look(path, SMALL_ANSWER_BYTES)
            conditions.check_match(file.session_id, file.revision)
            if file.name == SNAPSHOT_FILE and file.content is None and wants(file):
                await room.expect(file.size_bytes)
                file = await self._look(path, None)
                room.settle(file.size_bytes)
                conditions.check_match(file.session_id, file.revision)
            return file

    async def pieces(self, file: StoredFile, start_byte: int, end_byte: int) -> AsyncGenerator[bytes, None]:
        """Give the bytes of a file that was found, from `start_byte` up to `end_byte`, in pieces of at most `STEP_BYTES`.

        Raises:
            RefusedError: a part of it cannot be read. All before that part has been given, and nothing of it.
        """
        if file.content is not None:
            for piece in _slices(file.content, start_byte, end_byte):
                yield piece
            return
        while start_byte < end_byte:
            with self.telling(READ_FILE):
                step_bytes = min(STEP_BYTES, end_byte - start_byte)
                piece = await self._sessions.read_session_bytes(file.session_id, file.name, start_byte, step_bytes)
                if not piece:
                    place = f"session {file.session_id}, file {file.name}"
                    raise StorageDamagedError(f"{place}: it has ended at byte {start_byte}")
            yield piece
            start_byte += len(piece)

    async def write(
        self, path: FilePath, content: bytes | bytearray, wishes: Wishes, conditions: Conditions
    ) -> WrittenFile:
        """Write a snapshot, as `Sessions.write_session_state` does.

        Args:
            path: a writable one.
            content: the whole snapshot, UTF-8.
            wishes: its parameters.
            conditions: what must be stored before, besides.
        """
        write = self._write if conditions == Conditions() else partial(self._write_if, conditions)
        with self._doing(WRITE_FILE):
            written = await write(path, content, wishes)
        return WrittenFile(asdict(written), tag_of(written.session_id, written.revision))

    async def _write(self, path: FilePath, content: bytes | bytearray, wishes: Wishes) -> Written:
        return await self._sessions.write_session_state(
            path.definition_id,
            content,
            session_id=wishes.session_id,
            expect_revision=wishes.expect_revision,
            covers_line=wishes.covers_line,
        )

    async def _write_if(
        self, conditions: Conditions, path: FilePath, content: bytes | bytearray, wishes: Wishes
    ) -> Written:
        """Write, bound to what was found to meet the conditions; where that has changed by then, look again."""
        state = await self._sessions.read_session_state(path.definition_id, content_bytes_max=0)
        while True:
            found = (state.session_id, state.revision)
            conditions.check(*found)
            bound = replace(
                wishes,
                session_id=state.session_id if wishes.session_id is None else wishes.session_id,
                expect_revision=state.revision or 0 if wishes.expect_revision is None else wishes.expect_revision,
            )
            try:
                return await self._write(path, content, bound)
            except (RevisionMismatchError, StaleSessionError):
                state = await self._sessions.read_session_state(path.definition_id, content_bytes_max=0)
                if (state.session_id, state.revision) == found:
                    raise  # it is the wishes that are not met

    async def _look(self, path: FilePath, content_bytes_max: int | None) -> StoredFile:
        """Describe a file, with the content of a snapshot of at most that size; None reads any."""
        if path.name == OUTPUT_FILE:
            file = await self._look_at_output(path)
        else:
            file = await self._look_at_snapshot(path, content_bytes_max)
        if file is None:
            raise _missing(path)
        if not _SHOWABLE.fullmatch(file.session_id):
            raise StorageDamagedError(f"a session of agent {path.definition_id}: its row is damaged")
        return file

    async def _look_at_output(self, path: FilePath) -> StoredFile | None:
        zone = await self._sessions.zone_stat(path.definition_id, path.archived_at_ms)
        for each in zone.files if zone else ():
            if zone and each.name == OUTPUT_FILE:
                place = (each.name, zone.session_id, each.revision, each.modified_at_ms, each.size_bytes)
                return StoredFile(*place, total_lines=each.total_lines)
        return None

    async def _look_at_snapshot(self, path: FilePath, content_bytes_max: int | None) -> StoredFile | None:
        definition_id, archived_at_ms = path.definition_id, path.archived_at_ms
        if archived_at_ms is None:
            read = self._sessions.read_session_state(definition_id, content_bytes_max=content_bytes_max)
        else:
            read = self._sessions.read_archive(definition_id, archived_at_ms, content_bytes_max=content_bytes_max)
        state = await read
        if state.session_id is None or state.revision is None or state.modts is None:
            return None
        size_bytes = state.left_out_bytes if state.content is None else sum(map(len, state.content))
        place = (SNAPSHOT_FILE, state.session_id, state.revision, state.modts, size_bytes)
        return StoredFile(*place, content=state.content)


def _missing(path: FilePath) -> ZoneNotFoundError:
    where = "current session" if path.archived_at is None else f"archive of {path.archived_at}"
    return ZoneNotFoundError(f"agent {path.definition_id} has no file {path.name} in its {where}")


def _slices(content: Content, start_byte: int, end_byte: int) -> Iterator[bytes]:
    position = 0
    for piece in content:
        if position >= end_byte:
            return
        if wanted := piece[max(0, start_byte - position) : end_byte - position]:
            yield wanted
        position += len(piece)
