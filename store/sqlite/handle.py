"""`Handle` over SQLite: the statements of `store/sql/`, carried out through one of its connections."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Any, Final

from store.handle import Handle, PartRow, SessionKey
from store.pieces import CompressedPart
from store.sql import load
from store.zones import Zone

_STATEMENTS: Final = load("sqlite_zones.sql") | load("sqlite_parts.sql") | load("sqlite_compression.sql")
_PUT_PART: Final = _STATEMENTS["put_part"]
_GROW_PART: Final = _STATEMENTS["grow_part"]


class SqliteHandle(Handle):
    """Asks one connection. A session's key is the number of its row.

    Attributes:
        connection: the connection.
    """

    __slots__ = ("_version", "connection")

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take the connection over."""
        self.connection = connection
        self._version = 0

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """See `Handle.rows`."""
        for name in ("keys", "definition_ids"):
            if name in values:
                values[name] = json.dumps(values[name])
        return self.connection.execute(_STATEMENTS[statement], values).fetchall()

    def each(self, statement: str, **values: Any) -> Generator[tuple[Any, ...], None, None]:
        """See `Handle.each`."""
        with closing(self.connection.execute(_STATEMENTS[statement], values)) as rows:
            yield from rows

    def put_parts(self, rows: Sequence[PartRow], grown: Sequence[PartRow] = ()) -> None:
        """See `Handle.put_parts`."""
        if grown and self.connection.executemany(_GROW_PART, grown).rowcount != len(grown):
            self.connection.executemany(_PUT_PART, grown)  # somebody else has taken some away
        if rows:
            self.connection.executemany(_PUT_PART, rows)

    def replace_part(self, key: SessionKey, part: CompressedPart) -> bool:
        """Store a part compressed, unless it was written anew since; tells whether it was stored."""
        values = {"key": key, **asdict(part)}
        return self.connection.execute(_STATEMENTS["compress_part"], values).rowcount == 1

    def insert_zone(
        self, zone: Zone, session_id: str, created_at_ms: int, covers_line: int | None, origin: str | None
    ) -> SessionKey:
        """See `Handle.insert_zone`."""
        values = {
            "zone": zone,
            "definition_id": zone.definition_id,
            "archived_at_ms": zone.archived_at_ms,
            "session_id": session_id,
            "created_at_ms": created_at_ms,
            "covers_line": covers_line,
            "origin": origin,
        }
        return self.connection.execute(_STATEMENTS["insert_zone"], values).lastrowid

    def rename_zone(self, key: SessionKey, source: Zone, target: Zone) -> None:  # noqa: ARG002 - the key alone tells the row here
        """See `Handle.rename_zone`."""
        values = {
            "key": key,
            "zone": target,
            "definition_id": target.definition_id,
            "archived_at_ms": target.archived_at_ms,
        }
        self.connection.execute(_STATEMENTS["rename_zone"], values)

    @contextmanager
    def change_apart(self) -> Iterator[None]:
        """See `Handle.change_apart`."""
        self.connection.execute("SAVEPOINT change")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO change")
                self.connection.execute("RELEASE change")
            raise
        self.connection.execute("RELEASE change")

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """See `Handle.read_transaction`."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def is_changed_elsewhere(self) -> bool:
        """See `Handle.is_changed_elsewhere`."""
        version = int(self.connection.execute("PRAGMA data_version").fetchone()[0])
        is_other = version != self._version
        self._version = version
        return is_other

    def close(self) -> None:
        """See `Handle.close`."""
        self.connection.close()
