"""Reading: each function runs inside one read transaction on a reading handle, on a reader's thread."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from store import limits
from store.errors import StorageDamagedError
from store.handle import Handle, SessionKey
from store.lines import line_text
from store.pages import MiscountedError, page_before_end, page_from
from store.records import (
    AgentStat,
    ArchiveSummary,
    FileStat,
    Mount,
    Page,
    SessionCounts,
    SessionFacts,
    SessionState,
    ZoneStat,
)
from store.stored import (
    ZoneRow,
    damaged,
    files_of,
    find_zone,
    last_part,
    read_parts,
    read_parts_backwards,
    slice_of,
    zone_named,
)
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_archive_zone, agent_current_zone, parse_zone


def read_session_state(
    handle: Handle, zone: Zone, if_revision: int | None, content_bytes_max: int | None
) -> SessionState | None:
    """See `Engine.read_session_state`."""
    row = find_zone(handle, zone)
    return _state(handle, zone, row, if_revision, content_bytes_max) if row else None


def read_output(handle: Handle, zone: Zone, first_line: int | None, lines_max: int, bytes_max: int) -> Page | None:
    """See `Engine.read_output`."""
    row = find_zone(handle, zone)
    if row is None:
        return None
    stored = last_part(handle, row.key, zone, OUTPUT_FILE) or FileStat(OUTPUT_FILE, 0, 0, 0, 0)
    if first_line is None:
        return _tail_page(handle, zone, row, stored, lines_max, bytes_max)
    if first_line >= stored.total_lines:
        return _page([], stored.total_lines, stored, row)
    found = handle.rows("part_of_line", key=row.key, first_line=first_line)
    start_byte = found[0][0] if found else 0
    # Where the part before is missing there is nothing to compare with.
    line = next((end_line for _, end_byte, end_line in found[1:] if end_byte == start_byte), None)
    try:
        with closing(read_parts(handle, row.key, zone, OUTPUT_FILE, start_byte, line)) as parts:
            lines = page_from(parts, first_line, lines_max, bytes_max)
    except MiscountedError as error:
        raise damaged(zone, OUTPUT_FILE, error.start_byte) from error
    if not lines:
        raise damaged(zone, OUTPUT_FILE, start_byte)
    return _page(lines, first_line, stored, row)


def mount(
    handle: Handle,
    zone: Zone,
    tail_lines: int,
    bytes_max: int,
    content_bytes_max: int | None,
    if_revision: int | None,
) -> Mount | None:
    """See `Engine.mount`."""
    row = find_zone(handle, zone)
    if row is None:
        return None
    if not _is_mark(row.covers_line):
        raise StorageDamagedError(f"zone {zone}: its row is damaged")
    stored = last_part(handle, row.key, zone, OUTPUT_FILE) or FileStat(OUTPUT_FILE, 0, 0, 0, 0)
    lines_max = min(tail_lines, max(0, stored.total_lines - (row.covers_line or 0)))
    page = _tail_page(handle, zone, row, stored, lines_max, bytes_max)
    return Mount(_state(handle, zone, row, if_revision, content_bytes_max), row.covers_line, page)


def stat(handle: Handle, definition_ids: Sequence[str]) -> list[AgentStat]:
    """See `Engine.stat`."""
    described = {each.definition_id: each for each in _agent_stats(handle, "stat", definition_ids=list(definition_ids))}
    return [described[definition_id] for definition_id in definition_ids]


def list_agents(handle: Handle, rows_max: int, after: str | None) -> list[AgentStat]:
    """See `Engine.list_agents`."""
    return _agent_stats(handle, "list_agents", after=after or "", limit=rows_max)


def list_archives(handle: Handle, definition_id: str, rows_max: int, before_ms: int | None) -> list[ArchiveSummary]:
    """See `Engine.list_archives`."""
    before = limits.TIME_MS_MAX + 1 if before_ms is None else before_ms
    rows = handle.rows("list_archives", definition_id=definition_id, before_ms=before, limit=rows_max)
    zones = [agent_archive_zone(definition_id, row[1]) for row in rows]
    files = files_of(handle, [(row[0], zone) for row, zone in zip(rows, zones, strict=True)])
    return [
        ArchiveSummary(
            archive_zoneid=zone,
            archived_at_ms=archived_at_ms,
            preview=preview,
            node_count=node_count,
            total_lines=sum(file.total_lines for file in its_files),
            size_bytes=sum(file.size_bytes for file in its_files),
            session_id=session_id,
        )
        for zone, its_files, (_, archived_at_ms, preview, node_count, session_id) in zip(
            zones, files, rows, strict=True
        )
    ]


def archives_without_preview(handle: Handle, rows_max: int) -> list[Zone]:
    """See `Engine.archives_without_preview`."""
    rows = handle.rows("archives_without_preview", limit=rows_max)
    return [agent_archive_zone(definition_id, archived_at_ms) for definition_id, archived_at_ms in rows]


def zone_stat(handle: Handle, zone: Zone) -> ZoneStat | None:
    """See `Engine.zone_stat`."""
    row = find_zone(handle, zone)
    if row is None:
        return None
    ((*files,),) = files_of(handle, [(row.key, zone)])
    return ZoneStat(zone, row.session_id, row.created_at_ms, tuple(files))


def zones_of(handle: Handle, definition_id: str) -> list[ZoneStat]:
    """See `Engine.zones_of`."""
    rows = [
        (zone, *row)
        for name, *row in handle.rows("zones_of", definition_id=definition_id)
        if (zone := parse_zone(name))
    ]
    files = files_of(handle, [(key, zone) for zone, key, *_ in rows])
    return [
        ZoneStat(zone, session_id, created_at_ms, its_files)
        for (zone, _, session_id, created_at_ms), its_files in zip(rows, files, strict=True)
    ]


def read_bytes(handle: Handle, zone: Zone, name: str, start_byte: int, bytes_max: int) -> bytes:
    """See `Engine.read_bytes`."""
    row = find_zone(handle, zone)
    return slice_of(handle, row.key, zone, name, start_byte, start_byte + bytes_max) if row else b""


def read_session_bytes(handle: Handle, session_id: str, name: str, start_byte: int, bytes_max: int) -> bytes:
    """See `Engine.read_session_bytes`."""
    row = handle.row("zone_by_session", session_id=session_id)
    if row is None:
        return b""
    key, zone = row
    return slice_of(handle, key, zone, name, start_byte, start_byte + bytes_max)


def origins(handle: Handle) -> set[str]:
    """See `Engine.origins`."""
    return {origin for (joined,) in handle.rows("origins") for origin in joined.split("\n")}


def count_sessions(handle: Handle) -> SessionCounts:
    """See `Engine.status`."""
    return SessionCounts(*handle.rows("count_sessions")[0], *handle.rows("count_to_compress")[0])


def sessions_after(handle: Handle, after: str, rows_max: int) -> list[tuple[SessionKey, SessionFacts]]:
    """Describe sessions whose ids come after one, in the order of their ids."""
    return _facts(handle, handle.rows("sessions_after", after=after, limit=rows_max))


def session_facts(handle: Handle, session_id: str) -> tuple[SessionKey, SessionFacts] | None:
    """Describe a session, whatever zone it is in; None where there is no such session."""
    return next(iter(_facts(handle, handle.rows("session_facts", session_id=session_id))), None)


def _facts(handle: Handle, rows: Sequence[Sequence[Any]]) -> list[tuple[SessionKey, SessionFacts]]:
    zones = [zone_named(row[1]) for row in rows]
    files = files_of(handle, [(row[0], zone) for row, zone in zip(rows, zones, strict=True)])
    described: list[tuple[SessionKey, SessionFacts]] = []
    for row, zone, its_files in zip(rows, zones, files, strict=True):
        key, _, session_id, created_at_ms, covers_line, preview, node_count, origin = row
        facts = SessionFacts(zone, session_id, created_at_ms, covers_line, preview, node_count, origin, its_files)
        described.append((key, facts))
    return described


def _state(
    handle: Handle, zone: Zone, row: ZoneRow, if_revision: int | None, content_bytes_max: int | None
) -> SessionState:
    stored = last_part(handle, row.key, zone, SNAPSHOT_FILE)
    if stored is None:
        return SessionState(row.session_id)
    if if_revision == stored.revision:
        return SessionState(row.session_id, None, stored.modified_at_ms, stored.revision, unchanged=True)
    if content_bytes_max is not None and stored.size_bytes > content_bytes_max:
        left_out = stored.size_bytes
        return SessionState(row.session_id, None, stored.modified_at_ms, stored.revision, left_out_bytes=left_out)
    content = tuple(part.data for part in read_parts(handle, row.key, zone, SNAPSHOT_FILE))
    return SessionState(row.session_id, content, stored.modified_at_ms, stored.revision)


def _tail_page(handle: Handle, zone: Zone, row: ZoneRow, stored: FileStat, lines_max: int, bytes_max: int) -> Page:
    try:
        with closing(read_parts_backwards(handle, row.key, zone, OUTPUT_FILE)) as parts:
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


def _agent_stats(handle: Handle, statement: str, **which: Any) -> list[AgentStat]:
    """Describe agents: each by a row of the statement, their files all in one further question."""
    rows = [(agent_current_zone(row[0]), row) for row in handle.rows(statement, **which)]
    for zone, (_, key, session_id, _) in rows:
        if key is not None and not isinstance(session_id, str):
            raise StorageDamagedError(f"zone {zone}: its row is damaged")
    current = [(key, zone) for zone, (_, key, _, _) in rows if key is not None]
    files = dict(zip([zone for _, zone in current], files_of(handle, current), strict=True))
    return [_agent_stat(zone, session_id, archives, files.get(zone, ())) for zone, (_, _, session_id, archives) in rows]


def _agent_stat(zone: Zone, session_id: str | None, archives: int, all_files: Sequence[FileStat]) -> AgentStat:
    files = {file.name: file for file in all_files}
    snapshot, output = files.get(SNAPSHOT_FILE), files.get(OUTPUT_FILE)
    return AgentStat(
        definition_id=zone.definition_id,
        session_id=session_id,
        snapshot_bytes=snapshot.size_bytes if snapshot else 0,
        revision=snapshot.revision if snapshot else None,
        output_bytes=output.size_bytes if output else 0,
        total_lines=output.total_lines if output else 0,
        modts=max((file.modified_at_ms for file in all_files), default=None),
        archives=archives,
    )
