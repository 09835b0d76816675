"""The definitions and instances of objects.db, and the only writing there is to legacy data.

Every change is one short transaction. Columns differ from build to build, so only those that the table has are named.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import structlog

from migrations.legacy import LegacyDatabase, connect, readable, table_columns
from migrations.sql import load
from store.lines import is_blank

_SQL: Final = load("objects.sql")
_NOT_IN_SLUG: Final = re.compile(r"[^a-z0-9]+")
_log = structlog.get_logger()

COPIED_COLUMNS: Final = (
    "icon",
    "provider",
    "description",
    "shell",
    "provider_flags",
    "restart_on_crash",
    "idle_timeout_minutes",
    "agent_type",
    "environment",
    "container_image",
    "container_volumes",
    "model_vendor_base_url",
)
"""What the user's definition has from the template (LEGACY.md section 3.3). Everything else gets its column's default."""


class DefinitionError(Exception):
    """A template cannot be promoted now; it is left for the next start."""


def read_templates(database: LegacyDatabase) -> list[str]:
    """Name the seeded definitions, in order of id; none where there is no such table.

    Raises:
        MigrationFailedError: a table that promotion needs cannot be read, or lacks a column.
    """
    database.require("db_agent_instances", "id", "definition_id")
    database.require("db_agent_content", "agent_id")
    database.require("db_agent_skills", "agent_id")
    if not database.require("db_agent_definitions", "id", "is_seeded", "name"):
        return []
    with readable(database.path, "the table db_agent_definitions"):
        return [str(template_id) for (template_id,) in database.connection.execute(_SQL["templates"])]


def slug_of(name: str) -> str:
    """Make a slug: lower case, each run of anything but a-z and 0-9 one `-`, none at the ends; `agent` if nothing is left."""
    return _NOT_IN_SLUG.sub("-", name.lower()).strip("-") or "agent"


def is_blank_name(name: str) -> bool:
    """Tell whether a name is nothing but Unicode White_Space."""
    return all(is_blank(line) for line in name.encode().split(b"\n"))


class DefinitionWriter:
    """Writes to objects.db. A context manager; opened only where a template has to be promoted."""

    def __init__(self, path: Path, busy_ms: int) -> None:
        """Open the database for writing.

        Raises:
            DefinitionError: it cannot be opened for writing.
        """
        with _as_definition_error():
            self._connection = connect(path, "rw", busy_ms)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.create_function("new_id", 0, lambda: str(uuid.uuid4()))
            self._seen_version = self._data_version()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the database."""
        self._connection.close()

    def wrote_alone(self) -> bool:
        """Tell whether no other program has committed since this was opened."""
        try:
            return self._data_version() == self._seen_version
        except sqlite3.Error:
            return False

    def promote(self, template_id: str, new_id: str, now_ms: int) -> int:
        """Make the user's definition, unless there is one, and point the template's instances to it: all or nothing.

        Returns how many instances were repointed.

        Raises:
            DefinitionError: the database is locked, full or refuses the row; nothing has changed.
        """
        with _as_definition_error():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if self._first("definition_exists", id=new_id) is None:
                    self._make(template_id, new_id, now_ms)
                instances = self._repoint(template_id, new_id)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        return instances

    def _make(self, template_id: str, new_id: str, now_ms: int) -> None:
        name = self._name(template_id)
        columns = {column.lower() for column in table_columns(self._connection, "db_agent_definitions")}
        slug = self._free_slug(name) if "slug" in columns else None
        values = {
            "id": new_id,
            "name": name,
            "slug": slug,
            "is_seeded": 0,
            "parent_id": template_id,
            "created_at": now_ms,
            "updated_at": now_ms,
        }
        chosen = {column: f":{column}" for column in values} | {column: column for column in COPIED_COLUMNS}
        chosen = {column: value for column, value in chosen.items() if column in columns}
        self._insert("copy_definition", chosen, **values, template_id=template_id)
        for kind in ("content", "skills"):
            self._copy_children(kind, template_id, new_id)

    def _copy_children(self, kind: str, template_id: str, new_id: str) -> None:
        """Copy the template's rows in a table that hangs on definitions. What the table refuses is told of."""
        child = {}
        for column, numbered in table_columns(self._connection, f"db_agent_{kind}").items():
            quoted = '"' + column.replace('"', '""') + '"'
            if column.lower() == "agent_id":
                child[quoted] = ":new_id"
            elif column.lower() != "id":
                child[quoted] = quoted
            elif not numbered:
                child[quoted] = "new_id()"
        if not child:
            return
        copied = self._insert(f"copy_{kind}", child, new_id=new_id, template_id=template_id)
        (there,) = self._connection.execute(_SQL[f"count_{kind}"], {"template_id": template_id}).fetchone()
        if copied < there:
            _log.warning(
                "template_copied_in_part",
                template=template_id,
                kind=kind,
                left=there - copied,
            )

    def _name(self, template_id: str) -> str:
        """Return the name of the visible, named instance that was started last, else the template's (LEGACY.md 3.2)."""
        columns = {column.lower() for column in table_columns(self._connection, "db_agent_instances")}
        if "instance_name" in columns:
            statement = _SQL["instance_names"].format(
                visible="coalesce(display_hidden, 0) = 0" if "display_hidden" in columns else "TRUE",
                started_at="started_at" if "started_at" in columns else "NULL",
            )
            for (name,) in self._connection.execute(statement, {"template_id": template_id}):
                if name is not None and not is_blank_name(name):
                    return str(name)
        row = self._first("template_name", template_id=template_id)
        if row is None:
            raise DefinitionError(f"the template {template_id} is gone")
        return str(row[0] or "")

    def _free_slug(self, name: str) -> str:
        base = slug = slug_of(name)
        number = 1
        while self._first("slug_taken", slug=slug) is not None:
            number += 1
            slug = f"{base}-{number}"
        return slug

    def _repoint(self, template_id: str, new_id: str) -> int:
        if not table_columns(self._connection, "db_agent_instances"):
            return 0
        return self._connection.execute(
            _SQL["repoint_instances"], {"template_id": template_id, "new_id": new_id}
        ).rowcount

    def _insert(self, statement: str, columns: dict[str, str], **values: object) -> int:
        text = _SQL[statement].format(names=", ".join(columns), values=", ".join(columns.values()))
        return self._connection.execute(text, values).rowcount

    def _first(self, statement: str, **values: object) -> tuple[object, ...] | None:
        row: tuple[object, ...] | None = self._connection.execute(_SQL[statement], values).fetchone()
        return row

    def _data_version(self) -> object:
        return self._first("data_version")


@contextmanager
def _as_definition_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DefinitionError(f"objects.db cannot be written: {error}") from error
