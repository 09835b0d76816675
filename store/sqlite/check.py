"""Checking a store from outside (`zonekeeper doctor`, and every backup): whose file it is, its structure, and each session.

A daemon may go on writing meanwhile. So all that must agree is read in one transaction, and none is long: a read
transaction keeps SQLite from beginning the write-ahead log anew. A large file is read in slices; where a slice ends on a
part that is not the same any more in the next transaction, the slice is read again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from store.checks import TAKES_ROOM, FileName, Finding, check_zone
from store.errors import StorageUnavailableError, StoreRefusedError
from store.limits import MIB
from store.sql import load
from store.sqlite.check_files import FileCheck
from store.sqlite.failures import store_error
from store.sqlite.looking import LOG_SUFFIX, look_at, size_of, transaction
from store.sqlite.schema import SCHEMA_VERSION, check_version, log_left_of
from store.sqlite.structure import check_structure, fresh_schema_objects, journal_mode, schema_objects

Progress = Callable[[str, int, int], None]
"""Told what is being looked at, how far it is and how much there is, in bytes; 0 of 0 where nobody knows."""

SLICE_BYTES: Final = 64 * MIB
"""So much content is read in one transaction: a second even on a slow disk."""

LOG_GROWTH_BYTES_MAX: Final = 256 * MIB
"""The check of the structure is one transaction, however large the store. It is given up once the log has grown by this."""

FINDINGS_MAX: Final = 1_000
FINDINGS_OF_FILE_MAX: Final = 10
"""More of the same says nothing new."""

_ZONES_OF_TRANSACTION: Final = 200
_ROWS_MAX: Final = 100
_BEFORE_ALL: Final = -(2**63)

_STATEMENTS: Final = load("sqlite_check.sql")

_LITESTREAM: Final = {"_litestream_seq", "_litestream_lock"}
"""What copies the store as it grows makes these tables in it, and they come along with what it restores."""

_RESTORE_STORE: Final = (
    "Stop the daemon, keep a copy of db/zones.db and what lies beside it, and restore it from a backup."
)
_REINDEX: Final = 'Stop the daemon, copy db/zones.db, and let SQLite make its indexes anew: sqlite3 zones.db "REINDEX".'


@dataclass(slots=True)
class StoreCheck:
    """What was found in a store.

    Attributes:
        path: of the database.
        exists: False where there is no store yet; then there is nothing else.
        is_open: it could be opened, and is a store that this version may read.
        database_bytes: size of the database.
        log_bytes: size of its write-ahead log.
        journal_mode: `wal`, or `delete` for a copy that no daemon has opened yet.
        sessions: number of sessions.
        archives: number of archived ones among them.
        files: number of files.
        parts: number of parts.
        content_bytes: bytes in those parts.
        stored_bytes: bytes that those are stored in; fewer where they are compressed.
        seconds: how long the check took.
        findings: what is wrong, or to be known.
        findings_left_off: how many more there are.
    """

    path: Path
    exists: bool = True
    is_open: bool = False
    database_bytes: int = 0
    log_bytes: int = 0
    journal_mode: str = ""
    sessions: int = 0
    archives: int = 0
    files: int = 0
    parts: int = 0
    content_bytes: int = 0
    stored_bytes: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    findings_left_off: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.is_wrong for finding in self.findings)

    def add(self, *findings: Finding) -> None:
        """Keep what was found, as long as there is room."""
        room = max(0, FINDINGS_MAX - len(self.findings))
        self.findings += findings[:room]
        self.findings_left_off += len(findings[room:])


def check_store(
    path: Path,
    progress: Progress = lambda _what, _done, _total: None,
    *,
    slice_bytes: int = SLICE_BYTES,
    log_growth_bytes_max: int = LOG_GROWTH_BYTES_MAX,
) -> StoreCheck:
    """Check a store. Nothing is written, and a store that cannot be read is a finding, not an error.

    Args:
        path: of the database.
        progress: told how far the check is.
        slice_bytes: content that one transaction may read.
        log_growth_bytes_max: what the log of a running daemon may grow by while the structure is checked.
    """
    started = time.monotonic()
    found = StoreCheck(path)

    def look(connection: sqlite3.Connection) -> StoreCheck:
        check = StoreCheck(path)
        _Checker(connection, check, progress, slice_bytes, log_growth_bytes_max).run()
        return check

    try:
        found.exists = path.exists() and not (path.is_file() and path.stat().st_size == 0)
        if found.exists:
            found = look_at(path, look)
        elif (log := log_left_of(path)) is not None:
            message = f"the store {path} is empty or missing, but {log} holds changes to it"
            hint = "Put that very file back; or move the log away, which fits no other, and restore the store from a backup."
            found.exists = True
            found.add(Finding("open", "STORE_EMPTIED", message, hint))
    except StoreRefusedError as error:
        found.add(Finding("open", "STORE_REFUSED", str(error), "Install the version that wrote it, or move it away."))
    except sqlite3.Error as error:
        found.add(_unreadable("open", f"the store {path}", error))
    except OSError as error:
        hint = "Look at its permissions and at the disk."
        found.add(Finding("open", "STORE_UNREADABLE", f"the store {path} cannot be read: {error.strerror}", hint))
    found.database_bytes = size_of(path)
    found.log_bytes = size_of(path.with_name(path.name + LOG_SUFFIX))
    found.seconds = time.monotonic() - started
    return found


class _Checker:
    """One look at one store, through one handle."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        found: StoreCheck,
        progress: Progress,
        slice_bytes: int,
        log_growth_bytes_max: int,
    ) -> None:
        self._connection = connection
        self._found = found
        self._progress = progress
        self._log_growth_bytes_max = log_growth_bytes_max
        self._files = FileCheck(connection, slice_bytes, self._tell)
        self._database_bytes = 0
        self._read_bytes = 0

    def run(self) -> None:
        """Check everything.

        Raises:
            StoreRefusedError: it is not a store that we may read.
            sqlite3.Error: nothing of it can be read.
        """
        check_version(self._connection, self._found.path)
        self._found.journal_mode = journal_mode(self._found.path)
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        self._database_bytes = pages * page_bytes
        self._found.is_open = True
        for check, place, look in (
            ("schema", "the schema", self._schema),
            ("structure", "the database", self._structure),
            ("sessions", "the list of sessions", self._sessions_twice),
            ("orphans", "the list of parts", self._orphans),
            ("files", "the list of sessions", self._zones),
        ):
            with self._failing(check, place):
                look()

    @contextmanager
    def _failing(self, check: str, place: str) -> Iterator[None]:
        """Make a finding of what SQLite cannot read, and go on with the rest."""
        try:
            yield
        except sqlite3.Error as error:
            self._found.add(_unreadable(check, place, error))

    def _schema(self) -> None:
        """Compare tables and indexes with those of a store that is made anew."""
        expected, stored = fresh_schema_objects(), schema_objects(self._connection)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version < SCHEMA_VERSION:
            message = (
                f"the stored form is {version}, this version's is {SCHEMA_VERSION}: the next start brings it up to date"
            )
            self._found.add(Finding("schema", "SCHEMA_OLD", message, "Nothing need be done.", is_wrong=False))
            return
        for name in sorted(expected.keys() - stored.keys()):
            message = f"the {expected[name][0]} {name} is missing"
            hint = _REINDEX if name.startswith("sqlite_autoindex") else _RESTORE_STORE
            self._found.add(Finding("schema", "SCHEMA_DIFFERS", message, hint))
        for name in sorted(expected.keys() & stored.keys()):
            if expected[name] != stored[name]:
                message = f"the {stored[name][0]} {name} is not as this version makes it"
                self._found.add(Finding("schema", "SCHEMA_DIFFERS", message, _RESTORE_STORE))
        for name in sorted(stored.keys() - expected.keys() - _LITESTREAM):
            message = f"there is a {stored[name][0]} {name} that Zonekeeper did not make"
            hint = "Drop it while the daemon is stopped, unless you know what it is for."
            self._found.add(Finding("schema", "SCHEMA_FOREIGN", message, hint, is_wrong=stored[name][0] == "trigger"))

    def _structure(self) -> None:
        """Let SQLite check pages, trees and indexes."""
        log = self._found.path.with_name(self._found.path.name + LOG_SUFFIX)
        log_bytes_max = size_of(log) + self._log_growth_bytes_max
        self._progress("structure", 0, 0)
        messages = check_structure(self._connection, lambda: size_of(log) > log_bytes_max)
        if messages is None:
            message = "the structure was not checked to the end, because the daemon writes so much meanwhile"
            hint = "Run this once more while the daemon is stopped, or less busy."
            self._found.add(Finding("structure", "STRUCTURE_UNCHECKED", message, hint, is_wrong=False))
            return
        for message in messages:
            hint = _REINDEX if "index" in message else _RESTORE_STORE
            self._found.add(Finding("structure", "STRUCTURE_DAMAGED", f"SQLite says: {message}", hint))

    def _sessions_twice(self) -> None:
        hint = "Restore the store from a backup."
        for session_id, number in self._rows("session_ids_twice"):
            message = f"{number} zones have the session id {session_id}"
            self._found.add(Finding("sessions", "SESSION_TWICE", message, hint))
        for definition_id, archived_at_ms, number in self._rows("zones_twice"):
            kind = "current sessions" if archived_at_ms is None else f"archives of {archived_at_ms}"
            message = f"agent {definition_id} has {number} {kind}"
            self._found.add(Finding("sessions", "ZONE_TWICE", message, hint))

    def _orphans(self) -> None:
        for zone_id, name, number, size_bytes in self._rows("parts_without_zone"):
            message = f"{number} parts of a file {name} ({size_bytes} bytes) belong to no zone (zone_id {zone_id})"
            self._found.add(Finding("orphans", "PARTS_WITHOUT_ZONE", message, TAKES_ROOM, file=str(name)))

    def _rows(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        wanted = {"limit": _ROWS_MAX} | values
        return self._connection.execute(_STATEMENTS[statement], wanted).fetchall()

    def _zones(self) -> None:
        """Check every session, some in one transaction."""
        after: int | None = _BEFORE_ALL
        while after is not None:
            with transaction(self._connection):
                self._files.begin()
                after = self._some_zones(after)
        self._progress("content", self._database_bytes, self._database_bytes)

    def _some_zones(self, after: int) -> int | None:
        """Check sessions until the transaction has read enough; returns the row of the last one, None after the last."""
        rows = self._rows("zones_after", after=after, limit=_ZONES_OF_TRANSACTION)
        for zone_id, *row in rows:
            self._zone(zone_id, tuple(row))
            if self._files.is_spent:
                return int(zone_id)
        return int(rows[-1][0]) if rows else None

    def _zone(self, zone_id: int, row: tuple[object, ...]) -> None:
        self._found.add(*check_zone(row))
        self._found.sessions += 1
        self._found.archives += row[2] is not None
        zone = str(row[0])
        names: list[tuple[object]] = []
        with self._failing("files", f"the list of files of zone {zone}"):
            names = self._connection.execute(_STATEMENTS["file_names"], {"zone_id": zone_id}).fetchall()
        for (name,) in names:
            with self._failing("files", f"zone {zone}, file {name}"):
                self._file(zone_id, FileName(zone, str(name)), name)

    def _file(self, zone_id: int, file: FileName, name: object) -> None:
        slices = self._files.check(zone_id, file, name)
        findings = [finding for each in slices for finding in each.findings]
        self._found.add(*findings[:FINDINGS_OF_FILE_MAX])
        self._found.findings_left_off += len(findings[FINDINGS_OF_FILE_MAX:])
        parts = slices[-1].end.parts
        self._found.files += parts > 0  # what has gone meanwhile is none
        self._found.parts += parts
        self._found.content_bytes += sum(each.size_bytes for each in slices)
        self._found.stored_bytes += sum(each.stored_bytes for each in slices)

    def _tell(self, size_bytes: int) -> None:
        self._read_bytes += size_bytes
        self._progress("content", min(self._read_bytes, self._database_bytes), self._database_bytes)


def _unreadable(check: str, place: str, error: sqlite3.Error) -> Finding:
    """Say what SQLite cannot read."""
    failure = store_error(error, place)
    if isinstance(failure, StorageUnavailableError):
        message = f"{place} cannot be read at the moment ({getattr(error, 'sqlite_errorname', error)})"
        hint = "Look at permissions and at the disk, close other programs that use it, and try again."
        return Finding(check, "STORE_UNREADABLE", message, hint)
    return Finding(check, "STRUCTURE_DAMAGED", f"{place} cannot be read: {error}", _RESTORE_STORE)
