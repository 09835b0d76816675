"""Reading filestore.db: which files there are, how much of them counts, and their content in chunks (LEGACY.md section 1).

The rows may be torn, so what a file claims is held against what is stored, by the lengths of its parts alone. Nothing
is ever reserved by what a row claims.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from migrations.legacy import LegacyDatabase, LegacyReadError, readable
from migrations.legacy_json import whole_number
from migrations.records import MigrationFailedError
from migrations.sql import load
from store.limits import TIME_MS_MAX
from store.records import ImportFile
from store.zones import Zone, parse_zone

LEGACY_PART_BYTES: Final = 65_536

_SQL: Final = load("filestore.sql")
_FILE_COLUMNS: Final = ("zoneid", "name", "size", "createdts", "modts")
_PART_COLUMNS: Final = ("zoneid", "name", "partidx", "data")


@dataclass(frozen=True, slots=True)
class LegacyFile:
    """A file of filestore.db and the stretch of it that counts.

    Attributes:
        zone: name of its zone.
        name: its name.
        created_at_ms: unix ms, None where the row holds no usable time.
        modified_at_ms: unix ms, None where the row holds no usable time.
        start_byte: where its content begins: not at 0 only in a circular file.
        end_byte: where its content ends.
        part_count: number of parts up to there.
        damaged: the row claims more than is stored.
        connection: to the database.
    """

    zone: str
    name: str
    created_at_ms: int | None
    modified_at_ms: int | None
    start_byte: int
    end_byte: int
    part_count: int
    damaged: bool
    connection: sqlite3.Connection | None = field(repr=False, compare=False)

    @property
    def size_bytes(self) -> int:
        """Bytes of content."""
        return self.end_byte - self.start_byte

    def chunks(self) -> Iterator[bytes]:
        """Read the content, a part at a time.

        Raises:
            LegacyReadError: a part cannot be read, or is no longer what it was when it was measured.
        """
        if not self.size_bytes or self.connection is None:
            return
        # The last part may be longer than a part can be, and then hold the beginning, too.
        first = min(self.start_byte // LEGACY_PART_BYTES, self.part_count - 1)
        wanted = {"zone": self.zone, "name": self.name, "first": first, "beyond": self.part_count}
        position = first * LEGACY_PART_BYTES
        try:
            for index, (data,) in enumerate(self.connection.execute(_SQL["parts"], wanted), first):
                # A part that is longer than a part can be counts whole only where no other follows.
                part = data if index == self.part_count - 1 else data[:LEGACY_PART_BYTES]
                chunk = part[max(self.start_byte - position, 0) : self.end_byte - position]
                position += len(part)
                if chunk:
                    yield chunk
        except sqlite3.Error as error:
            raise LegacyReadError(f"file {self.name} of zone {self.zone} cannot be read: {error}") from error
        if position < self.end_byte:
            raise LegacyReadError(f"file {self.name} of zone {self.zone} changed while it was read")

    def digest(self) -> bytes:
        """Return a digest of the content. Raises as `chunks` does."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.digest()

    def to_import(self, now_ms: int) -> ImportFile:
        """Describe the file for the store. A file without a usable time is as old as `now_ms`."""
        return ImportFile(self.name, self.modified_at_ms or self.created_at_ms or now_ms, self.chunks)


