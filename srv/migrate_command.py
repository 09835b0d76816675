"""`zonekeeper migrate`: both migrations without serving, and their report for people or as JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from migrations.records import MigrationInterruptedError, MigrationOutcome, MigrationReport, Progress
from migrations.runner import plan_migrations, run_migrations
from srv import app, process
from srv.config import Settings
from srv.data_dir import DataDir, DataDirError, DataDirInUseError
from srv.escapes import escaped
from srv.exits import Exit, StartFailedError
from srv.health import migration_facts
from srv.logs import configure_logs
from srv.output import write_out
from srv.progress import progress_bar

_OUTCOMES: Final = {MigrationOutcome.GATED_BY_MARKER: "already done"}
"""For people, where the word of the protocol says little to them."""


def migrate(options: argparse.Namespace, settings: Settings) -> int:
    """Migrate, or with `--dry-run` tell what that would do, and print the report."""
    configure_logs(settings.log_format, settings.log_level)
    if not settings.data_dir.is_dir():
        raise StartFailedError(Exit.WRONG_USAGE, f"the data directory {settings.data_dir} does not exist")
    try:
        reports = process.run(_migrate(settings, is_dry_run=options.dry_run, force=options.force))
    except DataDirInUseError as error:
        raise StartFailedError(Exit.DATA_DIR_IN_USE, f"{error}; stop it first") from error
    except DataDirError as error:
        raise StartFailedError(Exit.WRONG_USAGE, str(error)) from error
    except MigrationInterruptedError as error:
        raise StartFailedError(Exit.FAILED, "interrupted; run it again to go on where it stopped") from error
    write_out(
        _json_report(reports) if options.json else _report(settings.data_dir, reports, is_dry_run=options.dry_run)
    )
    return Exit.FAILED if any(report.failures for report in reports) else Exit.STOPPED


async def _migrate(settings: Settings, *, is_dry_run: bool, force: bool) -> list[MigrationReport]:
    stop = process.stop_at_signal()
    path, store = settings.data_dir, settings.store
    data_dir = DataDir(path)
    with progress_bar() as show:

        def progress(step: Progress) -> None:
            show(step.migration, step.done, step.total)

        if is_dry_run:
            data_dir.lock_without_a_trace()
            with data_dir, app.failures_as_exits():
                return await app.place_of(path, store).ask(
                    lambda sessions: plan_migrations(
                        path, sessions, now_ms=app.now_ms, force=force, progress=progress, stop=stop.is_set
                    ),
                    is_held=True,
                )
        data_dir.lock()
        with data_dir, app.failures_as_exits():
            engine = await app.open_store(path, store, app.terms_of(settings))
            try:
                return await run_migrations(
                    path, engine, now_ms=app.now_ms, progress=progress, stop=stop.is_set, force=force
                )
            finally:
                await engine.close()


def _report(data_dir: Path, reports: list[MigrationReport], *, is_dry_run: bool) -> str:
    lines = ["dry run: nothing was written; this is what would be done", ""] if is_dry_run else []
    for report in reports:
        lines.append(f"{report.name}: {_OUTCOMES.get(report.outcome, report.outcome)}")
        lines += [f"  {name.replace('_', ' '):<25}{number:>9}" for name, number in asdict(report.stats).items()]
        lines += [f"  failed: {escaped(place)}: {escaped(reason)}" for place, reason in report.failures]
    if all(report.outcome is MigrationOutcome.NOTHING_TO_MIGRATE for report in reports):
        lines += ["", f"looked for the data of an AgentMux installation in {data_dir / 'db'} and in {data_dir}"]
    return "\n".join(lines)


def _json_report(reports: list[MigrationReport]) -> str:
    return json.dumps({report.name: _facts(report) for report in reports}, indent=2)


def _facts(report: MigrationReport) -> dict[str, Any]:
    failed = [{"place": place, "reason": reason} for place, reason in report.failures]
    return {"dry_run": report.dry_run, **migration_facts(report), "failed": failed}
