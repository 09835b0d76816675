"""Copying a store into another one, of either kind, while the first is served: `zonekeeper copy`, and backups of a database.

Each session is read as it was at one instant: its row, and what its files were then. What is read of an output afterwards, in
steps of a transaction each, are bytes that never change. Sessions go by their ids, so that one that was archived or moved since
an earlier run is moved in the copy as well. What differs is told by revisions and sizes, so a later run reads nothing of what
it has copied already, and an interrupted one goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from store import reads
from store.copied import CopySession, DropSession
from store.copy_pieces import Chunks, GoneError, Piece, differ, lacking, read_piece, sha256_of
from store.engine import Change, Outcome
from store.errors import StorageDamagedError, StoreRefusedError
from store.handle import Handle, SessionKey
from store.limits import COPY_BYTES_MAX, COPY_SESSIONS_MAX
from store.place import Reader
from store.records import FilePiece, FileStat, SessionFacts
from store.zones import OUTPUT_FILE

Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is and how much there is."""

_PAGE: Final = 500
"""Sessions that are compared at once."""

_Described = tuple[SessionKey, SessionFacts]


class CopyStoppedError(Exception):
    """The copy was asked to stop. What is copied stays; the next run goes on."""


@dataclass(slots=True)
class CopyReport:
    """What a copy did.

    Attributes:
        sessions: in the source.
        sessions_changed: that the target lacked, or had as they were before.
        sessions_dropped: that the source does not have any more.
        bytes_copied: of content.
        files_verified: pieces and files that were read back, and whose checksums were compared with those of the source.
        bytes_verified: of those.
        digest: of all sessions and their files, where all were verified; the same for equal stores.
        failures: the zones that could not be copied, and why.
    """

    sessions: int = 0
    sessions_changed: int = 0
    sessions_dropped: int = 0
    bytes_copied: int = 0
    files_verified: int = 0
    bytes_verified: int = 0
    digest: str | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)


