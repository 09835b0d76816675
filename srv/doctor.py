"""`zonekeeper doctor`: checks the store, the migration and the environment, and changes nothing."""

from __future__ import annotations

import argparse

from srv import app
from srv.config import Settings
from srv.data_dir import STORE_FILE
from srv.doctor_environment import environment_checks, running_daemon
from srv.doctor_migration import migration_checks
from srv.doctor_report import Report
from srv.exits import Exit, StartFailedError
from srv.health import database_checks, store_checks
from srv.logs import configure_logs
from srv.output import write_out
from srv.progress import Show, progress_bar


def doctor(options: argparse.Namespace, settings: Settings) -> int:
    """Check everything and print the report."""
    configure_logs(None, "error")  # what would be logged as a warning is in the report
    if not settings.data_dir.is_dir():
        raise StartFailedError(Exit.WRONG_USAGE, f"the data directory {settings.data_dir} does not exist")
    with progress_bar() as show:
        report = examine(settings, show)
    write_out(report.as_json() if options.json else report.as_text())
    return Exit.STOPPED if report.is_ok else Exit.FAILED


def examine(settings: Settings, show: Show) -> Report:
    """Check a data directory, whether or not a daemon runs on it."""
    data_dir = settings.data_dir
    report = Report(data_dir)
    place = app.place_of(data_dir, settings.store)
    if settings.store is None:
        store = store_checks(data_dir / STORE_FILE, show)
    else:
        store = database_checks(place, show, settings.durability)
    migration, migration_facts = migration_checks(data_dir, settings.store, show, can_read_store=store.can_be_read)
    store_url, file_facts = (None, store.facts) if settings.store is None else (place.shown, None)
    environment, environment_facts = environment_checks(settings, running_daemon(data_dir), store_url, file_facts)
    report.checks = [*store.checks, *migration, *environment]
    report.findings_left_off = store.findings_left_off
    report.facts = {"store": store.facts, "migration": migration_facts, "environment": environment_facts}
    return report
