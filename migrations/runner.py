"""Runs both migrations, in order, before the listener opens; or tells what they would do."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import structlog

from migrations.block_zones_v1 import migrate_block_zones_v1
from migrations.promote_template_sessions_v1 import migrate_promote_template_sessions_v1
from migrations.records import MigrationInterruptedError, MigrationReport, Progress
from migrations.rehearsal import Rehearsal
from migrations.sources import SCRATCH_DIR, LegacySources, MigrationRun
from store.engine import Engine
from store.place import StoredSessions

BUSY_MS: Final = 5_000
"""How long to wait for another program's lock on a legacy database, before a file or a template counts as locked."""

_log = structlog.get_logger()


async def run_migrations(
    data_dir: Path,
    engine: Engine,
    *,
    now_ms: Callable[[], int],
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    force: bool = False,
    busy_ms: int = BUSY_MS,
) -> list[MigrationReport]:
    """Run `migrate_block_zones_v1`, then `migrate_promote_template_sessions_v1`. Doing it again changes nothing.

    One process at a time may do this to a data directory. Of the daemons on one database one migrates, and the others wait for
    that and then look themselves; what an earlier one has taken over is there by then.

    Args:
        data_dir: the data directory, where the legacy databases are looked for and the markers stand.
        engine: the store that takes the sessions.
        now_ms: the clock, unix ms.
        progress: told at the beginning of a migration and after each definition, on the event loop.
        stop: tells whether the process was asked to stop; asked between definitions.
        force: look again, whatever the marker says.
        busy_ms: how long to wait for another program's lock.

    Returns:
        How each migration went, in order.

    Raises:
        MigrationFailedError: exit code 5. Nothing is recorded as done that is not; the next start tries again.
        MigrationInterruptedError: `stop` returned true. The next start goes on.
        StoreError: the store cannot be read.
    """
    sources = LegacySources(data_dir, data_dir / SCRATCH_DIR, dry_run=False, busy_ms=busy_ms)
    await asyncio.to_thread(sources.close)  # removes what a killed run left behind
    run = MigrationRun(data_dir, sources, engine, now_ms, progress, stop, force=force, dry_run=False, busy_ms=busy_ms)
    if not any(sources.paths.values()):
        return await _run(run)
    async with engine.turn(stop) as is_ours:
        if not is_ours:
            raise MigrationInterruptedError("another daemon migrates to the same store; the next start goes on")
        return await _run(run)


async def plan_migrations(
    data_dir: Path,
    engine: StoredSessions | None,
    *,
    now_ms: Callable[[], int],
    force: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    busy_ms: int = BUSY_MS,
) -> list[MigrationReport]:
    """Tell what `run_migrations` would do. Nothing in the data directory changes, and no store is made or written.

    The legacy databases are read from copies in the system's temporary directory, which needs room for them. With
    `force`, a report whose `changed_something` is true means that there is something left to migrate, whatever the
    marker says.

    Args:
        data_dir: the data directory.
        engine: the store, of which only the sessions are read, or None where there is none yet.
        now_ms: the clock, unix ms.
        force: look again, whatever the marker says.
        progress: as in `run_migrations`.
        stop: as in `run_migrations`.
        busy_ms: as in `run_migrations`.

    Raises:
        MigrationFailedError, MigrationInterruptedError, StoreError: as `run_migrations`.
    """
    scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="zonekeeper-dry-run-"))
    sources = LegacySources(data_dir, scratch, dry_run=True, busy_ms=busy_ms)
    store = Rehearsal(engine)
    run = MigrationRun(data_dir, sources, store, now_ms, progress, stop, force=force, dry_run=True, busy_ms=busy_ms)
    return await _run(run)


async def _run(run: MigrationRun) -> list[MigrationReport]:
    reports = []
    try:
        for migrate in (migrate_block_zones_v1, migrate_promote_template_sessions_v1):
            report = await migrate(run)
            _log.info(
                "migration_done",
                migration=report.name,
                outcome=str(report.outcome),
                dry_run=report.dry_run,
                **asdict(report.stats),
            )
            reports.append(report)
    finally:
        await asyncio.to_thread(run.sources.close)
    return reports
