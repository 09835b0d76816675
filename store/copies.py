"""Writing: sessions as another store has them, in a store that is nothing but a copy of that one (`store/copying.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from store.changes import Changes
from store.copied import CopySession, DropSession
from store.handle import Handle, SessionKey
from store.imports import read_chunks
from store.limits import TIME_MS_MAX
from store.parts import cut_lines, cut_opaque
from store.records import FilePiece, FileStat, SessionFacts
from store.stored import find_session, find_zone, slice_of
from store.zones import OUTPUT_FILE, Zone


class Copies:
    """Applies the changes of a copy over the writing handle."""

    def __init__(self, handle: Handle, changes: Changes) -> None:
        self._handle = handle
        self._changes = changes

    def copy_session(self, change: CopySession) -> str | None:
        """See `CopySession`."""
        with self._handle.change_apart():
            facts = change.facts
            in_the_way = self._make_room(facts)
            if facts.origin is not None:
                self._handle.rows("take_origin", zone=facts.zone, origin=facts.origin, session_id=facts.session_id)
            key = self._key_of(facts)
            self._handle.rows(
                "set_facts",
                key=key,
                zone=facts.zone,
                created_at_ms=facts.created_at_ms,
                covers_line=facts.covers_line,
                preview=facts.preview,
                node_count=facts.node_count,
                origin=facts.origin,
            )
            for _, name, *_ in self._handle.rows("files_of", keys=[key]):
                if facts.file(name) is None:
                    self._changes.delete_from(key, name, 0)
            for piece in change.pieces:
                self._copy_piece(key, facts, piece)
            self._changes.forget(facts.zone)
            return in_the_way

    def drop_session(self, change: DropSession) -> None:
        """See `DropSession`."""
        with self._handle.change_apart():
            if found := find_session(self._handle, change.session_id):
                key, zone = found
                self._handle.rows("delete_zone", key=key, zone=zone)
            self._changes.forget(change.zone)

    def _make_room(self, facts: SessionFacts) -> str | None:
        row = find_zone(self._handle, facts.zone)
        if row is None or row.session_id == facts.session_id:
            return None
        free = self._changes.free_archive(facts.zone.definition_id, TIME_MS_MAX)
        self._changes.rename(row.key, facts.zone, free)
        self._changes.forget(facts.zone)
        return row.session_id

    def _key_of(self, facts: SessionFacts) -> SessionKey:
        """Find the session, and give it its zone's name, or make it."""
        found = find_session(self._handle, facts.session_id)
        if found is None:
            return self._handle.insert_zone(
                facts.zone, facts.session_id, facts.created_at_ms, facts.covers_line, facts.origin
            )
        key, zone = found
        if zone != facts.zone:
            self._changes.rename(key, zone, facts.zone)
        return key

    def _copy_piece(self, key: SessionKey, facts: SessionFacts, piece: FilePiece) -> None:
        file = facts.file(piece.name)
        if file is None:
            raise ValueError(f"{facts.zone} has no file {piece.name}")
        if piece.name == OUTPUT_FILE and piece.start_byte:
            self._extend_output(key, facts.zone, file, piece)
            return
        cut = cut_lines if piece.name == OUTPUT_FILE else cut_opaque
        self._changes.delete_from(key, piece.name, 0)
        self._changes.put(key, piece.name, cut(read_chunks(piece)), file.modified_at_ms, file.revision)

    def _extend_output(self, key: SessionKey, zone: Zone, file: FileStat, piece: FilePiece) -> None:
        """Store the last part anew with what follows it: it may be short, and it tells the file's revision."""
        ((start_byte, first_line, size_bytes, *_),) = self._handle.rows("tail_parts", key=key, limit=1)
        if start_byte + size_bytes != piece.start_byte:
            raise ValueError(f"the output of {zone} ends at {start_byte + size_bytes}, not at {piece.start_byte}")
        last = slice_of(self._handle, key, zone, OUTPUT_FILE, start_byte, piece.start_byte)
        chunks: Iterator[bytes] = chain([last], read_chunks(piece))
        self._changes.delete_from(key, OUTPUT_FILE, start_byte)
        parts = cut_lines(chunks, start_byte, first_line)
        self._changes.put(key, OUTPUT_FILE, parts, file.modified_at_ms, file.revision)
