"""What a store's file holds, and whether it is sound: read with plain SQL, by the words of DESIGN.md section 4 alone.

None of the product's code has a part in it, so that a rule that the product gets wrong twice, in writing and in reading, is
seen.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is stored. Its files are None where they are not there."""

    session_id: str
    archived_at_ms: int | None
    covers_line: int | None
    snapshot: bytes | None = None
    revision: int | None = None
    output: bytes | None = None


State = frozenset[Session]
"""All sessions of an agent."""

NOTHING: State = frozenset()


def stored_in(path: Path) -> dict[str, State]:
    """Check a store and return what it holds, by agent; nothing where there is no store yet.

    Opening it recovers it, and closing it takes its log away.

    Raises:
        AssertionError: it is not sound.
        sqlite3.Error: it cannot be read.
    """
    if not path.exists():
        return {}
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")  # nobody will pull the plug on a copy
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        assert not tables if version == 0 else {"zones", "file_parts"} <= tables, "the stored form is half made"
        return _agents(connection) if tables else {}
    finally:
        connection.close()


def _agents(connection: sqlite3.Connection) -> dict[str, State]:
    files: dict[int, dict[str, tuple[bytes, int]]] = defaultdict(dict)
    parts: dict[tuple[int, str], list[tuple[Any, ...]]] = defaultdict(list)
    for zone_id, name, *part in connection.execute(
        "SELECT zone_id, name, start_byte, first_line, size_bytes, line_count, crc32, codec, revision, data"
        " FROM file_parts ORDER BY zone_id, name, start_byte"
    ):
        parts[zone_id, name].append(tuple(part))
    for (zone_id, name), rows in parts.items():
        files[zone_id][name] = _content(name, rows)
    agents: dict[str, set[Session]] = defaultdict(set)
    zones = connection.execute("SELECT id, zone, definition_id, archived_at_ms, session_id, covers_line FROM zones")
    for zone_id, zone, agent, at_ms, session_id, covers_line in zones.fetchall():
        assert zone == f"agent:{agent}:" + ("current" if at_ms is None else f"archive:{at_ms}")
        snapshot, revision = files[zone_id].get("output.state.json", (None, None))
        output, _ = files[zone_id].get("output", (None, None))
        agents[agent].add(Session(session_id, at_ms, covers_line, snapshot, revision, output))
    return {agent: frozenset(sessions) for agent, sessions in agents.items()}


def _content(name: str, rows: list[tuple[Any, ...]]) -> tuple[bytes, int]:
    """Put a file together and check every part of it; returns its bytes and its revision."""
    content, lines, last_revision = b"", 0, 0
    for start_byte, first_line, size_bytes, line_count, crc32, codec, revision, stored in rows:
        assert (start_byte, first_line) == (len(content), lines), "the parts are contiguous"
        data = zstandard.decompress(stored) if codec == 1 else stored
        assert codec in {0, 1}, "a part is stored in one of two ways"
        assert (size_bytes, crc32) == (len(data), zlib.crc32(data)), "the part is what its row says"
        counted = sum(bool(line.strip()) for line in data.split(b"\n")) if name == "output" else 0
        assert line_count == counted, "the lines are as many as the row says"
        content += data
        lines += line_count
        last_revision = max(last_revision, revision)
    assert last_revision == rows[-1][6], "the last part bears the revision"
    return content, last_revision
