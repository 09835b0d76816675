"""What the tests of the contract put into a store, and how they look at what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from store.engine import Change, ImportSession
from store.records import ImportFile, SessionState, ZoneStat
from store.zones import Zone, agent_archive_zone
from tests.conftest import OpenStore

AGENT = "agent_A-1"
OTHER = "agent-B"


def content_of(state: SessionState) -> bytes | None:
    """Return a snapshot in one piece, None where there is none."""
    return None if state.content is None else b"".join(state.content)


def _chunks(data: bytes, chunk_bytes: int) -> Iterable[bytes]:
    return (data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes))


def file_from(name: str, data: bytes, modified_at_ms: int = 1_000, chunk_bytes: int = 50_000) -> ImportFile:
    """Make a file that comes from elsewhere, in chunks."""
    return ImportFile(name, modified_at_ms, partial(_chunks, data, chunk_bytes))


def session_from(zone: Zone, files: Mapping[str, bytes], covers_line: int | None = None) -> ImportSession:
    """Make a session that comes from elsewhere."""
    imported = tuple(file_from(name, data) for name, data in files.items())
    return ImportSession(zone, imported, created_at_ms=500, covers_line=covers_line)


async def take_over(
    store: OpenStore, zone: Zone, files: Mapping[str, bytes], covers_line: int | None = None
) -> ZoneStat:
    """Import a session, as a migration does."""
    taken = await store.writer.submit(session_from(zone, files, covers_line))
    assert isinstance(taken, ZoneStat)
    return taken


async def refused(store: OpenStore, change: Change) -> Exception | None:
    """Submit a change; return what it was refused with."""
    try:
        await store.writer.submit(change)
    except Exception as error:  # noqa: BLE001 - which one it is, is the caller's question
        return error
    return None


async def archived_at(store: OpenStore, definition_id: str, at_ms: int, content: bytes = b"{}") -> Zone:
    """Write a snapshot and archive it at a time."""
    store.clock.now_ms = at_ms
    await store.sessions.write_session_state(definition_id, content)
    archived = await store.sessions.archive_session(definition_id)
    assert archived.archived_at_ms == at_ms
    return agent_archive_zone(definition_id, at_ms)
