"""The verbs of a session: what DESIGN.md section 2 promises, over any engine.

Every change takes one way: checked here, admitted by the writer, applied by the engine, answered after the commit.
Reads skip the writer. Parameters arrive with their types already checked (`rpc/schema.py`); what is checked here is
what they mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import structlog

from store import limits
from store.engine import AppendOutput, ArchiveSession, Engine, Result, WriteState
from store.errors import InvalidParamsError, StaleSessionError, TooLargeError, ZoneNotFoundError
from store.limits import Limits
from store.lines import joined, longest_line_bytes
from store.previews import Preview
from store.records import AgentStat, Appended, Archived, ArchiveSummary, Mount, Page, SessionState, Written, ZoneStat
from store.trace import TRACE, spent_on
from store.writer import Writer
from store.zones import Zone, agent_archive_zone, agent_current_zone, validate_and_current

_Answer = TypeVar("_Answer")
_log = structlog.get_logger()


class Previews(Protocol):
    """Works out previews in the background."""

    def notify(self) -> None:
        """Hear that there may be new archives."""

    async def work_out(self, zone: Zone) -> Preview:
        """Work out one preview now. A waiter that gives up does not stop the work."""


class Sessions:
    """The sessions of all agents.

    Every method takes a definition id and raises `InvalidDefinitionIdError` where it does not match `[A-Za-z0-9_-]+`,
    and `TooLargeError` where it is too long. Whatever reads may raise `StorageDamagedError` and
    `StorageUnavailableError`; whatever changes may raise `StorageFullError`, `StorageUnavailableError`,
    `OverloadedError` and `ShuttingDownError` as well, and then nothing was stored. `session_id` is always optional and
    must be the current session's, on a fresh agent too: otherwise `StaleSessionError`, and nothing is done.
    """

    def __init__(
        self,
        engine: Engine,
        writer: Writer,
        previews: Previews,
        maxima: Limits,
        now_ms: Callable[[], int],
        archived: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep the collaborators; `now_ms` is the clock, in unix milliseconds, and `archived` is told after each archive."""
        self._engine = engine
        self._writer = writer
        self._previews = previews
        self._limits = maxima
        self._now_ms = now_ms
        self._archived = archived

    async def read_session_state(
        self, definition_id: str, if_revision: int | None = None, *, content_bytes_max: int | None = None
    ) -> SessionState:
        """Read the current session's snapshot. A fresh agent is not an error: every field is None.

        Args:
            definition_id: the agent.
            if_revision: a revision the caller has; if it is the stored one, the content is not read (`unchanged`).
            content_bytes_max: a larger content is not read; `left_out_bytes` tells its size. None reads any.
        """
        zone = validate_and_current(definition_id)
        return await self._engine.read_session_state(zone, if_revision, content_bytes_max) or SessionState(None)

    async def write_session_state(
        self,
        definition_id: str,
        content: bytes | bytearray,
        *,
        session_id: str | None = None,
        expect_revision: int | None = None,
        covers_line: int | None = None,
    ) -> Written:
        """Create or replace the snapshot, whole and atomically. Writing what is stored already changes nothing.

        Args:
            definition_id: the agent.
            content: the whole snapshot, opaque. Left as it is until this returns.
            session_id: the session it belongs to.
            expect_revision: the revision that must be stored, 0 where there must be none.
            covers_line: number of output lines the snapshot already contains.

        Raises:
            RevisionMismatchError: another revision is stored.
            TooLargeError: the content is over `snapshot_bytes_max`.
        """
        zone = validate_and_current(definition_id)
        _check_limit("snapshot_bytes_max", self._limits.snapshot_bytes_max, len(content))
        change = WriteState(zone, content, self._now_ms(), session_id, expect_revision, covers_line)
        return _given(await self._writer.submit(change), Written)

    async def append_session_output(
        self,
        definition_id: str,
        lines: Sequence[str],
        *,
        session_id: str | None = None,
        expect_offset: int | None = None,
    ) -> Appended:
        r"""Append texts to the output, as one change. Each gets one `\n` only where it does not end with one.

        Args:
            definition_id: the agent.
            lines: the texts, one or more.
            session_id: the session they belong to.
            expect_offset: the size in bytes the output must have. If the very bytes sent are stored at that offset
                already, the append is a success and a duplicate, so that a lost answer can be asked for again.

        Raises:
            InvalidParamsError: no lines.
            OffsetMismatchError: the output has another size.
            TooLargeError: over `append_bytes_max`, `append_lines_max` or `line_bytes_max`.
        """
        zone = validate_and_current(definition_id)
        if not lines:
            raise InvalidParamsError("lines", "lines must hold at least one text")
        _check_limit("append_lines_max", self._limits.append_lines_max, len(lines))
        text = joined(lines)
        _check_limit("append_bytes_max", self._limits.append_bytes_max, len(text))
        if len(text) > self._limits.line_bytes_max:
            _check_limit("line_bytes_max", self._limits.line_bytes_max, longest_line_bytes(text))
        change = AppendOutput(zone, text, self._now_ms(), session_id, expect_offset)
        return _given(await self._writer.submit(change), Appended)

    async def archive_session(self, definition_id: str, session_id: str | None = None) -> Archived:
        """Turn the current session into an archive; nothing but None where no file of it has a byte.

        With the `session_id` of a session that is archived already: that archive again, so a lost answer can be asked
        for again.
        """
        zone = validate_and_current(definition_id)
        archived = _given(await self._writer.submit(ArchiveSession(zone, self._now_ms(), session_id)), Archived)
        self._previews.notify()
        self._archived()
        if archived.archive_zoneid is not None:
            _log.info(
                "session_archived",
                rights=TRACE.get().rights,
                definition_id=zone.definition_id,
                zone=archived.archive_zoneid,
                session_id=archived.session_id,
            )
        return archived

    async def list_archives(
        self, definition_id: str, limit: int | None = None, before_ms: int | None = None
    ) -> list[ArchiveSummary]:
        """List archives, newest first, without opening any.

        What the rows still lack of previews is worked out within `limits.LIST_PREVIEW_WAIT_MS`; `preview` stays None
        beyond that.

        Args:
            definition_id: the agent.
            limit: rows at most; 0 or None is the default, too large the maximum.
            before_ms: only archives older than this, in unix ms.
        """
        zone = validate_and_current(definition_id)
        rows_max = _clamp(limit, limits.READ_ARCHIVES_DEFAULT, limits.READ_ARCHIVES_MAX)
        rows = await self._engine.list_archives(zone.definition_id, rows_max, before_ms)
        lacking = [row.archive_zoneid for row in rows if row.preview is None]
        if not lacking:
            return rows
        found = await self._work_out(lacking)
        return [
            replace(row, preview=preview.text, node_count=preview.node_count)
            if (preview := found.get(row.archive_zoneid))
            else row
            for row in rows
        ]

    async def read_archive(
        self, definition_id: str, archived_at_ms: int, *, content_bytes_max: int | None = None
    ) -> SessionState:
        """Read the snapshot of the archive of that time (unix ms); `content_bytes_max` as in `read_session_state`.

        Raises:
            ZoneNotFoundError: there is no such archive.
        """
        zone = _zone(definition_id, archived_at_ms)
        state = await self._engine.read_session_state(zone, None, content_bytes_max)
        if state is None:
            raise _no_archive(zone)
        return state

    async def read_output(
        self,
        definition_id: str,
        archived_at_ms: int | None = None,
        *,
        first_line: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
        session_id: str | None = None,
    ) -> Page:
        """Read a page of the output: from `first_line` on, or else the last lines.

        Args:
            definition_id: the agent.
            archived_at_ms: unix ms of an archive, None for the current session.
            first_line: number of the first line, counted from 0.
            limit: lines at most; 0 or None is the default, too large the maximum.
            max_bytes: stored bytes at most, unless one line alone is larger; the same rules.
            session_id: the session that must be found there.

        Raises:
            ZoneNotFoundError: there is no such archive.
        """
        zone = _zone(definition_id, archived_at_ms)
        lines_max = _clamp(limit, limits.READ_LINES_DEFAULT, limits.READ_LINES_MAX)
        bytes_max = _clamp(max_bytes, limits.READ_BYTES_DEFAULT, limits.READ_BYTES_MAX)
        page = await self._engine.read_output(zone, first_line, lines_max, bytes_max)
        if page is None and archived_at_ms is not None:
            raise _no_archive(zone)
        page = page or Page([], 0, 0, 0, 0, None)
        if session_id is not None and session_id != page.session_id:
            raise StaleSessionError("session_id is not that of the session whose output was asked for")
        return page

    async def zone_stat(self, definition_id: str, archived_at_ms: int | None = None) -> ZoneStat | None:
        """Describe a session and its files without any content: the archive of that time (unix ms), or the current one.

        None where there is none.
        """
        return await self._engine.zone_stat(_zone(definition_id, archived_at_ms))

    async def read_session_bytes(self, session_id: str, name: str, start_byte: int, max_bytes: int) -> bytes:
        """Read bytes of a session's file, whatever has become of the session. See `Engine.read_session_bytes`."""
        return await self._engine.read_session_bytes(session_id, name, start_byte, max_bytes)

    async def mount(
        self,
        definition_id: str,
        tail_lines: int | None = None,
        max_bytes: int | None = None,
        *,
        content_bytes_max: int | None = None,
        if_revision: int | None = None,
    ) -> Mount:
        """Read all that a pane needs at once, in one transaction.

        `content_bytes_max` and `if_revision` are as in `read_session_state`.

        Lines start at `covers_line`, or are the last `tail_lines` where that is fewer; of those the newest that fit
        `max_bytes`.
        """
        zone = validate_and_current(definition_id)
        lines_max = _clamp(tail_lines, limits.MOUNT_LINES_DEFAULT, limits.READ_LINES_MAX)
        bytes_max = _clamp(max_bytes, limits.READ_BYTES_DEFAULT, limits.READ_BYTES_MAX)
        mount = await self._engine.mount(zone, lines_max, bytes_max, content_bytes_max, if_revision)
        return mount or Mount(SessionState(None), None, Page([], 0, 0, 0, 0, None))

    async def stat(self, definition_ids: Sequence[str]) -> list[AgentStat]:
        """Describe up to `limits.STAT_DEFINITIONS_MAX` agents in the order asked, without reading content."""
        _check_limit("stat_definitions_max", limits.STAT_DEFINITIONS_MAX, len(definition_ids))
        return await self._engine.stat([agent_current_zone(each).definition_id for each in definition_ids])

    async def list_agents(
        self, limit: int | None = None, after: str | None = None
    ) -> tuple[list[AgentStat], str | None]:
        """List agents that have a session, current or archived, in order of id.

        Args:
            limit: agents at most; 0 or None is the default, too large the maximum.
            after: only ids beyond this one.

        Returns:
            The agents, and the id to continue after; None where these are the last.
        """
        if after is not None:
            validate_and_current(after)
        rows_max = _clamp(limit, limits.LIST_AGENTS_DEFAULT, limits.LIST_AGENTS_MAX)
        agents = await self._engine.list_agents(rows_max + 1, after)
        page = agents[:rows_max]
        return page, page[-1].definition_id if len(agents) > rows_max else None

    async def _work_out(self, zones: Sequence[Zone]) -> dict[Zone, Preview]:
        """Work on these until the time is over; what is not finished goes on in the background."""
        work = {asyncio.ensure_future(self._previews.work_out(zone)): zone for zone in zones}
        with spent_on("preview_seconds"):
            done, pending = await asyncio.wait(work, timeout=limits.LIST_PREVIEW_WAIT_MS / 1000)
        for waiter in pending:
            waiter.cancel()
        return {work[waiter]: waiter.result() for waiter in done if waiter.exception() is None}


def _zone(definition_id: str, archived_at_ms: int | None) -> Zone:
    """Name the archive of that time, or the current zone where none is given."""
    zone = validate_and_current(definition_id)
    return zone if archived_at_ms is None else agent_archive_zone(zone.definition_id, archived_at_ms)


def _given(result: Result, expected: type[_Answer]) -> _Answer:
    if not isinstance(result, expected):
        raise TypeError(f"a change gave {type(result).__name__} and not {expected.__name__}")
    return result


def _clamp(asked: int | None, default: int, maximum: int) -> int:
    return min(asked or default, maximum)


def _check_limit(name: str, maximum: int, actual: int) -> None:
    if actual > maximum:
        raise TooLargeError(name, maximum, actual)


def _no_archive(zone: Zone) -> ZoneNotFoundError:
    return ZoneNotFoundError(f"agent {zone.definition_id} has no archive of {zone.archived_at_ms}")
