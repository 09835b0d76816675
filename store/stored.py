"""Rows of a database as objects, and the few questions that both reading and writing ask."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from store.codec import UnsoundPartError, unpacked
from store.errors import StorageDamagedError
from store.handle import Handle, SessionKey
from store.parts import Part
from store.records import FileStat
from store.zones import OUTPUT_FILE, Zone, parse_zone


@dataclass(frozen=True, slots=True)
class ZoneRow:
    """A session's row."""

    key: SessionKey
    session_id: str
    created_at_ms: int
    covers_line: int | None


def find_zone(handle: Handle, zone: Zone) -> ZoneRow | None:
    """Find a session by its zone.

    Raises:
        StorageDamagedError: its row has no session id.
    """
    row = handle.row("zone_by_name", zone=zone)
    if row is None:
        return None
    found = ZoneRow(*row)
    if not isinstance(found.session_id, str):
        raise StorageDamagedError(f"zone {zone}: its row is damaged")
    return found


def find_session(handle: Handle, session_id: str) -> tuple[SessionKey, Zone] | None:
    """Find a session by its id, and where it is by now. Raises as `zone_named` does."""
    row = handle.row("zone_by_session", session_id=session_id)
    return (row[0], zone_named(row[1])) if row else None


def zone_named(name: str) -> Zone:
    """Take the name of a stored zone.

    Raises:
        StorageDamagedError: it is none of ours.
    """
    zone = parse_zone(name)
    if zone is None:
        raise StorageDamagedError(f"zone {name}: its row is damaged")
    return zone


def last_part(handle: Handle, key: SessionKey, zone: Zone, name: str) -> FileStat | None:
    """Describe a file by its last part; None where there is none.

    Raises:
        StorageDamagedError: its numbers cannot be true of any file.
    """
    row = handle.row("last_part", key=key, name=name)
    return _described(row, zone) if row else None


def files_of(handle: Handle, sessions: Sequence[tuple[SessionKey, Zone]]) -> list[tuple[FileStat, ...]]:
    """Describe the files of sessions, of each in turn and by name, in one statement. Raises as `last_part` does."""
    files: list[list[FileStat]] = [[] for _ in sessions]
    if sessions:
        for number, *row in handle.rows("files_of", keys=[key for key, _ in sessions]):
            files[number].append(_described(row, sessions[number][1]))
    return [tuple(each) for each in files]


def has_content(handle: Handle, key: SessionKey) -> bool:
    """Tell whether a file of a session has a byte, whatever else is wrong with it."""
    return bool(handle.row("has_content", key=key))


def read_parts(
    handle: Handle,
    key: SessionKey,
    zone: str,
    name: str,
    start_byte: int = 0,
    first_line: int | None = None,
) -> Generator[Part, None, None]:
    """Read the parts of a file, from the one that holds `start_byte`.

    That one begins with `first_line`, where the caller knows this from the part before it.

    The statement ends with the generator, whatever ends that: one that is kept running, by the traceback of an error say, would
    keep its handle in the past.

    Raises:
        StorageDamagedError: a part fails its checksum or is missing.
    """
    earlier: Part | None = None
    with closing(handle.each("parts_from", key=key, name=name, start_byte=start_byte)) as rows:
        for row in rows:
            part = _sound(row, zone, name)
            if earlier is None:
                if part.start_byte > start_byte or first_line not in {None, part.first_line}:
                    raise damaged(zone, name, start_byte)
            elif (earlier.end_byte, earlier.end_line) != (part.start_byte, part.first_line):
                raise damaged(zone, name, earlier.end_byte)
            yield part
            earlier = part


def read_parts_backwards(handle: Handle, key: SessionKey, zone: str, name: str) -> Generator[Part, None, None]:
    """Read the parts of the output from its end. Raises as `read_parts` does."""
    later: Part | None = None
    with closing(handle.each("parts_backwards", key=key)) as rows:
        for row in rows:
            part = _sound(row, zone, name)
            if later is not None and (part.end_byte, part.end_line) != (later.start_byte, later.first_line):
                raise damaged(zone, name, part.end_byte)
            yield part
            later = part
    if later is not None and later.start_byte:
        raise damaged(zone, name, 0)


def slice_of(handle: Handle, key: SessionKey, zone: str, name: str, start_byte: int, end_byte: int) -> bytes:
    """Read the bytes of a file from `start_byte` up to `end_byte`, or to its end. Raises as `read_parts` does."""
    pieces: list[bytes] = []
    position = start_byte
    for part in read_parts(handle, key, zone, name, start_byte):
        pieces.append(part.data[position - part.start_byte : end_byte - part.start_byte])
        position = part.end_byte
        if position >= end_byte:
            break
    return b"".join(pieces)


def damaged(zone: str, name: str, byte: int) -> StorageDamagedError:
    """Say which file is damaged, and where."""
    return StorageDamagedError(f"zone {zone}, file {name}: a stored part is damaged or missing at byte {byte}")


def _described(row: Sequence[Any], zone: Zone) -> FileStat:
    """Check what no checksum covers, as far as that can be told from the row alone, and describe the file by it."""
    name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision = row
    if (
        type(start_byte) is type(first_line) is type(size_bytes) is int
        and type(line_count) is type(modified_at_ms) is type(revision) is int
        and 0 <= first_line <= start_byte
        and 0 <= line_count <= size_bytes
        and revision >= 1
        and (name == OUTPUT_FILE or first_line == line_count == 0)
    ):
        return FileStat(name, start_byte + size_bytes, first_line + line_count, modified_at_ms, revision)
    raise damaged(zone, name, start_byte if isinstance(start_byte, int) else 0)


def _sound(row: Sequence[object], zone: str, name: str) -> Part:
    match row:
        case (
            int() as start_byte,
            int() as first_line,
            int() as size_bytes,
            int() as line_count,
            int() as crc32,
            codec,
            stored,
        ):
            try:
                data = unpacked(codec, stored, size_bytes, crc32)
            except UnsoundPartError as error:
                raise damaged(zone, name, start_byte) from error
            return Part(start_byte, first_line, line_count, crc32, data)
        case _:
            raise damaged(zone, name, row[0] if isinstance(row[0], int) else 0)
