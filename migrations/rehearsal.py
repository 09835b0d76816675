"""A store that only pretends: what a dry run migrates into.

It answers like the store beneath it, as if what it was told to apply had happened, and keeps nothing but names and
sizes. So a dry run is the migration itself, and what it reports cannot differ from what a run would do. Content is read
once, so that a file that cannot be read shows itself now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from store.engine import Change, CompleteSession, ImportSession, MoveSession, Outcome
from store.errors import ZoneNotFoundError
from store.limits import TIME_MS_MAX
from store.place import StoredSessions
from store.records import FileStat, ImportFile, ZoneStat
from store.zones import Zone, agent_archive_zone


@dataclass(frozen=True, slots=True)
class _Stored:
    """Content in the store beneath."""

    zone: Zone
    name: str


@dataclass(frozen=True, slots=True)
class _Session:
    stat: ZoneStat
    contents: dict[str, _Stored | _ImportedContent]


@dataclass(slots=True)
class _ImportedContent:
    """Content in a legacy database, read from front to back."""

    file: ImportFile
    position: int = 0
    rest: bytes = b""
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def size_bytes(self) -> int:
        """Read all of it."""
        return sum(len(chunk) for chunk in self.file.chunks())

    def read(self, start_byte: int, max_bytes: int) -> bytes:
        """Read on from where the last reading ended, or from the beginning again."""
        if start_byte < self.position or self.position == 0:
            self.position, self.rest, self.chunks = 0, b"", iter(self.file.chunks())
        while self.position + len(self.rest) <= start_byte:
            self.position += len(self.rest)
            self.rest = next(self.chunks, b"")
            if not self.rest:
                return b""
        self.rest = self.rest[start_byte - self.position :]
        self.position = start_byte
        return self.rest[:max_bytes]


class Rehearsal:
    """Stands before a store, or before none, and pretends (see `SessionStore`)."""

    def __init__(self, store: StoredSessions | None) -> None:
        """Begin with what the store holds."""
        self._store = store
        self.identity = None if store is None else store.identity
        self._sessions: dict[Zone, _Session | None] = {}

    async def apply(self, batch: Sequence[Change]) -> list[Outcome]:
        """Pretend. Never fails as a whole."""
        outcomes: list[Outcome] = []
        for change in batch:
            try:
                outcomes.append(await self._apply(change))
            except Exception as error:  # noqa: BLE001 - whatever goes wrong is that change's outcome
                outcomes.append(error)
        return outcomes

    async def zone_stat(self, zone: Zone) -> ZoneStat | None:
        """See `Engine.zone_stat`."""
        session = await self._session(zone)
        return None if session is None else session.stat

    async def zones_of(self, definition_id: str) -> list[ZoneStat]:
        """See `Engine.zones_of`."""
        stored = [] if self._store is None else await self._store.zones_of(definition_id)
        stats = {stat.zone: stat for stat in stored}
        for zone, session in self._sessions.items():
            stats.pop(zone, None)
            if session is not None and zone.definition_id == definition_id:
                stats[zone] = session.stat
        return sorted(stats.values(), key=lambda stat: -1 if (at := stat.zone.archived_at_ms) is None else at)

    async def read_bytes(self, zone: Zone, name: str, start_byte: int, max_bytes: int) -> bytes:
        """See `Engine.read_bytes`."""
        session = await self._session(zone)
        content = None if session is None else session.contents.get(name)
        if isinstance(content, _ImportedContent):
            return await asyncio.to_thread(content.read, start_byte, max_bytes)
        if content is None or self._store is None:
            return b""
        return await self._store.read_bytes(content.zone, content.name, start_byte, max_bytes)

    async def origins(self) -> set[str]:
        """See `Engine.origins`. They are read before anything is taken over, so pretended ones need not be kept."""
        return set() if self._store is None else await self._store.origins()

    async def _session(self, zone: Zone) -> _Session | None:
        if zone in self._sessions:
            return self._sessions[zone]
        stat = None if self._store is None else await self._store.zone_stat(zone)
        return None if stat is None else _Session(stat, {file.name: _Stored(zone, file.name) for file in stat.files})

    async def _apply(self, change: Change) -> Outcome:
        match change:
            case ImportSession():
                return await self._import(change)
            case MoveSession():
                return await self._move(change)
            case CompleteSession():
                await self._complete(change)
                return None
        raise TypeError(f"no migration asks for {type(change).__name__}")

    async def _import(self, change: ImportSession) -> ZoneStat:
        zone = await self._free(change.zone)
        contents = {file.name: _ImportedContent(file) for file in change.files}
        stats = []
        for name, content in contents.items():
            size_bytes = await asyncio.to_thread(content.size_bytes)
            stats.append(FileStat(name, size_bytes, 0, content.file.modified_at_ms, 1))
        stat = ZoneStat(zone, "", change.created_at_ms, tuple(stats))
        self._sessions[zone] = _Session(stat, dict(contents))
        return stat

    async def _move(self, change: MoveSession) -> Zone:
        session = await self._existing(change.source)
        zone = await self._free(change.target)
        self._sessions[change.source] = None
        self._sessions[zone] = replace(session, stat=replace(session.stat, zone=zone))
        return zone

    async def _complete(self, change: CompleteSession) -> None:
        source, target = await self._existing(change.source), await self._existing(change.target)
        taken = tuple(file for file in source.stat.files if file.name in change.names)
        contents = target.contents | {file.name: source.contents[file.name] for file in taken}
        stat = replace(target.stat, files=(*target.stat.files, *taken))
        self._sessions[change.source] = None
        self._sessions[change.target] = _Session(stat, contents)

    async def _existing(self, zone: Zone) -> _Session:
        session = await self._session(zone)
        if session is None:
            raise ZoneNotFoundError(f"there is no zone {zone}")
        return session

    async def _free(self, zone: Zone) -> Zone:
        """Return the archive's name or the next free one; a current zone must have no content."""
        if zone.archived_at_ms is not None:
            return await self._free_archive(zone.definition_id, zone.archived_at_ms)
        session = await self._session(zone)
        if session is not None and session.stat.size_bytes:
            raise ValueError(f"{zone} has content already")
        return zone

    async def _free_archive(self, definition_id: str, wanted_ms: int) -> Zone:
        """Name the archive of that time, or of the next free millisecond. Before it only where time itself ends."""
        at_ms, step = min(wanted_ms, TIME_MS_MAX), 1
        while await self._session(zone := agent_archive_zone(definition_id, at_ms)) is not None:
            if at_ms == TIME_MS_MAX:
                step = -1
            at_ms += step
        return zone
