"""What a client asks besides the call it was asked for: how an agent is, and where a session went."""

from __future__ import annotations

from rpc import client_records as records
from rpc.link import Link
from store.limits import READ_ARCHIVES_MAX
from store.records import AgentStat, ArchiveSummary


async def stat_of(link: Link, definition_id: str) -> AgentStat:
    """Describe one agent."""
    (stat,) = await link.ask(records.STATS, "agent:session:stat", {"definition_ids": [definition_id]})
    return stat


async def newest_archive_ms(link: Link, definition_id: str) -> int:
    """Return when an agent's newest archive was made, in unix ms; -1 where it has none."""
    rows = await _page(link, definition_id, 1, [])
    return rows[0].archived_at_ms if rows else -1


async def archives_since(link: Link, definition_id: str, archived_at_ms: int) -> list[ArchiveSummary]:
    """List the archives of an agent that are newer than that, newest first."""
    newer: list[ArchiveSummary] = []
    while rows := await _page(link, definition_id, READ_ARCHIVES_MAX, newer):
        newer += (row for row in rows if row.archived_at_ms > archived_at_ms)
        if rows[-1].archived_at_ms <= archived_at_ms:
            break
    return newer


async def archive_of(link: Link, definition_id: str, session_id: str) -> ArchiveSummary | None:
    """Find the archive that a session became, None where there is none."""
    rows: list[ArchiveSummary] = []
    while rows := await _page(link, definition_id, READ_ARCHIVES_MAX, rows):
        for row in rows:
            if row.session_id == session_id:
                return row
    return None


async def _page(link: Link, definition_id: str, limit: int, behind: list[ArchiveSummary]) -> list[ArchiveSummary]:
    before_ms = behind[-1].archived_at_ms if behind else None
    params = {"definition_id": definition_id, "limit": limit, "before_ms": before_ms}
    return await link.ask(records.ARCHIVES, "agent:session:list_archives", params)
