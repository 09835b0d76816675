"""What a store holds, by two ways that share no code: straight out of it, by plain SQL, and as the daemon serves it.

The first counts and checks everything anew, and knows the stored form only from DESIGN.md section 4.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

import zstandard

from tests.faults.wire import Caller
from tests.postgres.foreign import Foreign
from tests.store.foreign import looking

_PAGE: Final = {"limit": 10_000, "max_bytes": 8 << 20}
_ARCHIVES_MAX: Final = 100

_ZONES: Final = """SELECT id, zone, definition_id, archived_at_ms, session_id, covers_line FROM zones
                   ORDER BY definition_id, archived_at_ms IS NULL, archived_at_ms"""
_PARTS: Final = """SELECT zone_id, name, start_byte, size_bytes, first_line, line_count, revision, crc32, codec, data
                   FROM file_parts ORDER BY zone_id, name, start_byte"""
_POSTGRES_ZONES: Final = """
    SELECT home || '/' || session_id,
        'agent:' || definition_id || coalesce(':archive:' || nullif(archived_at_ms, -1), ':current'),
        definition_id, nullif(archived_at_ms, -1), session_id, covers_line
    FROM zones ORDER BY definition_id, archived_at_ms < 0, archived_at_ms"""
_POSTGRES_PARTS: Final = """
    SELECT home || '/' || session_id, name, start_byte, size_bytes, first_line, line_count, revision, crc32, codec, data
    FROM file_parts ORDER BY home, session_id, name, start_byte"""


@dataclass(frozen=True)
class Stored:
    """A session as it is stored.

    Attributes:
        agent: its definition id.
        session_id: its id.
        archived_at_ms: None where it is the current one.
        output: all bytes of the output.
        snapshot: the snapshot's bytes, None where there is none.
        revision: the snapshot's.
        covers_line: of the current session; None where only an archive was asked for over the wire, which does not tell it.
    """

    agent: str
    session_id: str
    archived_at_ms: int | None
    output: bytes
    snapshot: bytes | None
    revision: int | None
    covers_line: int | None


def store_of(data_dir: Path) -> Path:
    """Name the store's file in a data directory."""
    return data_dir / "db" / "zones.db"


def sessions_in(path: Path) -> list[Stored]:
    """Read a store's file and check all of it: by agent, each one's archives from the oldest on, the current one last."""
    with looking(path) as connection:
        connection.execute("BEGIN")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return _sessions(connection.execute(_ZONES), connection.execute(_PARTS))


def sessions_at(connection: Foreign) -> list[Stored]:
    """Read a store in a database and check all of it, as `sessions_in`."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        return _sessions(connection.rows(_POSTGRES_ZONES), connection.rows(_POSTGRES_PARTS))
    finally:
        connection.execute("ROLLBACK")


def _sessions(zones: Iterable[Any], all_parts: Iterable[Any]) -> list[Stored]:
    files: dict[Any, dict[str, tuple[bytes, int]]] = {}
    for (zone_id, name), parts in groupby(all_parts, key=lambda row: (row[0], row[1])):
        files.setdefault(zone_id, {})[name] = _file(f"zone {zone_id}, file {name}", name, parts)
    sessions: dict[str, Stored] = {}
    for zone_id, zone, agent, archived_at_ms, session_id, covers_line in zones:
        suffix = "current" if archived_at_ms is None else f"archive:{archived_at_ms}"
        assert zone == f"agent:{agent}:{suffix}", f"the columns of {zone} disagree"
        assert session_id not in sessions, f"session {session_id} is in two zones"
        mine = files.pop(zone_id, {})
        assert mine.keys() <= {"output", "output.state.json"}, f"{zone} has files of other names"
        output, _ = mine.get("output", (b"", 0))
        snapshot, revision = mine.get("output.state.json", (None, None))
        sessions[session_id] = Stored(agent, session_id, archived_at_ms, output, snapshot, revision, covers_line)
    assert not files, f"parts without a zone: {files.keys()}"
    return list(sessions.values())


def _file(place: str, name: str, parts: Any) -> tuple[bytes, int]:
    """Join a file's parts; returns its bytes and its revision."""
    data = b""
    pieces: list[bytes] = []
    next_byte = next_line = newest = 0
    for _, _, start_byte, size_bytes, first_line, line_count, revision, crc32, codec, stored in parts:
        data = stored if codec == 0 else zstandard.decompress(stored)
        assert (start_byte, first_line) == (next_byte, next_line), f"{place}: a gap or an overlap at byte {next_byte}"
        assert (len(data), zlib.crc32(data)) == (size_bytes, crc32), f"{place}: damaged at byte {start_byte}"
        counted = sum(bool(line.strip()) for line in data.split(b"\n")) if name == "output" else 0
        assert line_count == counted, f"{place}: {counted} lines at byte {start_byte}, not {line_count}"
        assert revision >= newest or name != "output", f"{place}: revisions go back at byte {start_byte}"
        next_byte, next_line, newest = next_byte + size_bytes, next_line + line_count, revision
        pieces.append(data)
    return b"".join(pieces), newest


async def sessions_served(caller: Caller, agents: list[str]) -> list[Stored]:
    """Read every session of some agents as any client would, in the same order."""
    found: list[Stored] = []
    for agent in agents:
        for row in reversed(await _archives(caller, agent)):
            at_ms = row["archived_at_ms"]
            state = await caller.call("read_archive", definition_id=agent, archived_at_ms=at_ms)
            assert state["session_id"] == row["session_id"]
            output = await _output(caller, agent, at_ms)
            found.append(Stored(agent, row["session_id"], at_ms, output, *_snapshot(state), None))
        mounted = await caller.call("mount", definition_id=agent)
        if mounted["session_id"] is not None:
            state = mounted["snapshot"] or {"content": None, "revision": None, "covers_line": None}
            output = await _output(caller, agent, None)
            found.append(
                Stored(agent, mounted["session_id"], None, output, *_snapshot(state), state["covers_line"]),
            )
    return found


def _snapshot(state: dict[str, Any]) -> tuple[bytes | None, int | None]:
    content = state["content"]
    return None if content is None else content.encode(), state["revision"]


async def _archives(caller: Caller, agent: str) -> list[dict[str, Any]]:
    """Return the rows of all archives of an agent, newest first."""
    found: list[dict[str, Any]] = []
    before: dict[str, int] = {}
    while rows := await caller.call("list_archives", definition_id=agent, limit=_ARCHIVES_MAX, **before):
        found += rows
        before = {"before_ms": rows[-1]["archived_at_ms"]}
    times = [row["archived_at_ms"] for row in found]
    assert all(later > earlier for later, earlier in pairwise(times)), f"the archives of {agent} are out of order"
    return found


async def _output(caller: Caller, agent: str, archived_at_ms: int | None) -> bytes:
    """Read a whole output, page by page."""
    at = {} if archived_at_ms is None else {"archived_at_ms": archived_at_ms}
    lines: list[str] = []
    while True:
        page = await caller.call("read_output", definition_id=agent, first_line=len(lines), **at, **_PAGE)
        if not page["lines"]:
            assert page["total_lines"] == len(lines), f"{agent}: {len(lines)} of {page['total_lines']} lines are served"
            return "".join(line + "\n" for line in lines).encode()
        lines += page["lines"]
