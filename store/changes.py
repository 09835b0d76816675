"""Writing: the changes of DESIGN.md section 3 inside the open transaction of a batch, on the writer's thread.

A change looks before it stores: what is refused has changed nothing, so the others of its batch go on.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from store import limits
from store.codec import RAW_CODEC, UnsoundPartError, unpacked
from store.engine import AppendOutput, ArchiveSession, KeepPreview, WriteState
from store.errors import OffsetMismatchError, RevisionMismatchError, StaleSessionError, StorageDamagedError
from store.handle import Handle, PartRow, SessionKey
from store.kept import KeptSnapshots
from store.lines import shift_of_duplicate
from store.parts import OpenPart, Part, Tail, cut_again, cut_lines, differing, open_run
from store.records import Appended, Archived, Written
from store.stored import damaged, find_zone, has_content, last_part, read_parts, slice_of
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_archive_zone

_KNOWN_SESSIONS_MAX: Final = 4_096
TAIL_PARTS_MAX: Final = 64
"""Open parts are at most this many: they are merged once they fill `PART_BYTES`, and all but the last are larger than
`TAIL_PART_BYTES_MAX` with the append that followed."""

_PUT_BYTES: Final = 4 * limits.MIB
"""Parts stored at once: an import of any size passes through."""

_UNSOUND: Final = -1
"""A checksum that no part has."""

PartEnd = tuple[int, int, Any]
"""A part's checksum, its codec, and its data or its last byte."""


@dataclass(slots=True)
class Known:
    """What the writing side remembers of a current session between appends."""

    key: SessionKey
    session_id: str
    tail: Tail | None = None


