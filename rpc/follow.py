"""Following an output: every line once, from the session that is current to the archive that it becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from rpc import client_records as records
from rpc.link import Link
from rpc.lookups import archive_of, archives_since, newest_archive_ms, stat_of
from store.errors import StaleSessionError
from store.limits import READ_LINES_MAX

POLL_SECONDS_FIRST: Final = 0.05
POLL_SECONDS_MAX: Final = 1.0
"""While nothing comes the waits double from the one to the other."""


async def follow(link: Link, definition_id: str, first_line: int | None, session_id: str | None) -> AsyncIterator[str]:
    """See `rpc.client.Client.follow`."""
    poll = _Poll(link)
    line = first_line or 0
    if session_id is None:
        session_id, line = await _beginning(link, definition_id, first_line, poll)
    archived_at_ms: int | None = None
    while True:
        params = {
            "definition_id": definition_id,
            "archived_at_ms": archived_at_ms,
            "first_line": line,
            "limit": READ_LINES_MAX,
            "session_id": session_id,
        }
        try:
            page = await link.ask(records.PAGE, "agent:session:read_output", params)
        except StaleSessionError:
            archive = await archive_of(link, definition_id, session_id)
            if archive is None:
                raise
            archived_at_ms = archive.archived_at_ms
            continue
        for text in page.lines:
            yield text
        if page.lines:
            line = page.next_line
            poll.begin_anew()
        elif archived_at_ms is not None:
            return
        else:
            await poll.pause()


async def _beginning(link: Link, definition_id: str, first_line: int | None, poll: _Poll) -> tuple[str, int]:
    """Return the session to follow, that of a fresh agent once it is there, and the first line to give."""
    before = await stat_of(link, definition_id)
    if before.session_id is not None:
        return before.session_id, before.total_lines if first_line is None else first_line
    newest_ms = await newest_archive_ms(link, definition_id)
    while True:
        await poll.pause()
        now = await stat_of(link, definition_id)
        if now.archives > before.archives and (gone := await archives_since(link, definition_id, newest_ms)):
            return gone[-1].session_id, first_line or 0  # it has come and is gone already
        if now.session_id is not None:
            return now.session_id, first_line or 0


class _Poll:
    """The waits while nothing comes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._seconds = POLL_SECONDS_FIRST

    def begin_anew(self) -> None:
        """Wait shortly again: something has come."""
        self._seconds = POLL_SECONDS_FIRST

    async def pause(self) -> None:
        """Wait, longer each time."""
        await self._link.pace.sleep(self._seconds)
        self._seconds = min(2 * self._seconds, POLL_SECONDS_MAX)
