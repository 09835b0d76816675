"""Checking a store in a database from outside (`zonekeeper doctor`): the server, what our role may do, and each session.

Daemons may go on writing meanwhile: each file is read in one transaction, which sees it as it was at one instant and holds up
nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from store import reads
from store.checks import TAKES_ROOM, FileName, Finding
from store.durability import Level
from store.errors import NoStoreYetError, StorageDamagedError, StoreAwayError, StoreError, StoreRefusedError
from store.handle import SessionKey
from store.lines import count_lines
from store.parts import Part
from store.place import Place, Reader
from store.postgres.durability import Facts
from store.postgres.handle import PostgresHandle
from store.postgres.schema import SCHEMA_VERSION
from store.postgres.statements import load_statements
from store.records import SessionFacts, Standing
from store.stored import read_parts
from store.zones import OUTPUT_FILE

CLOCK_MS_MAX: Final = 5_000
"""Archives of an agent are in order whatever the clocks of its daemons say; but people compare times."""

FINDINGS_MAX: Final = 1_000

_PAGE: Final = 500
_STATEMENTS: Final = load_statements("postgres_check.sql", "postgres_version.sql")
_CLOCK: Final = "Have both machines keep their clocks by NTP."
_RIGHTS: Final = "Grant what is missing, as the README says under PostgreSQL, or let the tables' owner run the daemon."

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class DatabaseCheck:
    """What was found in a database.

    Attributes:
        shown: names the database to people.
        exists: False where there is no store yet; then there is nothing else.
        is_open: it could be opened, and is a store that this version may read.
        server_version: of PostgreSQL.
        durability: what an acknowledgement means, by the word of its level.
        durability_words: the same for people.
        schema_version: of the stored form.
        standing: whose the sessions are.
        clock_ahead_ms: how far the server's clock is ahead of ours.
        daemon_connections: that daemons have to it.
        sessions: number of sessions.
        archives: number of archived ones among them.
        files: number of files.
        parts: number of parts.
        content_bytes: bytes in those parts.
        seconds: how long the check took.
        findings: what is wrong, or to be known.
        findings_left_off: how many more there are.
    """

    shown: str
    exists: bool = True
    is_open: bool = False
    server_version: str = ""
    durability: str = ""
    durability_words: str = ""
    schema_version: int = SCHEMA_VERSION
    standing: str = Standing.OWN
    clock_ahead_ms: int = 0
    daemon_connections: int = 0
    sessions: int = 0
    archives: int = 0
    files: int = 0
    parts: int = 0
    content_bytes: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    findings_left_off: int = 0

    def add(self, finding: Finding) -> None:
        """Keep what was found, as long as there is room."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)
        else:
            self.findings_left_off += 1


def check_database(place: Place, progress: Progress, wanted: Level = Level.DISK) -> DatabaseCheck:
    """Check a store. Nothing is written, and one that cannot be read is a finding, not an error.

    Args:
        place: where it is.
        progress: told how many sessions of how many were read.
        wanted: what an acknowledgement must mean at least.
    """
    began = time.monotonic()
    found = DatabaseCheck(place.shown)
    try:
        with place.reader(half_too=True) as reader:
            found.is_open = True
            _check_server(reader, found)
            _check_durability(reader, found, wanted)
            _check_sessions(reader, found, progress)
            _check_orphans(reader, found)
    except NoStoreYetError:
        found.exists = False
    except (StoreError, StoreRefusedError, StoreAwayError) as error:
        hint = error.hint if isinstance(error, StoreError) else "See to that, and run the doctor again."
        found.add(Finding("sessions" if found.is_open else "open", "STORE_UNREADABLE", str(error), hint))
    found.seconds = round(time.monotonic() - began, 3)
    return found


def _handle_of(reader: Reader) -> PostgresHandle:
    if not isinstance(reader.handle, PostgresHandle):
        raise TypeError("a reader of a database has a handle of one")
    return reader.handle