class LegacyFiles:
    """The files of filestore.db by zone; none where there is no such database or no table in it."""

    def __init__(self, database: LegacyDatabase | None) -> None:
        """Read the list of files.

        Raises:
            MigrationFailedError: a table cannot be read, lacks a column, or is there without the other.
        """
        self._rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._connection: sqlite3.Connection | None = None
        if database is not None:
            self._read_rows(database)

    def _read_rows(self, database: LegacyDatabase) -> None:
        has_files = database.require("db_wave_file", *_FILE_COLUMNS)
        has_parts = database.require("db_file_data", *_PART_COLUMNS)
        with readable(database.path, "the table db_file_data"):
            any_part = has_parts and database.connection.execute(_SQL["any_part"]).fetchone() is not None
        if any_part and not has_files:
            raise _half_there(database, "db_file_data", "db_wave_file")
        self._connection = database.connection if has_parts else None
        if not has_files:
            return
        with readable(database.path, "the table db_wave_file"):
            opts = "opts" if "opts" in database.columns("db_wave_file") else "NULL"
            for zone, *row in database.connection.execute(_SQL["files"].format(opts=opts)):
                self._rows[str(zone)].append(tuple(row))
            if not has_parts and database.connection.execute(_SQL["files_without_parts"]).fetchone() is not None:
                raise _half_there(database, "db_wave_file", "db_file_data")

    def agent_zones(self) -> list[Zone]:
        """Name the zones that a later build wrote under the names of today, by name."""
        return sorted(zone for name in self._rows if (zone := parse_zone(name)) is not None)

    def modified_of(self, zone: str, name: str) -> float | None:
        """Return the time of a file's last change as the row has it, to compare; None where there is no such file."""
        modified = next((row[3] for row in self._rows.get(zone, ()) if row[0] == name), None)
        there = any(row[0] == name for row in self._rows.get(zone, ()))
        return (modified if isinstance(modified, int | float) else 0) if there else None

    def files_of(self, zone: str) -> list[LegacyFile]:
        """Describe the files of a zone, by name.

        Raises:
            LegacyReadError: the parts of one of them cannot be read.
        """
        return [self._file(zone, str(row[0]), *row[1:]) for row in self._rows.get(zone, ())]

    def _file(self, zone: str, name: str, size: object, created: object, modified: object, opts: object) -> LegacyFile:
        stored_bytes, part_count = self._stored(zone, name)
        claimed_bytes = size if isinstance(size, int) and size >= 0 else stored_bytes
        end_byte = min(claimed_bytes, stored_bytes)
        kept_bytes = _circular_bytes(opts)
        return LegacyFile(
            zone=zone,
            name=name,
            created_at_ms=_usable_time_ms(created),
            modified_at_ms=_usable_time_ms(modified),
            start_byte=0 if kept_bytes is None else max(0, end_byte - kept_bytes),
            end_byte=end_byte,
            part_count=part_count,
            damaged=claimed_bytes > stored_bytes,
            connection=self._connection,
        )

    def _stored(self, zone: str, name: str) -> tuple[int, int]:
        """Measure what is stored: up to the first missing part, or to the end of the first short one. Bytes and parts."""
        end_byte = count = 0
        if self._connection is None:
            return end_byte, count
        try:
            for partidx, size_bytes in self._connection.execute(_SQL["part_sizes"], {"zone": zone, "name": name}):
                if partidx != count or size_bytes is None:
                    break
                end_byte = count * LEGACY_PART_BYTES + size_bytes
                count += 1
                if size_bytes < LEGACY_PART_BYTES:
                    break
        except sqlite3.Error as error:
            raise LegacyReadError(f"file {name} of zone {zone} cannot be read: {error}") from error
        return end_byte, count


def _half_there(database: LegacyDatabase, there: str, missing: str) -> MigrationFailedError:
    return MigrationFailedError(
        f"{database.path}: the table {there} has rows, but the table {missing} that belongs to it is missing. "
        f"Restore the file from a backup, or move it out of the data directory to start without it; then start again."
    )


def _usable_time_ms(value: object) -> int | None:
    """Take a time as absent that is not positive (LEGACY.md section 2.3), or that no zone's name could hold."""
    return value if isinstance(value, int) and 0 < value <= TIME_MS_MAX else None


def _circular_bytes(opts: object) -> int | None:
    """Return how many bytes at the end of a circular file are its content; None where it is not circular."""
    if not isinstance(opts, str | bytes):
        return None
    try:
        options = json.loads(opts)
    except (ValueError, RecursionError):
        return None
    if not isinstance(options, dict) or options.get("circular") is not True:
        return None
    maximum = whole_number(options.get("maxsize"))
    return maximum if maximum is not None and maximum > 0 else None
