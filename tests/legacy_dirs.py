"""Data directories as an AgentMux installation of May 2026 left them, from the facts of LEGACY.md.

    python -m tests.legacy_dirs DEST --blocks 200 --agents 20

makes one with so many agent blocks; `LegacyDir` makes arbitrary ones, torn and odd ones among them.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PART_BYTES: Final = 65_536
BEGINNING_MS: Final = 1_779_580_800_000
_IDS: Final = uuid.UUID("6f1c2ef0-4f6c-4f60-9b0b-2f1d8f3f9a11")

FILESTORE_SCHEMA: Final = (
    """CREATE TABLE db_wave_file (
        zoneid TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL DEFAULT 0,
        createdts INTEGER NOT NULL DEFAULT 0, modts INTEGER NOT NULL DEFAULT 0,
        opts TEXT NOT NULL DEFAULT '{}', meta TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (zoneid, name))""",
    """CREATE TABLE db_file_data (
        zoneid TEXT NOT NULL, name TEXT NOT NULL, partidx INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (zoneid, name, partidx))""",
)

MAY_2026_DEFINITION_COLUMNS: Final = {
    "id": "TEXT PRIMARY KEY",
    "slug": "TEXT NOT NULL DEFAULT ''",
    "name": "TEXT NOT NULL",
    "icon": "TEXT NOT NULL DEFAULT '✦'",
    "provider": "TEXT NOT NULL",
    "description": "TEXT NOT NULL DEFAULT ''",
    "working_directory": "TEXT NOT NULL DEFAULT ''",
    "shell": "TEXT NOT NULL DEFAULT ''",
    "provider_flags": "TEXT NOT NULL DEFAULT ''",
    "auto_start": "INTEGER NOT NULL DEFAULT 0",
    "restart_on_crash": "INTEGER NOT NULL DEFAULT 0",
    "idle_timeout_minutes": "INTEGER NOT NULL DEFAULT 0",
    "agent_type": "TEXT NOT NULL DEFAULT 'standalone'",
    "environment": "TEXT NOT NULL DEFAULT ''",
    "agent_bus_id": "TEXT NOT NULL DEFAULT ''",
    "is_seeded": "INTEGER NOT NULL DEFAULT 0",
    "accounts": "TEXT NOT NULL DEFAULT ''",
    "parent_id": "TEXT NOT NULL DEFAULT ''",
    "branch_label": "TEXT NOT NULL DEFAULT ''",
    "created_at": "INTEGER NOT NULL DEFAULT 0",
}

LATER_DEFINITION_COLUMNS: Final = {
    "updated_at": "INTEGER NOT NULL DEFAULT 0",
    "user_hidden": "INTEGER NOT NULL DEFAULT 0",
    "container_image": "TEXT NOT NULL DEFAULT ''",
    "container_volumes": "TEXT NOT NULL DEFAULT '[]'",
    "container_name": "TEXT NOT NULL DEFAULT ''",
    "use_ambient_login": "INTEGER NOT NULL DEFAULT 0",
    "model_vendor_base_url": "TEXT NOT NULL DEFAULT ''",
    "auto_continue_enabled": "INTEGER NOT NULL DEFAULT 0",
    "memory_id": "TEXT NOT NULL DEFAULT ''",
    "conversation_visibility": "TEXT NOT NULL DEFAULT ''",
}

OBJECTS_SCHEMA: Final = {
    "db_block": "CREATE TABLE db_block (oid TEXT PRIMARY KEY, version INTEGER NOT NULL DEFAULT 1, data TEXT NOT NULL)",
    "db_agent_content": """CREATE TABLE db_agent_content (
        agent_id TEXT NOT NULL, content_type TEXT NOT NULL, content TEXT NOT NULL DEFAULT '',
        updated_at INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (agent_id, content_type),
        FOREIGN KEY (agent_id) REFERENCES db_agent_definitions(id) ON DELETE CASCADE)""",
    "db_agent_skills": """CREATE TABLE db_agent_skills (
        id TEXT PRIMARY KEY, agent_id TEXT NOT NULL, name TEXT NOT NULL, trigger TEXT NOT NULL DEFAULT '',
        skill_type TEXT NOT NULL DEFAULT 'prompt', description TEXT NOT NULL DEFAULT '',
        content TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL DEFAULT 0,
        FOREIGN KEY (agent_id) REFERENCES db_agent_definitions(id) ON DELETE CASCADE)""",
    "db_agent_instances": """CREATE TABLE db_agent_instances (
        id TEXT PRIMARY KEY, definition_id TEXT NOT NULL, parent_instance_id TEXT NOT NULL DEFAULT '',
        block_id TEXT NOT NULL DEFAULT '', session_id TEXT NOT NULL DEFAULT '', status TEXT NOT NULL DEFAULT 'running',
        github_context TEXT NOT NULL DEFAULT '', identity_id TEXT NOT NULL DEFAULT '',
        memory_id TEXT NOT NULL DEFAULT '', instance_name TEXT NOT NULL DEFAULT '',
        working_directory TEXT NOT NULL DEFAULT '', display_hidden INTEGER NOT NULL DEFAULT 0,
        started_at INTEGER NOT NULL DEFAULT 0, ended_at INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL DEFAULT 0,
        FOREIGN KEY (definition_id) REFERENCES db_agent_definitions(id) ON DELETE CASCADE)""",
}


class LegacyDir:
    """A data directory in the making. Leave it as a context manager to commit and close both databases."""

    def __init__(
        self,
        path: Path,
        *,
        folder: str = "db",
        wal: bool = True,
        objects: bool = True,
        filestore: bool = True,
        definition_columns: Mapping[str, str] | None = None,
        without_tables: tuple[str, ...] = (),
        again: bool = False,
    ) -> None:
        """Make the databases with their tables.

        Args:
            path: the data directory; made where it is not there.
            folder: where in it the databases are, "" for the directory itself.
            wal: keep the databases in WAL mode, as AgentMux does.
            objects: make `objects.db`.
            filestore: make `filestore.db`.
            definition_columns: of `db_agent_definitions`; those of May 2026 and all later ones by default.
            without_tables: tables to leave out.
            again: the databases are there already, and are added to.
        """
        self.path = path
        self.folder = path / folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._objects = self._make("objects.db", wal) if objects else None
        self._filestore = self._make("filestore.db", wal) if filestore else None
        if not again:
            self._make_tables(definition_columns, without_tables)

    def _make_tables(self, definition_columns: Mapping[str, str] | None, without_tables: tuple[str, ...]) -> None:
        columns = definition_columns or {**MAY_2026_DEFINITION_COLUMNS, **LATER_DEFINITION_COLUMNS}
        definitions = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        schema = {"db_agent_definitions": f"CREATE TABLE db_agent_definitions ({definitions})", **OBJECTS_SCHEMA}
        if self._objects is not None:
            for table, statement in schema.items():
                if table not in without_tables:
                    self._objects.execute(statement)
            if "slug" in columns and "db_agent_definitions" not in without_tables:
                self._objects.execute("CREATE UNIQUE INDEX idx_slug ON db_agent_definitions(slug)")
        if self._filestore is not None:
            for statement in FILESTORE_SCHEMA:
                if not any(f"TABLE {table} " in statement for table in without_tables):
                    self._filestore.execute(statement)

    def _make(self, name: str, wal: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self.folder / name)
        connection.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
        return connection

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit and close."""
        for connection in (self._objects, self._filestore):
            if connection is not None:
                connection.commit()
                connection.close()

    @property
    def objects(self) -> sqlite3.Connection:
        """The connection to `objects.db`."""
        assert self._objects is not None
        return self._objects

    @property
    def filestore(self) -> sqlite3.Connection:
        """The connection to `filestore.db`."""
        assert self._filestore is not None
        return self._filestore

    def block(self, oid: str, agent_id: object, **meta: object) -> None:
        """Add an agent's pane; `meta` adds to its meta or replaces members of it."""
        shown = {"view": "agent", "agentId": agent_id, "controller": "shell", **meta}
        data = json.dumps({"oid": oid, "otype": "block", "version": 1, "meta": shown}).encode()
        self.raw_block(oid, data)

    def raw_block(self, oid: object, data: object) -> None:
        """Add a row with that very data."""
        self.objects.execute("INSERT INTO db_block (oid, data) VALUES (?, ?)", (oid, data))

    def file(
        self,
        zone: str,
        name: str,
        content: bytes,
        *,
        size: object = None,
        created: object = BEGINNING_MS,
        modified: object = BEGINNING_MS + 1_000,
        opts: str = "{}",
    ) -> None:
        """Add a file whose parts are whole; `size` makes the row claim another size."""
        claimed = len(content) if size is None else size
        self.row(zone, name, claimed, created, modified, opts)
        for index in range(0, len(content), PART_BYTES):
            self.part(zone, name, index // PART_BYTES, content[index : index + PART_BYTES])

    def row(
        self,
        zone: object,
        name: object,
        size: object,
        created: object = BEGINNING_MS,
        modified: object = BEGINNING_MS + 1_000,
        opts: object = "{}",
    ) -> None:
        """Add a file's row alone."""
        self.filestore.execute(
            "INSERT INTO db_wave_file (zoneid, name, size, createdts, modts, opts) VALUES (?, ?, ?, ?, ?, ?)",
            (zone, name, size, created, modified, opts),
        )

    def part(self, zone: str, name: str, index: object, data: object) -> None:
        """Add a part alone."""
        self.filestore.execute("INSERT INTO db_file_data VALUES (?, ?, ?, ?)", (zone, name, index, data))

    def session(self, zone: str, text: str, *, lines: int = 3, created: int = BEGINNING_MS, modified: int = 0) -> None:
        """Add a snapshot and an output that belong together."""
        modified = modified or created + 1_000
        self.file(zone, "output.state.json", snapshot(text, lines), created=created, modified=modified)
        self.file(zone, "output", output(text, lines), created=created, modified=modified)

    def definition(self, definition_id: str, **columns: object) -> None:
        """Add a definition. Without more it is a user's own one."""
        values = {"id": definition_id, "slug": definition_id, "name": definition_id, "provider": "claude", **columns}
        self._insert("db_agent_definitions", values)

    def template(self, definition_id: str, **columns: object) -> None:
        """Add a seeded definition."""
        self.definition(definition_id, **{"is_seeded": 1, **columns})

    def instance(self, instance_id: str, definition_id: str, name: str = "", started: int = 0, hidden: int = 0) -> None:
        """Add an instance of a definition."""
        values = {
            "id": instance_id,
            "definition_id": definition_id,
            "instance_name": name,
            "started_at": started,
            "display_hidden": hidden,
        }
        self._insert("db_agent_instances", values)

    def _insert(self, table: str, values: Mapping[str, object]) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.objects.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))