class Copier:
    """Copies one store into another, on one thread.

    Attributes:
        report: what was done so far.
    """

    def __init__(
        self,
        source: Reader,
        target: Reader,
        apply: Callable[[Sequence[Change]], list[Outcome]],
        *,
        progress: Progress,
        stop: Callable[[], bool],
        at_one_instant: bool = False,
    ) -> None:
        """Keep who reads and who writes.

        Args:
            source: reads the store that is copied.
            target: reads the copy, to compare and to verify.
            apply: stores changes in the copy, as `Engine.apply` does.
            progress: told how far it is.
            stop: tells whether to stop, which is asked between two commits.
            at_one_instant: read all in one transaction, where that does not hold up whoever writes to the source.
        """
        self._source = source
        self._target = target
        self._apply = apply
        self._progress = progress
        self._stop = stop
        self._at_one_instant = at_one_instant
        self._both = f"{target.shown} as a copy of {source.shown}"
        self.report = CopyReport()

    def run(self, *, verify_all: bool = False) -> CopyReport:
        """Copy what the target lacks, and read back what was copied, or with `verify_all` everything.

        Raises:
            StoreRefusedError: the target is a copy of a later state of the source.
            CopyStoppedError: it was asked to.
            StoreError: one of the stores cannot be read or written.
        """
        with self._source.transaction() if self._at_one_instant else nullcontext():
            with self._reading() as handle:
                self.report.sessions = reads.count_sessions(handle).sessions
            done = 0
            for theirs, ours in self._pages():
                self._copy_page(theirs, ours)
                done += len(theirs)
                self._progress("sessions", min(done, self.report.sessions), self.report.sessions)
            if verify_all:
                self._verify_all()
        return self.report

    def _reading(self) -> AbstractContextManager[Handle]:
        return nullcontext(self._source.handle) if self._at_one_instant else self._source.transaction()

    def _go_on(self) -> None:
        if self._stop():
            raise CopyStoppedError

    def check_kinship(self) -> None:
        """Make sure that what the source does not have any more may be deleted in the target, which is to be a copy of it.

        Raises:
            StoreRefusedError: it is a copy of another store.
        """
        after = None
        while page := self._target_page(after or ""):
            after = page[-1].session_id
            if any(self._is_in_source(facts.session_id) for facts in page):
                return
        if after is not None:
            raise StoreRefusedError(f"{self._target.shown} is a copy of another store than {self._source.shown}")

    def _pages(self) -> Iterator[tuple[list[SessionFacts], dict[str, SessionFacts]]]:
        """Yield sessions of the source, and what the target has between their ids; both in order of their ids."""
        after, is_last = "", False
        while not is_last:
            self._go_on()
            with self._reading() as handle:
                theirs = [facts for _, facts in reads.sessions_after(handle, after, _PAGE)]
            is_last = len(theirs) < _PAGE
            last = None if is_last else theirs[-1].session_id
            yield theirs, self._target_between(after, last)
            after = last or after

    def _target_between(self, after: str, last: str | None) -> dict[str, SessionFacts]:
        found: dict[str, SessionFacts] = {}
        while page := self._target_page(after):
            found |= {facts.session_id: facts for facts in page if last is None or facts.session_id <= last}
            after = page[-1].session_id
            if last is not None and after >= last:
                break
        return found

    def _target_page(self, after: str) -> list[SessionFacts]:
        with self._target.transaction() as handle:
            return [facts for _, facts in reads.sessions_after(handle, after, _PAGE)]

    def _is_in_source(self, session_id: str) -> bool:
        with self._reading() as handle:
            return bool(handle.row("zone_by_session", session_id=session_id))

    def _copy_page(self, theirs: list[SessionFacts], ours: dict[str, SessionFacts]) -> None:
        group: list[str] = []
        group_bytes = 0
        for facts in theirs:
            stored = ours.pop(facts.session_id, None)
            if stored is not None and not differ(facts, stored):
                continue
            lacking_bytes = sum(piece.size_bytes for piece in lacking(facts, stored, self._both))
            if group and (group_bytes + lacking_bytes > COPY_BYTES_MAX or len(group) == COPY_SESSIONS_MAX):
                self._copy_group(group)
                group, group_bytes = [], 0
            group.append(facts.session_id)
            group_bytes += lacking_bytes
        self._copy_group(group)
        self._drop([facts for facts in ours.values() if not self._is_in_source(facts.session_id)])

    def _drop(self, gone: list[SessionFacts]) -> None:
        self._applied([DropSession(facts.zone, facts.session_id) for facts in gone])
        self.report.sessions_dropped += len(gone)

    def _copy_group(self, session_ids: Sequence[str]) -> None:
        """Copy sessions in one commit, but for the rest of a large output; then whoever stood in their places."""
        self._go_on()
        sessions: list[tuple[_Described, list[Piece]]] = []
        with self._reading() as handle:
            for session_id in session_ids:
                described = reads.session_facts(handle, session_id)
                if described is not None:
                    sessions.append((described, self._pieces(described[1])))
            in_the_way = self._copy([(described, _first(pieces)) for described, pieces in sessions])
        self.report.sessions_changed += len(sessions)
        for described, pieces in sessions:
            self._copy_rest(described, next((piece for piece in pieces if _is_long(piece)), None))
        if in_the_way:
            self._place_again(in_the_way)

    def _place_again(self, session_ids: list[str]) -> None:
        """Bring sessions that made room to where they are in the source by now."""
        there = [session_id for session_id in session_ids if self._is_in_source(session_id)]
        self._copy_group(there)
        with self._target.transaction() as handle:
            found = [reads.session_facts(handle, session_id) for session_id in set(session_ids) - set(there)]
        self._drop([described[1] for described in found if described])

    def _pieces(self, facts: SessionFacts) -> list[Piece]:
        """Say what the target lacks of a session."""
        with self._target.transaction() as handle:
            stored = reads.session_facts(handle, facts.session_id)
        return lacking(facts, stored[1] if stored else None, self._both)

    def _copy_rest(self, described: _Described, output: Piece | None) -> None:
        """Copy a long output on, up to where it was when its session was looked at."""
        if output is None or self._has_failed(described[1]):
            return
        what = f"output of {described[1].zone}"
        reached = output.start_byte + COPY_BYTES_MAX
        while reached < output.end_byte:
            self._go_on()
            self._progress(what, reached, output.end_byte)
            piece = Piece(OUTPUT_FILE, reached, min(reached + COPY_BYTES_MAX, output.end_byte))
            with self._reading():
                self._copy([(described, [piece])])
            if self._has_failed(described[1]):
                return
            reached = piece.end_byte
        self._progress(what, output.end_byte, output.end_byte)

    def _has_failed(self, facts: SessionFacts) -> bool:
        return any(zone == facts.zone for zone, _ in self.report.failures)

    def _copy(self, sessions: Sequence[tuple[_Described, list[Piece]]]) -> list[str]:
        """Copy in one commit, read back what was copied, and return the ids of sessions that made room."""
        changes = [
            CopySession(
                facts,
                tuple(
                    FilePiece(each.name, each.start_byte, Chunks(self._source, key, facts.zone, each))
                    for each in pieces
                ),
            )
            for (key, facts), pieces in sessions
        ]
        in_the_way = []
        for outcome, ((_, facts), pieces) in zip(self._applied(changes), sessions, strict=True):
            if isinstance(outcome, Exception):
                self.report.failures.append((str(facts.zone), str(outcome)))
                continue
            if isinstance(outcome, str):
                in_the_way.append(outcome)
            self._verify(facts, pieces)
        return in_the_way

    def _applied(self, changes: Sequence[Change]) -> list[Outcome]:
        """Apply changes. What is damaged or gone in the source is an outcome; whatever else goes wrong ends the copy."""
        outcomes = self._apply(changes) if changes else []
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, StorageDamagedError | GoneError):
                raise outcome
        return outcomes

    def _verify(self, facts: SessionFacts, pieces: Sequence[Piece]) -> None:
        """Read back what was copied of a session."""
        wrong = None
        with self._target.transaction() as handle:
            described = reads.session_facts(handle, facts.session_id)
            if described is None:
                raise StorageDamagedError(f"zone {facts.zone} is not in {self._target.shown} any more")
            for piece in pieces:
                self._count(piece.size_bytes)
                self.report.bytes_copied += piece.size_bytes
                if sha256_of(read_piece(handle, described[0], facts.zone, piece)) != piece.sha256:
                    wrong = f"file {piece.name} was not stored as it was read"
        if wrong is not None:
            self._fail(facts, wrong)

    def _fail(self, facts: SessionFacts, reason: str) -> None:
        """Note that a copy is not what its session is, and delete it, so that another run copies it anew."""
        self.report.failures.append((str(facts.zone), reason))
        self._applied([DropSession(facts.zone, facts.session_id)])

    def _count(self, size_bytes: int) -> None:
        self.report.files_verified += 1
        self.report.bytes_verified += size_bytes

    def _verify_all(self) -> None:
        """Read every file on both sides, and sum them all up."""
        digest = hashlib.sha256()
        done = 0
        for theirs, ours in self._pages():
            for facts in theirs:
                stored = ours.get(facts.session_id)
                if stored is None or differ(facts, stored):
                    continue  # changed since it was copied, which a later run sees
                digest.update(repr((facts.zone, facts.session_id, facts.files)).encode())
                for file in facts.files:
                    digest.update(self._compared(facts, file))
            done += len(theirs)
            self._progress("verify", min(done, self.report.sessions), self.report.sessions)
        self.report.digest = digest.hexdigest()

    def _compared(self, facts: SessionFacts, file: FileStat) -> bytes:
        """Read a file on both sides and return its checksum; nothing where it has changed since it was described."""
        sums = []
        for reading in (self._reading, self._target.transaction):
            with reading() as handle:
                described = reads.session_facts(handle, facts.session_id)
                found = described[1].file(file.name) if described else None
                if described is None or found is None or (file.name != OUTPUT_FILE and found.revision != file.revision):
                    return b""
                whole = Piece(file.name, 0, file.size_bytes)
                sums.append(sha256_of(read_piece(handle, described[0], facts.zone, whole)))
        self._count(file.size_bytes)
        if sums[0] != sums[1]:
            self._fail(facts, f"file {file.name} has other bytes in the copy")
        return sums[1]


def _is_long(piece: Piece) -> bool:
    return piece.name == OUTPUT_FILE and piece.size_bytes > COPY_BYTES_MAX


def _first(pieces: list[Piece]) -> list[Piece]:
    """Return what goes into the first commit: of a long output its beginning."""
    return [
        Piece(piece.name, piece.start_byte, piece.start_byte + COPY_BYTES_MAX) if _is_long(piece) else piece
        for piece in pieces
    ]
