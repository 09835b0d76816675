"""`migrate_promote_template_sessions_v1`: sessions of a template go to the user's own definition (LEGACY.md section 3).

Gated by the data. `objects.db` comes first, in one transaction: the new definition and the instances that point to it.
The sessions follow, in one transaction of the store. Whatever interrupts this, the template owns its sessions until
they have moved, so the next start sees that there is something left to do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from migrations.block_zones_v1 import store_refused
from migrations.legacy import is_locked
from migrations.legacy_definitions import DefinitionError, DefinitionWriter, read_templates
from migrations.marker import PromotionEvidence, SourceIdentity, identify, keep_marker_true, write_promotion_evidence
from migrations.promote_zones import plan_moves
from migrations.records import (
    PROMOTE_TEMPLATE_SESSIONS_V1,
    Failure,
    MigrationFailedError,
    MigrationInterruptedError,
    MigrationOutcome,
    MigrationReport,
    Progress,
    TemplatePromoteStats,
    promoted_id,
)
from migrations.sources import MigrationRun
from store.errors import StorageDamagedError, StoreError
from store.zones import is_valid_definition_id

_log = structlog.get_logger()


class _PromotionError(Exception):
    """One template is left for the next start."""


@dataclass(slots=True)
class _Tally:
    stats: TemplatePromoteStats = field(default_factory=TemplatePromoteStats)
    failures: tuple[Failure, ...] = ()

    def fail(self, what: str, why: str) -> None:
        _log.warning("not_migrated_yet", migration=PROMOTE_TEMPLATE_SESSIONS_V1, what=what, why=why)
        self.failures = (*self.failures, (what, why))
        self.stats += TemplatePromoteStats(failures=1)


async def migrate_promote_template_sessions_v1(run: MigrationRun) -> MigrationReport:
    """Promote every template that owns a session with content.

    Raises:
        MigrationFailedError: a file or table cannot be read, or the store takes nothing.
        MigrationInterruptedError: `run.stop()` became true. Whole templates are done, the rest is untouched.
    """
    tally = _Tally()
    templates: list[str] = []
    try:
        templates = await asyncio.to_thread(_templates, run)
    except MigrationFailedError as error:
        if not is_locked(error):
            raise
        tally.fail(str(run.sources.objects_path), "locked by another program")
    owning = [template_id for template_id in templates if await _owns_content(run, template_id)]
    if owning:
        await _promote_all(run, owning, tally)
    return MigrationReport(
        PROMOTE_TEMPLATE_SESSIONS_V1, _outcome(tally, owning), tally.stats, tally.failures, run.dry_run
    )


def _outcome(tally: _Tally, owning: list[str]) -> MigrationOutcome:
    if tally.failures:
        return MigrationOutcome.DONE_WITH_FAILURES
    return MigrationOutcome.DONE if owning else MigrationOutcome.NOTHING_TO_MIGRATE


def _templates(run: MigrationRun) -> list[str]:
    database = run.sources.objects()
    return [] if database is None else [name for name in read_templates(database) if is_valid_definition_id(name)]


async def _owns_content(run: MigrationRun, template_id: str) -> bool:
    return any(zone.size_bytes for zone in await run.store.zones_of(template_id))


async def _promote_all(run: MigrationRun, owning: list[str], tally: _Tally) -> None:
    path = run.sources.objects_path_to_write()
    tally.stats += TemplatePromoteStats(templates_scanned=len(owning))
    run.progress(Progress(PROMOTE_TEMPLATE_SESSIONS_V1, 0, len(owning)))
    try:
        writer = await asyncio.to_thread(_opened, path, run.busy_ms)
    except DefinitionError as error:
        for template_id in owning:
            tally.fail(template_id, str(error))
        return
    before = await asyncio.to_thread(identify, run.sources.paths)
    locked = ""
    try:
        for done, template_id in enumerate(owning, 1):
            if run.stop():
                raise MigrationInterruptedError(
                    f"{PROMOTE_TEMPLATE_SESSIONS_V1} was interrupted; the next start goes on"
                )
            if locked:
                tally.fail(template_id, locked)
            else:
                locked = await _try_to_promote(run, writer, template_id, tally)
            run.progress(Progress(PROMOTE_TEMPLATE_SESSIONS_V1, done, len(owning)))
    finally:
        await asyncio.to_thread(_finish, run, writer, before, tally.stats)


def _opened(path: Path | None, busy_ms: int) -> DefinitionWriter:
    if path is None:
        raise DefinitionError("objects.db is gone")
    return DefinitionWriter(path, busy_ms)


def _finish(
    run: MigrationRun, writer: DefinitionWriter, before: dict[str, SourceIdentity | None], stats: TemplatePromoteStats
) -> None:
    """Close `objects.db`. What we alone have changed in it needs no second look by the other migration."""
    with writer:
        wrote_alone = writer.wrote_alone()
    if run.dry_run:
        return
    if wrote_alone:
        keep_marker_true(run.data_dir, before, identify(run.sources.paths))
    if stats.templates_promoted or stats.archives_moved or stats.instances_repointed:
        write_promotion_evidence(run.data_dir, PromotionEvidence(run.now_ms(), stats))


async def _try_to_promote(run: MigrationRun, writer: DefinitionWriter, template_id: str, tally: _Tally) -> str:
    """Promote a template, or count a failure. Returns what keeps every other one from it too: a lock, waited for once."""
    try:
        await _promote(run, writer, template_id, tally)
    except (DefinitionError, _PromotionError) as error:
        tally.fail(template_id, str(error))
        return str(error) if is_locked(error) else ""
    return ""


async def _promote(run: MigrationRun, writer: DefinitionWriter, template_id: str, tally: _Tally) -> None:
    new_id = promoted_id(template_id)
    if not is_valid_definition_id(new_id):
        raise _PromotionError(f"the id {new_id} would be too long")
    try:
        plan = await plan_moves(run.store, template_id, new_id)
    except StoreError as error:
        raise _PromotionError(f"its sessions cannot be compared: {error}") from error
    instances = await asyncio.to_thread(writer.promote, template_id, new_id, run.now_ms())
    tally.stats += TemplatePromoteStats(instances_repointed=instances)
    try:
        outcomes = await run.store.apply(plan.changes)
    except StorageDamagedError as error:
        raise _PromotionError(f"its sessions cannot be moved: {error}") from error
    except StoreError as error:
        raise store_refused(error) from error
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    moved = sum(
        is_archive for is_archive, outcome in zip(plan.archives, outcomes, strict=True) if outcome not in refused
    )
    tally.stats += TemplatePromoteStats(archives_moved=moved)
    if refused:
        raise _PromotionError(f"not all of its sessions could be moved: {refused[0]}")
    tally.stats += TemplatePromoteStats(templates_promoted=1)
