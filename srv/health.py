"""How the daemon is: for `srv:status`, and for whoever asks whether it is ready; and how a store is, for `doctor`."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from migrations.records import MigrationReport
from srv.doctor_report import Check, Finding, State
from srv.exits import Exit, StartFailedError
from srv.output import size_in_words
from srv.progress import Show
from srv.version import VERSION
from store.checks import Finding as StoreFinding
from store.durability import Level
from store.engine import Engine
from store.errors import StoreError
from store.place import Place
from store.records import SessionCounts
from store.sqlite.check import StoreCheck, check_store
from store.sqlite.structure import sqlite_facts
from store.writer import Writer

READ_SECONDS_MAX: Final = 2
"""A store that does not answer the smallest question in this time is not ready."""

_NO_ORPHANS: Final = "no content without a session"

RATE_BYTES_MIN: Final = 16 * 1024 * 1024
"""Below this the time that a check takes says nothing of its speed."""

_log = structlog.get_logger()


class Found(Protocol):
    """What checking a store has found, whatever engine keeps it."""

    is_open: bool
    findings: list[StoreFinding]


class Health:
    """Describes one daemon.

    Args:
        engine: the store.
        writer: the writer in front of it.
        reports: how the migrations went at the start.
        now_ms: the clock, in unix milliseconds.
    """

    def __init__(
        self, engine: Engine, writer: Writer, reports: Sequence[MigrationReport], now_ms: Callable[[], int]
    ) -> None:
        """Keep the collaborators, and begin to count."""
        self._parts: dict[str, Callable[[], dict[str, object]]] = {}
        self._engine = engine
        self._writer = writer
        self._reports = reports
        self._now_ms = now_ms
        self.started_at_ms = now_ms()

    def tell_of(self, **parts: Callable[[], dict[str, object]]) -> None:
        """Have further parts of the daemon described, each as the member of this name."""
        self._parts |= parts

    async def status(self) -> dict[str, Any]:
        """Return the result of `srv:status`: times in unix ms, sizes in bytes, counts None where the store cannot be read."""
        return {
            "version": VERSION,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "started_at_ms": self.started_at_ms,
            "uptime_ms": max(0, self._now_ms() - self.started_at_ms),
            "store": {"engine": self._engine.name, **await self._store()},
            "migrations": {report.name: migration_facts(report) for report in self._reports},
            "writer": self._writer.status(),
            **{name: describe() for name, describe in self._parts.items()},
        }

    async def _store(self) -> dict[str, object]:
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                return await self._engine.status()
        except (StoreError, TimeoutError):
            return self._engine.figures() | dict.fromkeys(each.name for each in fields(SessionCounts))

    async def is_ready(self) -> bool:
        """Tell whether the store can be read."""
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                await self._engine.list_agents(1, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is no
            _log.warning("not_ready", kind=type(error).__name__, error=str(error))
            return False
        return True


def migration_facts(report: MigrationReport) -> dict[str, Any]:
    """Return how a migration went: its outcome and its statistics."""
    return {"outcome": str(report.outcome), **asdict(report.stats)}


@dataclass(frozen=True, slots=True)
class StoreChecks:
    """What checking a store has shown.

    Attributes:
        checks: for people, a line each.
        facts: sizes in bytes and counts; None where there is no store yet.
        findings_left_off: how many findings there are beyond those of the checks.
        can_be_read: False where it is damaged beyond reading, foreign or too new.
    """

    checks: list[Check]
    facts: dict[str, Any] | None
    findings_left_off: int
    can_be_read: bool

    @property
    def wrong(self) -> list[str]:
        """The sentences of what is wrong."""
        findings = (finding for check in self.checks for finding in check.findings)
        return [finding.message for finding in findings if finding.level is State.WRONG]


def store_checks(path: Path, show: Show) -> StoreChecks:
    """Check a store, beside the daemon that owns it or where none runs. Nothing is written.

    Args:
        path: of the database.
        show: told how far the check is.
    """
    found = check_store(path, show)
    if not found.exists:
        none_yet = Check.of("store", "open", f"there is no {path} yet: the first start makes it")
        return StoreChecks([none_yet], None, 0, can_be_read=True)
    seen = {
        "open": f"{path}, {size_in_words(found.database_bytes)}",
        "schema": "as this version makes it",
        "structure": "SQLite finds nothing wrong",
        "sessions": f"{found.sessions} sessions, {found.archives} of them archived",
        "orphans": _NO_ORPHANS,
        "files": f"{found.files} files in {found.parts} parts, {_sizes(found)}{_rate(found.content_bytes, found.seconds)}",
    }
    checks = [_store_check(name, detail, found) for name, detail in seen.items()]
    not_facts = {"path", "exists", "is_open", "findings", "findings_left_off"}
    facts = {"path": str(path), **{name: value for name, value in asdict(found).items() if name not in not_facts}}
    return StoreChecks(checks, facts, found.findings_left_off, found.is_open)


def database_checks(place: Place, show: Show, durability: str) -> StoreChecks:
    """Check a store in a database, beside the daemons that use it or where there are none. Nothing is written.

    Args:
        place: where it is.
        show: told how far the check is.
        durability: what an acknowledgement must mean at least, as in the settings.
    """
    from store.postgres.check import check_database  # noqa: PLC0415 - asyncpg is there where it was asked for

    found = check_database(place, show, Level.of(durability))
    if not found.exists:
        none_yet = Check.of("store", "open", f"there is no store {place.shown} yet: the first start makes it")
        return StoreChecks([none_yet], None, 0, can_be_read=True)
    rate = _rate(found.content_bytes, found.seconds)
    seen = {
        "open": f"{found.shown}, {found.daemon_connections} connections of daemons",
        "schema": "as this version makes it"
        if found.standing != "copied"
        else "as this version makes it; not served yet",
        "server": f"PostgreSQL {found.server_version}, its clock {found.clock_ahead_ms:+d} ms",
        "durability": f"{found.durability}: {found.durability_words}",
        "rights": "all that a daemon needs",
        "sessions": f"{found.sessions} sessions, {found.archives} of them archived",
        "orphans": _NO_ORPHANS,
        "files": f"{found.files} files in {found.parts} parts, {size_in_words(found.content_bytes)}{rate}",
    }
    checks = [_store_check(name, detail, found) for name, detail in seen.items()]
    not_facts = {"exists", "is_open", "findings", "findings_left_off"}
    facts = {name: value for name, value in asdict(found).items() if name not in not_facts}
    return StoreChecks(checks, facts, found.findings_left_off, found.is_open)


def _sizes(found: StoreCheck) -> str:
    """Say how large all files are, and how much room that takes where it is less."""
    room = f" in {size_in_words(found.stored_bytes)}" if found.stored_bytes < found.content_bytes else ""
    return size_in_words(found.content_bytes) + room


def _rate(content_bytes: int, seconds: float) -> str:
    """Say how fast it was, where there was enough to tell."""
    if content_bytes < RATE_BYTES_MIN:
        return ""
    return f", {size_in_words(int(content_bytes / seconds))} a second"


def _store_check(name: str, detail: str, found: Found) -> Check:
    if not found.is_open and name != "open":
        return Check("store", name, State.SKIPPED, "the store cannot be read")
    findings = [
        Finding(
            each.word,
            State.WRONG if each.is_wrong else State.WARNING,
            each.message,
            each.hint,
            each.zone,
            each.file,
            each.start_byte,
        )
        for each in found.findings
        if each.check == name
    ]
    return Check.of("store", name, detail if not findings else f"{len(findings)} findings", findings)


def sqlite_settings(scratch: Path) -> dict[str, Any]:
    """Tell which SQLite this is, and which settings it keeps, set and read back as the daemon does it.

    Args:
        scratch: an empty directory, for the database that is made for it.

    Raises:
        StartFailedError: a setting does not take.
    """
    try:
        return sqlite_facts(scratch)
    except StoreError as error:
        raise StartFailedError(Exit.STORE_REFUSED, str(error)) from error
