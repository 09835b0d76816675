"""The reading half of an engine: each question of the contract goes to a reader's thread, which asks it in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from store import reads
from store.engine import Engine
from store.readers import Readers
from store.records import AgentStat, ArchiveSummary, Mount, Page, SessionState, ZoneStat
from store.zones import Zone


class ReadingEngine(Engine):
    """An engine whose database is read by `store/reads.py`."""

    def __init__(self, readers: Readers) -> None:
        """Keep who reads."""
        self._readers = readers

    async def read_session_state(
        self, zone: Zone, if_revision: int | None = None, content_bytes_max: int | None = None
    ) -> SessionState | None:
        """See `Engine.read_session_state`."""
        return await self._readers.ask(f"zone {zone}", reads.read_session_state, zone, if_revision, content_bytes_max)

    async def read_output(self, zone: Zone, first_line: int | None, limit: int, max_bytes: int) -> Page | None:
        """See `Engine.read_output`."""
        return await self._readers.ask(
            f"zone {zone}, file output", reads.read_output, zone, first_line, limit, max_bytes
        )

    async def mount(
        self,
        zone: Zone,
        tail_lines: int,
        max_bytes: int,
        content_bytes_max: int | None = None,
        if_revision: int | None = None,
    ) -> Mount | None:
        """See `Engine.mount`."""
        return await self._readers.ask(
            f"zone {zone}", reads.mount, zone, tail_lines, max_bytes, content_bytes_max, if_revision
        )

    async def stat(self, definition_ids: Sequence[str]) -> list[AgentStat]:
        """See `Engine.stat`."""
        return await self._readers.ask("the state of these agents", reads.stat, definition_ids)

    async def list_agents(self, limit: int, after: str | None) -> list[AgentStat]:
        """See `Engine.list_agents`."""
        return await self._readers.ask("the list of agents", reads.list_agents, limit, after)

    async def list_archives(self, definition_id: str, limit: int, before_ms: int | None) -> list[ArchiveSummary]:
        """See `Engine.list_archives`."""
        place = f"the list of archives of agent {definition_id}"
        return await self._readers.ask(place, reads.list_archives, definition_id, limit, before_ms)

    async def archives_without_preview(self, limit: int) -> list[Zone]:
        """See `Engine.archives_without_preview`."""
        return await self._readers.ask("the list of archives", reads.archives_without_preview, limit)

    async def zone_stat(self, zone: Zone) -> ZoneStat | None:
        """See `Engine.zone_stat`."""
        return await self._readers.ask(f"zone {zone}", reads.zone_stat, zone)

    async def zones_of(self, definition_id: str) -> list[ZoneStat]:
        """See `Engine.zones_of`."""
        return await self._readers.ask(f"the list of zones of agent {definition_id}", reads.zones_of, definition_id)

    async def read_bytes(self, zone: Zone, name: str, start_byte: int, max_bytes: int) -> bytes:
        """See `Engine.read_bytes`."""
        return await self._readers.ask(f"zone {zone}, file {name}", reads.read_bytes, zone, name, start_byte, max_bytes)

    async def read_session_bytes(self, session_id: str, name: str, start_byte: int, max_bytes: int) -> bytes:
        """See `Engine.read_session_bytes`."""
        place = f"session {session_id}, file {name}"
        return await self._readers.ask(place, reads.read_session_bytes, session_id, name, start_byte, max_bytes)

    async def origins(self) -> set[str]:
        """See `Engine.origins`."""
        return await self._readers.ask("the list of sessions", reads.origins)

    async def status(self) -> dict[str, object]:
        """See `Engine.status`."""
        counts = await self._readers.ask("the list of sessions", reads.count_sessions)
        return self.figures() | asdict(counts)
