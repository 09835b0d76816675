"""Writing: sessions that come from elsewhere, and sessions that change their agent. For the migrations.

Unlike the changes of a serving daemon these may fail half way, when a source cannot be read: each runs inside a
savepoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from store.changes import Changes
from store.engine import CompleteSession, ImportSession, MoveSession
from store.errors import ZoneNotFoundError
from store.handle import Handle, SessionKey
from store.parts import cut_lines, cut_opaque
from store.records import FilePiece, ImportFile, ZoneStat
from store.stored import ZoneRow, files_of, find_zone, has_content, last_part
from store.zones import OUTPUT_FILE, Zone

_Result = TypeVar("_Result")


class SourceFailedError(Exception):
    """Bytes could not be read where a session comes from: no failure of our database, even where SQLite reports it."""

    def __init__(self, failure: Exception) -> None:
        """Keep what the source raised."""
        super().__init__(str(failure))
        self.failure = failure


class Imports:
    """Applies the changes of the migrations over the writing handle."""

    def __init__(self, handle: Handle, changes: Changes) -> None:
        self._handle = handle
        self._changes = changes

    def import_session(self, change: ImportSession) -> ZoneStat:
        """See `ImportSession`."""
        return self._whole(lambda: self._import_session(change))

    def move_session(self, change: MoveSession) -> Zone:
        """See `MoveSession`."""
        return self._whole(lambda: self._move_session(change))

    def complete_session(self, change: CompleteSession) -> None:
        """See `CompleteSession`."""
        self._whole(lambda: self._complete_session(change))

    def _whole(self, work: Callable[[], _Result]) -> _Result:
        """Do the work or nothing of it. The session that it may have forgotten is read again either way."""
        with self._handle.change_apart():
            return work()

    def _import_session(self, change: ImportSession) -> ZoneStat:
        zone = self._free(change.zone)
        known = self._changes.insert_zone(zone, change.created_at_ms, change.origin)
        for file in change.files:
            self._import_file(known.key, file)
        covers_line = self._within_output(known.key, zone, change.covers_line)
        self._handle.rows("set_covers_line", key=known.key, zone=zone, covers_line=covers_line)
        (files,) = files_of(self._handle, [(known.key, zone)])
        return ZoneStat(zone, known.session_id, change.created_at_ms, files)

    def _import_file(self, key: SessionKey, file: ImportFile) -> None:
        cut = cut_lines if file.name == OUTPUT_FILE else cut_opaque
        self._changes.put(key, file.name, cut(read_chunks(file)), file.modified_at_ms, 1)

    def _move_session(self, change: MoveSession) -> Zone:
        source = self._existing(change.source)
        zone = self._free(change.target)
        self._changes.rename(source.key, change.source, zone)
        self._changes.forget(change.source)
        return zone

    def _complete_session(self, change: CompleteSession) -> None:
        source, target = self._existing(change.source), self._existing(change.target)
        if source.key == target.key:
            raise ValueError(f"{change.source} cannot be completed from itself")
        for name in change.names:
            if last_part(self._handle, target.key, change.target, name):
                raise ValueError(f"{change.target} has a file {name} already")
            self._handle.rows("move_file", source_key=source.key, target_key=target.key, name=name)
        source_origin, source_covers = self._origin_of(source, change.source)
        target_origin, _ = self._origin_of(target, change.target)
        if source_covers is None:
            source_covers = self._within_output(target.key, change.target, change.covers_line)
        self._handle.rows("delete_zone", key=source.key, zone=change.source)
        known_by = [origin for origin in (target_origin, source_origin) if origin is not None]
        origin = "\n".join(known_by) or None
        self._handle.rows("complete_zone", key=target.key, zone=change.target, origin=origin, covers_line=source_covers)
        self._changes.forget(change.source)
        self._changes.forget(change.target)

    def _free(self, zone: Zone) -> Zone:
        """Make room: an archive's next free millisecond; a current zone without a byte makes way."""
        if zone.archived_at_ms is not None:
            return self._changes.free_archive(zone.definition_id, zone.archived_at_ms)
        row = find_zone(self._handle, zone)
        if row is not None:
            if has_content(self._handle, row.key):
                raise ValueError(f"{zone} has content already")
            self._handle.rows("delete_zone", key=row.key, zone=zone)
            self._changes.forget(zone)
        return zone

    def _within_output(self, key: SessionKey, zone: Zone, covers_line: int | None) -> int | None:
        """Return a mark that lies within the output as it is now; beyond it, one would hide lines that come later."""
        (files,) = files_of(self._handle, [(key, zone)])
        total_lines = sum(file.total_lines for file in files)
        return covers_line if covers_line is not None and 0 <= covers_line <= total_lines else None

    def _existing(self, zone: Zone) -> ZoneRow:
        row = find_zone(self._handle, zone)
        if row is None:
            raise ZoneNotFoundError(f"there is no zone {zone}")
        return row

    def _origin_of(self, row: ZoneRow, zone: Zone) -> tuple[str | None, int | None]:
        ((origin, covers_line),) = self._handle.rows("origin_of", key=row.key, zone=zone)
        return origin, covers_line


def read_chunks(file: ImportFile | FilePiece) -> Iterator[bytes]:
    """Read what comes from elsewhere.

    Raises:
        SourceFailedError: it cannot be read there.
    """
    try:
        yield from file.chunks()
    except Exception as error:
        raise SourceFailedError(error) from error