def _check_server(reader: Reader, found: DatabaseCheck) -> None:
    handle = _handle_of(reader)
    with reader.transaction():
        asked_ms = time.time() * 1_000
        ((found.server_version, server_ms),) = handle.fetch(_STATEMENTS["server"])
        found.clock_ahead_ms = round(server_ms - (asked_ms + time.time() * 1_000) / 2)
        ((_, found.standing),) = handle.fetch(_STATEMENTS["version"])
        found.daemon_connections = reader.daemons()
        missing = [right for (right,) in handle.fetch(_STATEMENTS["missing_rights"])]
    if abs(found.clock_ahead_ms) > CLOCK_MS_MAX:
        message = f"the server's clock differs from this machine's by {found.clock_ahead_ms / 1_000:.1f} s"
        found.add(Finding("server", "CLOCK_DIFFERS", message, _CLOCK, is_wrong=False))
    if missing:
        message = f"this role lacks rights that a daemon needs: {', '.join(missing)}"
        found.add(Finding("rights", "RIGHTS_MISSING", message, _RIGHTS))
    if found.standing == Standing.COPYING:
        hint = "Run the same zonekeeper copy again, which goes on where it was; no daemon opens it before."
        found.add(Finding("schema", "HALF_A_COPY", f"{found.shown} is a copy that is not whole", hint))


def _check_durability(reader: Reader, found: DatabaseCheck, wanted: Level) -> None:
    with reader.transaction() as handle:
        ((*row,),) = handle.rows("durability")
    facts = Facts(*row)
    durability = facts.durability(wanted)
    found.durability, found.durability_words = durability.level.word, durability.words
    if durability.level < wanted:
        message = f"--durability {wanted.word} asks for more than the server gives: {durability.words}"
        found.add(Finding("durability", "LESS_DURABLE", message, "Change the server's settings, or ask for less."))
    if facts.synchronous_standby_names and facts.synchronous_standbys == 0:
        message = f"commits wait for a standby ({facts.synchronous_standby_names}), and none is connected"
        found.add(Finding("durability", "STANDBY_MISSING", message, "See to the standby, or wait for it no more."))


def _check_sessions(reader: Reader, found: DatabaseCheck, progress: Progress) -> None:
    with reader.transaction() as handle:
        counts = reads.count_sessions(handle)
    found.sessions, found.archives = counts.sessions, counts.archives
    after, done = "", 0
    while True:
        with reader.transaction() as handle:
            page = reads.sessions_after(handle, after, _PAGE)
        for key, facts in page:
            _check_files(reader, found, key, facts)
            done += 1
            progress("content", min(done, found.sessions), found.sessions)
        if len(page) < _PAGE:
            return
        after = page[-1][1].session_id


def _check_orphans(reader: Reader, found: DatabaseCheck) -> None:
    handle = _handle_of(reader)
    home = session_id = ""
    while True:
        with reader.transaction():
            page = handle.fetch(_STATEMENTS["content_after"], home=home, session_id=session_id, limit=_PAGE)
            for home, session_id, is_there in page:
                if not is_there:
                    _tell_orphan(handle, found, home, session_id)
        if len(page) < _PAGE:
            return


def _tell_orphan(handle: PostgresHandle, found: DatabaseCheck, home: str, session_id: str) -> None:
    for name, parts, size_bytes in handle.fetch(_STATEMENTS["content_of"], home=home, session_id=session_id):
        message = f"{parts} parts of a file {name} ({size_bytes} bytes) belong to no zone (session {session_id})"
        found.add(Finding("orphans", "PARTS_WITHOUT_ZONE", message, TAKES_ROOM, file=name))


def _check_files(reader: Reader, found: DatabaseCheck, key: SessionKey, facts: SessionFacts) -> None:
    for file in facts.files:
        found.files += 1
        name = FileName(str(facts.zone), file.name)
        try:
            with reader.transaction() as handle:
                for part in read_parts(handle, key, facts.zone, file.name):
                    _check_part(found, name, part)
        except StorageDamagedError as error:
            found.add(Finding("files", "PART_DAMAGED", str(error), name.hint, zone=str(facts.zone), file=file.name))


def _check_part(found: DatabaseCheck, name: FileName, part: Part) -> None:
    found.parts += 1
    found.content_bytes += len(part.data)
    lines = count_lines(part.data) if name.name == OUTPUT_FILE else 0
    if lines != part.line_count:
        message = f"the part at byte {part.start_byte} says it has {part.line_count} lines, and it has {lines}"
        found.add(name.finding("LINES_MISCOUNTED", message, part.start_byte))