def snapshot(text: str, lines: int = 3) -> bytes:
    """Make a snapshot as a pane writes it."""
    nodes = [{"type": "user_message", "id": "u1", "message": text}, {"type": "markdown", "id": "m0", "content": text}]
    return json.dumps({"schemaVersion": 1, "highWaterMark": lines, "historyOffset": 0, "nodes": nodes}).encode()


def output(text: str, lines: int = 3) -> bytes:
    """Make an output of so many lines as Claude streams it."""
    turns = [{"type": "user", "message": {"role": "user", "content": text}}]
    turns += [{"type": "stream_event", "text": f"{text} {number}"} for number in range(1, lines)]
    return b"".join(json.dumps(turn).encode() + b"\n" for turn in turns)


def identifier(*parts: object) -> str:
    """Make a UUID that is the same for the same parts."""
    return str(uuid.uuid5(_IDS, "/".join(map(str, parts))))


def lacks_snapshot(number: int, agents: int) -> bool:
    """Tell whether `populate` gives that block no snapshot: one in ten of each agent's."""
    return (number // agents + number) % 10 == 9


def populate(path: Path, blocks: int, agents: int) -> None:
    """Make a directory with so many agent blocks of so many agents, between panes of other kinds.

    Some agent blocks have no snapshot, see `lacks_snapshot`. The newest block of an agent is the one with the greatest number.
    """
    with LegacyDir(path) as legacy:
        for agent in range(agents):
            legacy.definition(identifier("agent", agent), slug=f"agent-{agent}", name=f"Agent {agent}")
        legacy.raw_block(identifier("web"), b'{"oid":"web","otype":"block","meta":{"view":"web","url":"http://x"}}')
        legacy.raw_block(identifier("empty"), b'{"oid":"empty","otype":"block","meta":null}')
        for number in range(blocks):
            agent = number % agents
            oid = identifier("block", number)
            legacy.block(oid, identifier("agent", agent), agentName=f"Agent {agent}")
            if not lacks_snapshot(number, agents):
                created = BEGINNING_MS + number * 60_000
                legacy.session(oid, f"question {number} of agent {agent}", lines=5 + number % 7, created=created)


def main(arguments: list[str] | None = None) -> int:
    """Make a directory from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.legacy_dirs", description=__doc__)
    parser.add_argument("dest", type=Path, help="the data directory to make")
    parser.add_argument("--blocks", type=int, default=200, help="agent blocks (default: %(default)s)")
    parser.add_argument("--agents", type=int, default=20, help="agents (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    populate(chosen.dest, chosen.blocks, chosen.agents)
    return 0


if __name__ == "__main__":
    sys.exit(main())
