"""Appends that are stored exactly once: each says behind which byte of which session it belongs.

The daemon stores it there or nowhere, and where those very bytes are there already it says so. So the same may be sent again
after a lost answer, as often as it takes, and a request that the daemon gets to see late does no harm. Should the session be
archived meanwhile, its archive tells whether it holds them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from rpc import client_records as records
from rpc.errors import BrokenOffError
from rpc.file_paths import FilePath
from rpc.link import Link
from rpc.lookups import archive_of, archives_since, newest_archive_ms, stat_of
from store.errors import OffsetMismatchError, StaleSessionError
from store.lines import joined, shift_of_duplicate
from store.records import Appended, ArchiveSummary
from store.zones import OUTPUT_FILE

_AGENTS_MAX: Final = 4_096
"""Agents whose ends are remembered; of others they are asked for again."""


@dataclass(frozen=True, slots=True)
class _End:
    """The end of an output, as it was last heard of.

    Attributes:
        session_id: of the current session, None where there is none.
        size_bytes: of its output.
        newest_ms: unix ms of the newest archive by then, where there is no session; -1 for none.
    """

    session_id: str | None
    size_bytes: int
    newest_ms: int = -1


@dataclass(slots=True)
class _Agent:
    """What is kept of an agent: its end, and who appends now. Two at once would only get into each other's way."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    end: _End | None = None


class Appends:
    """The appends of one client."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._agents: OrderedDict[str, _Agent] = OrderedDict()

    async def append(
        self, definition_id: str, lines: list[str], session_id: str | None, expect_offset: int | None
    ) -> Appended:
        """See `rpc.client.Client.append_output`."""
        agent = self._agent(definition_id)
        async with agent.lock:
            end, agent.end = agent.end, None
            append = _Append(self._link, definition_id, lines, session_id, expect_offset)
            appended = await append.run(end)
            agent.end = _End(appended.session_id, appended.size_bytes)
            return appended

    def _agent(self, definition_id: str) -> _Agent:
        agent = self._agents.setdefault(definition_id, _Agent())
        self._agents.move_to_end(definition_id)
        if len(self._agents) > _AGENTS_MAX:
            self._agents.popitem(last=False)
        return agent


class _Append:
    """One append, until it is stored."""

    def __init__(
        self, link: Link, definition_id: str, lines: list[str], session_id: str | None, expect_offset: int | None
    ) -> None:
        self._link = link
        self._definition_id = definition_id
        self._lines = lines
        self._session_id = session_id
        self._expect_offset = expect_offset
        self._tries = link.tries()

    async def run(self, end: _End | None) -> Appended:
        """Append behind an end, which is looked for where it is not known, and again where it has moved."""
        while True:
            outcome = await self._try(end or await self._look())
            if isinstance(outcome, Appended):
                return outcome
            end = outcome

    async def _look(self) -> _End:
        stat = await stat_of(self._link, self._definition_id)
        if stat.session_id is not None:
            return _End(stat.session_id, stat.output_bytes)
        return _End(None, stat.output_bytes, await newest_archive_ms(self._link, self._definition_id))

    async def _try(self, end: _End) -> Appended | _End | None:
        """Append behind an end. Where that has moved: to where, or None where that is to be looked for."""
        session_id = self._session_id or end.session_id
        offset = end.size_bytes if self._expect_offset is None else self._expect_offset
        try:
            appended = await self._send(session_id, offset)
        except BrokenOffError as failure:
            if session_id is not None:
                raise
            await self._tries.pause(failure)
            return await self._after_lost_beginning(end, offset)
        except OffsetMismatchError as error:
            if self._expect_offset is not None:
                raise
            moved = None if session_id is None else _End(session_id, error.facts["size_bytes"])
        except StaleSessionError:
            archived = await self._in_archive(session_id, offset) if self._tries.has_lost_answer else None
            if archived is not None:
                return archived
            if self._session_id is not None:
                raise
            moved = None
        else:
            if not appended.duplicate or self._tries.has_lost_answer or self._expect_offset is not None:
                return appended
            moved = _End(appended.session_id, appended.size_bytes)  # these very bytes are another's
        self._tries.has_lost_answer = False
        return moved

    async def _send(self, session_id: str | None, offset: int) -> Appended:
        params = {
            "definition_id": self._definition_id,
            "lines": self._lines,
            "session_id": session_id,
            "expect_offset": offset,
        }
        method, repeatable = "agent:session:append_output", session_id is not None
        return await self._link.ask(records.APPENDED, method, params, repeatable=repeatable, tries=self._tries)

    async def _after_lost_beginning(self, before: _End, offset: int) -> Appended | _End:
        """Find out what has become of an append without a session, since what it has begun may be archived already."""
        now = await self._look()
        for archive in await archives_since(self._link, self._definition_id, before.newest_ms):
            if appended := await self._held_by(archive, offset):
                return appended
        return _End(now.session_id, before.size_bytes, now.newest_ms)

    async def _in_archive(self, session_id: str | None, offset: int) -> Appended | None:
        """Tell what an append has done to a session that was archived since; None where that does not hold it."""
        archive = await archive_of(self._link, self._definition_id, session_id) if session_id else None
        return await self._held_by(archive, offset) if archive else None

    async def _held_by(self, archive: ArchiveSummary, offset: int) -> Appended | None:
        of_archive = {"definition_id": self._definition_id, "archived_at_ms": archive.archived_at_ms, "limit": 1}
        output = await self._link.ask(records.PAGE, "agent:session:read_output", of_archive)
        sent, before = joined(self._lines), min(offset, 1)
        if output.size_bytes < offset + len(sent):
            return None
        path = str(FilePath(self._definition_id, str(archive.archived_at_ms), OUTPUT_FILE))
        part = {"Range": f"bytes={offset - before}-{offset + len(sent)}"}
        stored = await self._link.send(lambda transport: transport.request("GET", path, headers=part))
        shift = shift_of_duplicate(sent, stored, before)
        if shift is None:
            return None
        size_bytes, total_lines = output.size_bytes, output.total_lines
        return Appended(len(sent), offset + shift, size_bytes, total_lines, archive.session_id, duplicate=True)