class Changes:
    """Applies changes over the writing handle.

    Attributes:
        written_bytes: grows with what was stored, roughly; tells when a checkpoint is due.
        parts_merged: small parts that were taken up into larger ones so far.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._kept = KeptSnapshots(handle)
        self._pending: dict[tuple[SessionKey, int], PartRow] = {}
        self._grown: dict[tuple[SessionKey, int], PartRow] = {}
        self.written_bytes = 0
        self.parts_merged = 0

    def forget(self, zone: Zone | None = None) -> None:
        """Forget what is known of a session, or of all: after a rollback none of it holds."""
        if zone is None:
            self._known.clear()
            self._pending.clear()
            self._grown.clear()
            self._kept.clear()
        elif known := self._known.pop(zone.definition_id, None):
            self._kept.forget(known.key)

    def unknown(self, definition_ids: Iterable[str], changed_elsewhere: Iterable[str]) -> list[str]:
        """Forget the current sessions that others have changed; returns the agents whose sessions are not known.

        For a store that others change as well: at the beginning of a batch, once nobody else can change these sessions.
        """
        for definition_id in changed_elsewhere:
            # A kept snapshot is compared by its revision before it is used.
            self._known.pop(definition_id, None)
        return [each for each in definition_ids if each not in self._known]

    def learn(self, definition_id: str, known: Known, newest_first: Sequence[Sequence[int]], end: PartEnd) -> None:
        """Remember a current session and the end of its output: the rows of `tail_parts`, and that of `end_of_output`."""
        known.tail = _tail_of(newest_first, *end) if newest_first else Tail()
        self._remember(definition_id, known)

    def distrust(self) -> None:
        """Compare the next snapshots with what is stored: some of that has turned out to be damaged."""
        self._kept.clear()

    def write_state(self, change: WriteState) -> Written:
        """See `WriteState`."""
        known = self._current(change.zone, change.session_id)
        stored = last_part(self._handle, known.key, change.zone, SNAPSHOT_FILE) if known else None
        revision = stored.revision if stored else 0
        if change.expect_revision is not None and change.expect_revision != revision:
            raise RevisionMismatchError(change.expect_revision, revision)
        if known is None:
            known = self._begin_session(change.zone, change.now_ms)
        kept = self._kept.of(known.key, revision)
        parts = cut_again(change.content, kept or ())
        if kept is None:
            changed = differing(self._stored_parts(known.key), parts)
        else:
            changed = [part for number, part in enumerate(parts) if number >= len(kept) or part is not kept[number]]
        cut_off = stored is not None and stored.size_bytes > len(change.content)
        self._handle.rows("set_covers_line", key=known.key, zone=change.zone, covers_line=change.covers_line)
        if stored is not None and not changed and not cut_off:
            self._kept.keep(known.key, parts, revision)
            return Written(len(change.content), stored.modified_at_ms, revision, known.session_id)
        if cut_off:
            self.delete_from(known.key, SNAPSHOT_FILE, parts[-1].start_byte + 1)
        revision += 1
        self.put(known.key, SNAPSHOT_FILE, changed, change.now_ms, revision)
        if not changed or changed[-1] is not parts[-1]:
            self._stamp(known.key, SNAPSHOT_FILE, parts[-1], change.now_ms, revision)
        self._kept.keep(known.key, parts, revision)
        return Written(len(change.content), change.now_ms, revision, known.session_id)

    def append_output(self, change: AppendOutput) -> Appended:
        """See `AppendOutput`."""
        known = self._current(change.zone, change.session_id)
        tail = self._tail(known) if known else Tail()
        if change.expect_offset is not None and change.expect_offset != tail.size_bytes:
            offset = self._offset_of_duplicate(known, change, tail)
            if known is None or offset is None:
                raise OffsetMismatchError(change.expect_offset, tail.size_bytes)
            size, lines = tail.size_bytes, tail.total_lines
            return Appended(len(change.text), offset, size, lines, known.session_id, duplicate=True)
        if known is None:
            known = self._begin_session(change.zone, change.now_ms)
        tail = known.tail = self._grow(known.key, change, tail) or self._store_lines(known, change, tail)
        size, lines, sent = tail.size_bytes, tail.total_lines, len(change.text)
        return Appended(sent, size - sent, size, lines, known.session_id, duplicate=False)

    def archive_session(self, change: ArchiveSession) -> Archived:
        """See `ArchiveSession`."""
        known = self._current(change.zone)
        agent = {"definition_id": change.zone.definition_id}
        if change.session_id is not None and (known is None or known.session_id != change.session_id):
            row = self._handle.row("archive_by_session", **agent, session_id=change.session_id)
            if row is None:
                raise _stale()
            return Archived(agent_archive_zone(change.zone.definition_id, row[1]), row[1], change.session_id)
        if known is None or not has_content(self._handle, known.key):
            return Archived(None, None, None)
        ((newest,),) = self._handle.rows("newest_archive", **agent)
        at_ms = change.now_ms if newest is None else max(change.now_ms, newest + 1)
        archive = self.free_archive(change.zone.definition_id, at_ms)
        self.rename(known.key, change.zone, archive)
        self.forget(change.zone)
        return Archived(archive, archive.archived_at_ms, known.session_id)

    def keep_preview(self, change: KeepPreview) -> None:
        """See `KeepPreview`."""
        self._handle.rows("keep_preview", zone=change.zone, preview=change.preview, node_count=change.node_count)

    def insert_zone(
        self, zone: Zone, created_at_ms: int, origin: str | None = None, covers_line: int | None = None
    ) -> Known:
        """Make a session, with an id of its own."""
        session_id = str(uuid.uuid4())
        key = self._handle.insert_zone(zone, session_id, created_at_ms, covers_line, origin)
        return Known(key, session_id)

    def rename(self, key: SessionKey, source: Zone, target: Zone) -> None:
        """Give a session another zone's name: one row, whatever its size."""
        self._handle.rename_zone(key, source, target)

    def free_archive(self, definition_id: str, wanted_ms: int) -> Zone:
        """Name the archive of that time, or of the next free millisecond. Before it only where time itself ends."""
        at_ms, step = min(wanted_ms, limits.TIME_MS_MAX), 1
        while find_zone(self._handle, zone := agent_archive_zone(definition_id, at_ms)):
            if at_ms == limits.TIME_MS_MAX:
                step = -1
            at_ms += step
        return zone

    def put(self, key: SessionKey, name: str, parts: Iterable[Part], modified_at_ms: int, revision: int) -> int:
        """Store parts, new or in place of others; returns how many bytes they hold."""
        size_bytes = 0
        rows = (_row(key, name, part, modified_at_ms, revision) for part in parts)
        for some in _slices(rows):
            size_bytes += sum(len(row[-1]) for row in some)
            self._handle.put_parts(some)
        self.written_bytes += size_bytes
        return size_bytes

    def _stamp(self, key: SessionKey, name: str, part: Part, modified_at_ms: int, revision: int) -> None:
        """Have the last part tell of a change before it."""
        stamp = {"modified_at_ms": modified_at_ms, "revision": revision}
        self._handle.rows("stamp_part", key=key, name=name, start_byte=part.start_byte, **stamp)

    def flush(self) -> None:
        """Store the parts that appends have left for later: before anything reads them, and at the end of a batch."""
        if self._grown or self._pending:
            self._handle.put_parts(*self.take_pending())

    def take_pending(self) -> tuple[list[PartRow], list[PartRow]]:
        """Take over what `flush` would store: parts, and parts that have grown, for `Handle.put_parts`."""
        rows, grown = list(self._pending.values()), list(self._grown.values())
        self.written_bytes += sum([len(row[-1]) for row in rows]) + sum([len(row[-1]) for row in grown])
        self._grown.clear()
        self._pending.clear()
        return rows, grown

    def delete_from(self, key: SessionKey, name: str, start_byte: int) -> None:
        """Delete the stored parts of a file that begin at a byte or beyond."""
        self._handle.rows("delete_parts_from", key=key, name=name, start_byte=start_byte)

    def _current(self, zone: Zone, session_id: str | None = None) -> Known | None:
        """Find the current session, and check that it is the one the caller means."""
        known = self._known.get(zone.definition_id)
        if known is None and (row := find_zone(self._handle, zone)):
            known = self._remember(zone.definition_id, Known(row.key, row.session_id))
        if session_id is not None and (known is None or known.session_id != session_id):
            raise _stale()
        return known

    def _begin_session(self, zone: Zone, now_ms: int) -> Known:
        return self._remember(zone.definition_id, replace(self.insert_zone(zone, now_ms), tail=Tail()))

    def _remember(self, definition_id: str, known: Known) -> Known:
        self._known[definition_id] = known
        if len(self._known) > _KNOWN_SESSIONS_MAX:
            self._known.popitem(last=False)
        return known

    def _tail(self, known: Known) -> Tail:
        """Read the end of the output, unless it is known."""
        if known.tail is not None:
            return known.tail
        self.flush()
        rows = self._handle.rows("tail_parts", key=known.key, limit=TAIL_PARTS_MAX)
        if not rows:
            return Tail()
        ((crc32, codec, data),) = self._handle.rows(
            "end_of_output", key=known.key, small_bytes=limits.TAIL_PART_BYTES_MAX
        )
        known.tail = _tail_of(rows, crc32, codec, data)
        return known.tail

    def _grow(self, key: SessionKey, change: AppendOutput, tail: Tail) -> Tail | None:
        """Append within the last part where that will do."""
        grown = tail.grown(change.text)
        if grown is not None and grown.last is not None:
            place = key, grown.last.start_byte
            rows = self._pending if place in self._pending else self._grown
            rows[place] = _row(key, OUTPUT_FILE, grown.last, change.now_ms, grown.revision)
        return grown

    def _put_later(self, key: SessionKey, part: Part, modified_at_ms: int, revision: int) -> None:
        """Leave a part of the output for `flush`: appends of one batch to one session then store its last part once."""
        self._pending[key, part.start_byte] = _row(key, OUTPUT_FILE, part, modified_at_ms, revision)

    def _store_lines(self, known: Known, change: AppendOutput, tail: Tail) -> Tail:
        """Append where the last part is full, unterminated or not at hand, or where parts are to be merged."""
        added = change.text if tail.ends_line else b"\n" + change.text
        start = tail.rewrite_from(len(added))
        try:
            taken_up = self._bytes_from(known.key, change.zone, start, tail)
        except StorageDamagedError:
            # What is damaged stays as it is, for a backup to mend; what is new goes behind it.
            tail = tail._replace(open_parts=(), last=None)
            start, taken_up = tail.rewrite_from(len(added)), b""
        parts = list(cut_lines([taken_up + added], start.start_byte, start.first_line))
        if start.start_byte + start.size_bytes < tail.size_bytes:
            self.delete_from(known.key, OUTPUT_FILE, start.start_byte + 1)
            for rows in (self._pending, self._grown):
                for start_byte in self._left_for_later(known.key, rows):
                    if start_byte > start.start_byte:
                        del rows[known.key, start_byte]
            self.parts_merged += len(tail.open_parts)
        for part in parts:
            self._put_later(known.key, part, change.now_ms, tail.revision + 1)
        return tail.after(start, parts, tail.revision + 1)

    def _bytes_from(self, key: SessionKey, zone: Zone, start: OpenPart, tail: Tail) -> bytes:
        """Read the end of the output that is to be stored anew with what is added."""
        if start.start_byte == tail.size_bytes:
            return b""
        if tail.last is not None and start.start_byte == tail.last.start_byte:
            return tail.last.data
        parts = self._left_for_later(key, self._grown) | self._left_for_later(key, self._pending)
        if start.start_byte not in parts:
            stored = read_parts(self._handle, key, zone, OUTPUT_FILE, start.start_byte)
            parts = {part.start_byte: part.data for part in stored} | parts
        data = b"".join(parts[start_byte] for start_byte in sorted(parts) if start_byte >= start.start_byte)
        if start.start_byte + len(data) != tail.size_bytes:
            raise damaged(zone, OUTPUT_FILE, start.start_byte + len(data))
        return data

    def _left_for_later(self, key: SessionKey, rows: dict[tuple[SessionKey, int], PartRow]) -> dict[int, bytes]:
        """Return what `flush` would store of a session's output: the parts by their first bytes."""
        return {start_byte: row[-1] for (each, start_byte), row in rows.items() if each == key}

    def _offset_of_duplicate(self, known: Known | None, change: AppendOutput, tail: Tail) -> int | None:
        """Say where the bytes sent stand already, for a caller who sends again what was stored; None where they do not.

        The first try may have had to close an unterminated tail: then they stand one byte further on.
        """
        offset, sent = change.expect_offset, change.text
        if known is None or offset is None or offset >= tail.size_bytes:
            return None
        self.flush()
        before = min(offset, 1)
        end = offset + len(sent) + 1
        stored = slice_of(self._handle, known.key, change.zone, OUTPUT_FILE, offset - before, end)
        shift = shift_of_duplicate(sent, stored, before)
        return None if shift is None else offset + shift

    def _stored_parts(self, key: SessionKey) -> Iterator[Part]:
        """Read the snapshot as it is stored, sound or not: what is not sound is told by a checksum that fits no part."""
        with closing(self._handle.each("parts_from", key=key, name=SNAPSHOT_FILE, start_byte=0)) as rows:
            for start_byte, _, size_bytes, _, crc32, codec, stored in rows:
                try:
                    yield Part(start_byte, 0, 0, crc32, unpacked(codec, stored, size_bytes, crc32))
                except UnsoundPartError:
                    yield Part(start_byte, 0, 0, _UNSOUND, b"")


