"""Archives in SQLite are compressed in the background: what is left to do, some parts of it, and storing what came out.

Appends and snapshots of current sessions are stored as they come. An archive does not change any more, so its parts are gone
through once, and `zones.is_compressed` remembers that this is done. Until then what is compressed already tells by its codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from store import limits
from store.changes import Changes
from store.codec import RAW_CODEC, UnsoundPartError, packed, unpacked
from store.handle import Handle
from store.pieces import CompressedPart, CompressParts
from store.sqlite.handle import SqliteHandle
from store.stored import find_zone
from store.zones import Zone, agent_archive_zone

_BEFORE_ALL: Final = ("", -1)


def archives_to_compress(handle: Handle, rows_max: int) -> list[Zone]:
    """See `Engine.archives_to_compress`."""
    rows = handle.rows("archives_to_compress", limit=rows_max)
    return [agent_archive_zone(definition_id, archived_at_ms) for definition_id, archived_at_ms in rows]


def compressed_parts(handle: Handle, zone: Zone, before: CompressParts | None) -> CompressParts | None:
    """See `Engine.compressed_parts`."""
    session = find_zone(handle, zone)
    if session is None:
        return None
    is_next = before is not None and before.session_id == session.session_id
    place = before.place if before is not None and is_next else _BEFORE_ALL
    wanted = {"name": place[0], "start_byte": place[1], "small_bytes": limits.COMPRESSED_PART_BYTES_MIN}
    parts: list[CompressedPart] = []
    rows_left, bytes_left = limits.COMPRESSION_PIECE_PARTS, limits.COMPRESSION_PIECE_BYTES
    rows = handle.each("parts_to_compress", key=session.key, limit=rows_left, **wanted)
    with closing(rows):
        for row in rows:
            place = row[0], row[1]
            rows_left -= 1
            bytes_left -= len(row[-1]) if isinstance(row[-1], bytes) else 0
            if (part := _compressed(row)) is not None:
                parts.append(part)
            if bytes_left <= 0:
                break
    is_last = rows_left > 0 and bytes_left > 0
    return CompressParts(zone, session.session_id, tuple(parts), place, is_last)


def _compressed(row: Sequence[Any]) -> CompressedPart | None:
    """Compress a part; None where it is compressed already, too small, hardly smaller then, or damaged."""
    match row:
        case (
            str() as name,
            int() as start_byte,
            int() as size_bytes,
            int() as revision,
            int() as crc32,
            bytes() as data,
        ):
            try:
                codec, stored = packed(unpacked(RAW_CODEC, data, size_bytes, crc32))
            except UnsoundPartError:
                return None
            is_smaller = codec != RAW_CODEC
            return CompressedPart(name, start_byte, size_bytes, revision, crc32, codec, stored) if is_smaller else None
        case _:
            return None


class Compressions:
    """Stores compressed parts over the writing handle.

    Attributes:
        saved_bytes: by how much what was stored is smaller than what it replaced, so far.
    """

    def __init__(self, handle: SqliteHandle, changes: Changes) -> None:
        """Keep the handle, and who is told of what is written through it."""
        self._handle = handle
        self._changes = changes
        self.saved_bytes = 0

    def compress_parts(self, change: CompressParts) -> None:
        """See `CompressParts`."""
        session = find_zone(self._handle, change.zone)
        if session is None or session.session_id != change.session_id:
            return
        for part in change.parts:
            if self._handle.replace_part(session.key, part):
                self._changes.written_bytes += len(part.data)
                self.saved_bytes += part.size_bytes - len(part.data)
        if change.is_last:
            self._handle.rows("set_compressed", key=session.key)
