"""What `zonekeeper doctor` says of old data: what there is, what the marker says, and whether anything is left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from migrations.legacy import FILESTORE_DB, OBJECTS_DB, find_legacy_file
from migrations.marker import Marker, identify, read_marker
from migrations.records import (
    MIGRATION_MARKER_V1,
    MigrationReport,
    MigrationStats,
    TemplatePromoteStats,
)
from migrations.records import Progress as MigrationProgress
from migrations.runner import plan_migrations
from srv import app, process
from srv.doctor_report import Check, Finding, State
from srv.exits import StartFailedError
from srv.output import size_in_words
from srv.progress import Show

AREA: Final = "migration"
_FAILURES_MAX: Final = 100

_MIGRATE: Final = "Run zonekeeper migrate --force, with the daemon stopped."


def migration_checks(
    data_dir: Path, store: str | None, show: Show, *, can_read_store: bool
) -> tuple[list[Check], dict[str, Any] | None]:
    """Check whether anything is left to migrate; returns the checks, and the member `migration` of the JSON.

    The old data is only read, from copies in the system's temporary directory.
    """
    paths = {name: find_legacy_file(data_dir, name) for name in (OBJECTS_DB, FILESTORE_DB)}
    found = [path for path in paths.values() if path is not None]
    if not found:
        return [Check.of(AREA, "old data", f"none in {data_dir / 'db'} or in {data_dir}")], None
    detail = ", ".join(f"{path.name} ({size_in_words(_size(path))})" for path in found)
    checks = [Check.of(AREA, "old data", detail), Check.of(AREA, "marker", _marker_detail(data_dir, paths))]
    if not can_read_store:
        checks.append(Check(AREA, "left behind", State.SKIPPED, "the store cannot be read"))
        return checks, None

    def progress(now: MigrationProgress) -> None:
        show(now.migration, now.done, now.total)

    try:
        with app.failures_as_exits():
            reports = process.run(_left_to_migrate(data_dir, store, progress))
    except StartFailedError as error:
        hint = "Close every program that uses the old data, and look at it and at the disk."
        unreadable = Finding("OLD_DATA_UNREADABLE", State.WRONG, str(error), hint)
        return [*checks, Check.of(AREA, "left behind", "cannot be told", [unreadable])], None
    checks.append(_left_behind(reports))
    return checks, {report.name: asdict(report.stats) for report in reports}


async def _left_to_migrate(
    data_dir: Path, store: str | None, progress: Callable[[MigrationProgress], None]
) -> list[MigrationReport]:
    """Ask what a migration would do whatever the marker says."""
    place = app.place_of(data_dir, store)
    return await place.ask(
        lambda sessions: plan_migrations(data_dir, sessions, now_ms=app.now_ms, force=True, progress=progress)
    )


def _marker_detail(data_dir: Path, paths: dict[str, Path | None]) -> str:
    """Say what the marker says of these files."""
    marker = read_marker(data_dir)
    if marker is None:
        return f"there is no {MIGRATION_MARKER_V1} that could be read: every start looks"
    return f"of {_time(marker.migrated_at_ms)}; {_marker_meaning(marker, paths)}"


def _marker_meaning(marker: Marker, paths: dict[str, Path | None]) -> str:
    if marker.failures:
        return f"lists {len(marker.failures)} failures: every start looks"
    try:
        is_of_these = marker.sources == identify(paths)
    except OSError:
        is_of_these = False
    return "speaks of these files" if is_of_these else "speaks of other files: the next start looks"


def _left_behind(reports: list[MigrationReport]) -> Check:
    findings: list[Finding] = []
    for report in reports:
        findings += _findings(report)
    left = [finding for finding in findings if finding.level is State.LEFT]
    detail = "nothing" if not findings else f"{len(left)} things left, {len(findings) - len(left)} failed"
    return Check.of(AREA, "left behind", detail, findings)


def _findings(report: MigrationReport) -> list[Finding]:
    found = []
    stats = report.stats
    if isinstance(stats, MigrationStats):
        sessions = stats.zones_adopted + stats.archives_written + stats.current_zones_seeded
        if sessions:
            message = f"{sessions} sessions of the old data are not in the store"
            found.append(Finding("SESSIONS_LEFT", State.LEFT, message, _MIGRATE))
    if isinstance(stats, TemplatePromoteStats) and stats.templates_scanned:
        message = f"{stats.templates_scanned} templates own sessions, which belong to a definition of the user's own"
        found.append(
            Finding("TEMPLATES_LEFT", State.LEFT, message, "The next start moves them; so does zonekeeper migrate.")
        )
    for place, reason in report.failures[:_FAILURES_MAX]:
        message = f"{place} cannot be migrated: {reason}"
        hint = "It is tried again at each start; migrations/README.md tells what can be done."
        found.append(Finding("MIGRATION_FAILS", State.WRONG, message, hint))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _time(at_ms: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"  # no time that a calendar has; the marker may hold anything