def _tail_of(newest_first: Sequence[Sequence[int]], crc32: int, codec: int, data: Any) -> Tail:
    """Make the end of an output out of the shapes of its last parts, and the last part's data or its last byte.

    A last part that cannot be decompressed may end within a line: then a line end is put before what comes behind it.
    """
    start_byte, first_line, size_bytes, line_count, revision = newest_first[0]
    whole: bytes | None = None
    with suppress(UnsoundPartError):
        whole = unpacked(codec, data, size_bytes, crc32)
    end = data if codec == RAW_CODEC else whole
    ends_line = isinstance(end, bytes) and end[-1:] in {b"", b"\n"}
    can_grow = codec == RAW_CODEC and size_bytes <= limits.TAIL_PART_BYTES_MAX
    parts = [OpenPart(row[0], row[1], row[2]) for row in reversed(newest_first)]
    return Tail(
        size_bytes=start_byte + size_bytes,
        total_lines=first_line + line_count,
        revision=revision,
        ends_line=ends_line,
        open_parts=open_run(parts, ends_line=ends_line),
        last=Part(start_byte, first_line, line_count, crc32, whole) if can_grow and whole is not None else None,
    )


def _row(key: SessionKey, name: str, part: Part, modified_at_ms: int, revision: int) -> PartRow:
    start_byte, first_line, line_count, crc32, data = part
    return (key, name, start_byte, first_line, len(data), line_count, modified_at_ms, revision, crc32, data)


def _stale() -> StaleSessionError:
    return StaleSessionError("session_id is not that of the agent's current session; nothing was written")


def _slices(rows: Iterable[PartRow]) -> Iterator[list[PartRow]]:
    """Gather rows as they come, up to `_PUT_BYTES`."""
    gathered: list[PartRow] = []
    size_bytes = 0
    for row in rows:
        gathered.append(row)
        size_bytes += len(row[-1])
        if size_bytes >= _PUT_BYTES:
            yield gathered
            gathered, size_bytes = [], 0
    if gathered:
        yield gathered
