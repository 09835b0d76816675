"""Reading: each function runs inside one read transaction on a reading handle, on a reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from store import limits
from store.errors import StorageDamagedError
from store.lines import line_text
from store.pages import MiscountedError, page_before_end, page_from
from store.records import AgentStat, ArchiveSummary, FileStat, Mount, Page, SessionCounts, SessionState, ZoneStat
from store.sqlite.rows import (
    PARTS,
    ZONES,
    ZoneRow,
    damaged,
    files_of,
    find_zone,
    last_part,
    read_parts,
    read_parts_backwards,
    slice_of,
)
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_archive_zone, agent_current_zone, parse_zone


def read_session_state(
    connection: sqlite3.Connection, zone: Zone, if_revision: int | None, content_bytes_max: int | None
) -> SessionState | None:
    """See `Engine.read_session_state`."""
    row = find_zone(connection, zone)
    return _state(connection, zone, row, if_revision, content_bytes_max) if row else None


def read_output(
    connection: sqlite3.Connection, zone: Zone, first_line: int | None, lines_max: int, bytes_max: int
) -> Page | None:
    """See `Engine.read_output`."""
    row = find_zone(connection, zone)
    if row is None:
        return None
    stored = last_part(connection, row.id, OUTPUT_FILE) or FileStat(OUTPUT_FILE, 0, 0, 0, 0)
    if first_line is None:
        return _tail_page(connection, zone, row, stored, lines_max, bytes_max)
    if first_line >= stored.total_lines:
        return _page([], stored.total_lines, stored, row)
    found = connection.execute(PARTS["part_of_line"], {"zone_id": row.id, "first_line": first_line}).fetchall()
    start_byte = found[0][0] if found else 0
    # Where the part before is missing there is nothing to compare with.
    line = next((end_line for _, end_byte, end_line in found[1:] if end_byte == start_byte), None)
    try:
        with closing(read_parts(connection, row.id, zone, OUTPUT_FILE, start_byte, line)) as parts:
            lines = page_from(parts, first_line, lines_max, bytes_max)
    except MiscountedError as error:
        raise damaged(zone, OUTPUT_FILE, error.start_byte) from error
    if not lines:
        raise damaged(zone, OUTPUT_FILE, start_byte)
    return _page(lines, first_line, stored, row)


def mount(
    connection: sqlite3.Connection,
    zone: Zone,
    tail_lines: int,
    bytes_max: int,
    content_bytes_max: int | None,
    if_revision: int | None,
) -> Mount | None:
    """See `Engine.mount`."""
    row = find_zone(connection, zone)
    if row is None:
        return None
    if not _is_mark(row.covers_line):
        raise StorageDamagedError(f"zone {zone}: its row is damaged")
    stored = last_part(connection, row.id, OUTPUT_FILE) or FileStat(OUTPUT_FILE, 0, 0, 0, 0)
    lines_max = min(tail_lines, max(0, stored.total_lines - (row.covers_line or 0)))
    page = _tail_page(connection, zone, row, stored, lines_max, bytes_max)
    return Mount(_state(connection, zone, row, if_revision, content_bytes_max), row.covers_line, page)


def stat(connection: sqlite3.Connection, definition_ids: Sequence[str]) -> list[AgentStat]:
    """See `Engine.stat`."""
    return [_agent_stat(connection, definition_id) for definition_id in definition_ids]


def list_agents(connection: sqlite3.Connection, rows_max: int, after: str | None) -> list[AgentStat]:
    """See `Engine.list_agents`."""
    rows = connection.execute(ZONES["list_agents"], {"after": after or "", "limit": rows_max}).fetchall()
    return stat(connection, [definition_id for (definition_id,) in rows])


def list_archives(
    connection: sqlite3.Connection, definition_id: str, rows_max: int, before_ms: int | None
) -> list[ArchiveSummary]:
    """See `Engine.list_archives`."""
    before = limits.TIME_MS_MAX + 1 if before_ms is None else before_ms
    wanted = {"definition_id": definition_id, "before_ms": before, "limit": rows_max}
    rows = connection.execute(ZONES["list_archives"], wanted).fetchall()
    return [_summary(connection, definition_id, *row) for row in rows]


def archives_without_preview(connection: sqlite3.Connection, rows_max: int) -> list[Zone]:
    """See `Engine.archives_without_preview`."""
    rows = connection.execute(ZONES["archives_without_preview"], {"limit": rows_max})
    return [agent_archive_zone(definition_id, archived_at_ms) for definition_id, archived_at_ms in rows]


def zone_stat(connection: sqlite3.Connection, zone: Zone) -> ZoneStat | None:
    """See `Engine.zone_stat`."""
    row = find_zone(connection, zone)
    return ZoneStat(zone, row.session_id, row.created_at_ms, files_of(connection, row.id)) if row else None


def zones_of(connection: sqlite3.Connection, definition_id: str) -> list[ZoneStat]:
    """See `Engine.zones_of`."""
    rows = connection.execute(ZONES["zones_of"], {"definition_id": definition_id}).fetchall()
    return [
        ZoneStat(zone, session_id, created_at_ms, files_of(connection, zone_id))
        for name, zone_id, session_id, created_at_ms in rows
        if (zone := parse_zone(name))
    ]


def read_bytes(connection: sqlite3.Connection, zone: Zone, name: str, start_byte: int, bytes_max: int) -> bytes:
    """See `Engine.read_bytes`."""
    row = find_zone(connection, zone)
    return slice_of(connection, row.id, zone, name, start_byte, start_byte + bytes_max) if row else b""


def read_session_bytes(
    connection: sqlite3.Connection, session_id: str, name: str, start_byte: int, bytes_max: int
) -> bytes:
    """See `Engine.read_session_bytes`."""
    row = connection.execute(ZONES["zone_by_session"], {"session_id": session_id}).fetchone()
    if row is None:
        return b""
    zone_id, zone = row
    return slice_of(connection, zone_id, zone, name, start_byte, start_byte + bytes_max)


def origins(connection: sqlite3.Connection) -> set[str]:
    """See `Engine.origins`."""
    return {origin for (joined,) in connection.execute(ZONES["origins"]) for origin in joined.split("\n")}


def count_sessions(connection: sqlite3.Connection) -> SessionCounts:
    """See `Engine.status`."""
    return SessionCounts(*connection.execute(ZONES["count_sessions"]).fetchone())


def _state(
    connection: sqlite3.Connection, zone: Zone, row: ZoneRow, if_revision: int | None, content_bytes_max: int | None
) -> SessionState:
    stored = last_part(connection, row.id, SNAPSHOT_FILE)
    if stored is None:
        return SessionState(row.session_id)
    if if_revision == stored.revision:
        return SessionState(row.session_id, None, stored.modified_at_ms, stored.revision, unchanged=True)
    if content_bytes_max is not None and stored.size_bytes > content_bytes_max:
        left_out = stored.size_bytes
        return SessionState(row.session_id, None, stored.modified_at_ms, stored.revision, left_out_bytes=left_out)
    content = tuple(part.data for part in read_parts(connection, row.id, zone, SNAPSHOT_FILE))
    return SessionState(row.session_id, content, stored.modified_at_ms, stored.revision)


def _tail_page(
    connection: sqlite3.Connection, zone: Zone, row: ZoneRow, stored: FileStat, lines_max: int, bytes_max: int
) -> Page:
    try:
        with closing(read_parts_backwards(connection, row.id, zone, OUTPUT_FILE)) as parts:
            lines = page_before_end(parts, lines_max, bytes_max)
    except MiscountedError as error:
        raise damaged(zone, OUTPUT_FILE, error.start_byte) from error
    return _page(lines, stored.total_lines - len(lines), stored, row)


def _is_mark(covers_line: object) -> bool:
    return covers_line is None or (isinstance(covers_line, int) and covers_line >= 0)


def _page(lines: list[bytes], first_line: int, stored: FileStat, row: ZoneRow) -> Page:
    return Page(
        lines=[line_text(line) for line in lines],
        first_line=first_line,
        next_line=first_line + len(lines),
        total_lines=stored.total_lines,
        size_bytes=stored.size_bytes,
        session_id=row.session_id,
    )


def _agent_stat(connection: sqlite3.Connection, definition_id: str) -> AgentStat:
    row = find_zone(connection, agent_current_zone(definition_id))
    files = {file.name: file for file in files_of(connection, row.id)} if row else {}
    snapshot, output = files.get(SNAPSHOT_FILE), files.get(OUTPUT_FILE)
    (archives,) = connection.execute(ZONES["count_archives"], {"definition_id": definition_id}).fetchone()
    return AgentStat(
        definition_id=definition_id,
        session_id=row.session_id if row else None,
        snapshot_bytes=snapshot.size_bytes if snapshot else 0,
        revision=snapshot.revision if snapshot else None,
        output_bytes=output.size_bytes if output else 0,
        total_lines=output.total_lines if output else 0,
        modts=max((file.modified_at_ms for file in files.values()), default=None),
        archives=archives,
    )


def _summary(
    connection: sqlite3.Connection,
    definition_id: str,
    zone_id: int,
    archived_at_ms: int,
    preview: str | None,
    node_count: int,
    session_id: str,
) -> ArchiveSummary:
    files = files_of(connection, zone_id)
    return ArchiveSummary(
        archive_zoneid=agent_archive_zone(definition_id, archived_at_ms),
        archived_at_ms=archived_at_ms,
        preview=preview,
        node_count=node_count,
        total_lines=sum(file.total_lines for file in files),
        size_bytes=sum(file.size_bytes for file in files),
        session_id=session_id,
    )
