"""`migrate_block_zones_v1`: zones of a later build and of blocks become sessions of agents (LEGACY.md section 2).

A definition is one transaction. Each session remembers where it came from, so looking twice is harmless.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from migrations.block_zones_plan import AgentPlan, LegacyAgents
from migrations.legacy import OBJECTS_DB
from migrations.marker import Marker, SourceIdentity, identify, read_marker, write_marker
from migrations.records import (
    BLOCK_ZONES_V1,
    Failure,
    MigrationFailedError,
    MigrationInterruptedError,
    MigrationOutcome,
    MigrationReport,
    MigrationStats,
    Progress,
)
from migrations.sources import MigrationRun
from store.engine import Outcome
from store.errors import StorageDamagedError, StoreError
from store.zones import agent_current_zone

_log = structlog.get_logger()


@dataclass(slots=True)
class _Tally:
    stats: MigrationStats = field(default_factory=MigrationStats)
    failures: tuple[Failure, ...] = ()

    def fail(self, what: str, why: str) -> None:
        _log.warning("not_migrated_yet", migration=BLOCK_ZONES_V1, what=what, why=why)
        self.failures = (*self.failures, (what, why))
        self.stats += MigrationStats(failures=1)


async def migrate_block_zones_v1(run: MigrationRun) -> MigrationReport:
    """Migrate what the marker does not say is migrated.

    Raises:
        MigrationFailedError: a file or table cannot be read, or the store cannot take the sessions. No marker is
        written. MigrationInterruptedError: `run.stop()` became true. Whole definitions are done, the rest is untouched.
    """
    paths = run.sources.paths
    if not any(paths.values()):
        return MigrationReport(BLOCK_ZONES_V1, MigrationOutcome.NOTHING_TO_MIGRATE, MigrationStats(), (), run.dry_run)
    origins = await run.store.origins()
    if not run.force and await asyncio.to_thread(_gated, run, len(origins)):
        return MigrationReport(BLOCK_ZONES_V1, MigrationOutcome.GATED_BY_MARKER, MigrationStats(), (), run.dry_run)
    # A journal is rolled back by opening, so the identity is taken after it, and before anything is read.
    filestore = await asyncio.to_thread(run.sources.filestore)
    objects = await asyncio.to_thread(run.sources.objects)
    sources = await asyncio.to_thread(identify, paths)
    agents = await asyncio.to_thread(LegacyAgents, filestore, objects, origins)
    tally = await _migrate(run, agents)
    if paths[OBJECTS_DB] is not None and not run.dry_run:
        await _write_marker(run, sources, tally)
    outcome = MigrationOutcome.DONE_WITH_FAILURES if tally.failures else MigrationOutcome.DONE
    return MigrationReport(BLOCK_ZONES_V1, outcome, tally.stats, tally.failures, run.dry_run)


def _gated(run: MigrationRun, origins: int) -> bool:
    """Believe the marker where it lists no failure, and speaks of these files and of this store."""
    marker = read_marker(run.data_dir)
    if marker is None or marker.failures or run.sources.objects_path is None:
        return False
    is_of_this_store = marker.store == run.store.identity and marker.origins <= origins
    if not is_of_this_store or marker.sources != identify(run.sources.paths):
        _log.info("migration_marker_outdated", migration=BLOCK_ZONES_V1)
        return False
    return True


async def _write_marker(run: MigrationRun, sources: dict[str, SourceIdentity | None], tally: _Tally) -> None:
    origins = len(await run.store.origins())
    failures = dict(tally.failures)
    marker = Marker(
        migrated_at_ms=run.now_ms(),
        stats=tally.stats,
        sources=sources,
        origins=origins,
        failures=failures,
        store=run.store.identity,
    )
    await asyncio.to_thread(write_marker, run.data_dir, marker)


async def _migrate(run: MigrationRun, agents: LegacyAgents) -> _Tally:
    tally = _Tally()
    for what, why in agents.failures:
        tally.fail(what, why)
    definition_ids = agents.definition_ids
    run.progress(Progress(BLOCK_ZONES_V1, 0, len(definition_ids)))
    for done, definition_id in enumerate(definition_ids, 1):
        if run.stop():
            raise MigrationInterruptedError(f"{BLOCK_ZONES_V1} was interrupted; the next start goes on")
        current = await run.store.zone_stat(agent_current_zone(definition_id))
        has_current = current is not None and current.size_bytes > 0
        plan = await asyncio.to_thread(agents.plan, definition_id, run.now_ms(), has_current=has_current)
        await _carry_out(run, plan, tally)
        run.progress(Progress(BLOCK_ZONES_V1, done, len(definition_ids)))
    return tally


async def _carry_out(run: MigrationRun, plan: AgentPlan, tally: _Tally) -> None:
    """Apply a definition's plan in one transaction, and count what became of it."""
    tally.stats += plan.stats
    for what, why in plan.failures:
        tally.fail(what, why)
    if not plan.steps:
        return
    outcomes = await _apply(run, plan)
    failed: dict[str, str] = {}
    for step, outcome in zip(plan.steps, outcomes, strict=True):
        if isinstance(outcome, Exception):
            failed.setdefault(step.failure, str(outcome))  # the first tells why; the other only follows from it
        else:
            tally.stats += step.counts_as
    for what, why in failed.items():
        tally.fail(what, why)


async def _apply(run: MigrationRun, plan: AgentPlan) -> list[Outcome]:
    try:
        return await run.store.apply([step.change for step in plan.steps])
    except StorageDamagedError as error:
        return [error] * len(plan.steps)
    except StoreError as error:
        raise store_refused(error) from error


def store_refused(error: StoreError) -> MigrationFailedError:
    """Say that the store itself takes nothing: going on with the next definition would not help."""
    return MigrationFailedError(f"the store cannot take over old sessions: {error}. {error.hint} Then start again.")


__all__: Final = ["migrate_block_zones_v1", "store_refused"]
