"""Where a template's sessions go, and what happens where something is there already (LEGACY.md section 3.4).

No byte is lost and two sessions are never mixed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from migrations.legacy_json import high_water_mark
from migrations.records import CopyAction
from migrations.sources import SessionStore
from store.engine import Change, CompleteSession, MoveSession
from store.errors import StorageDamagedError
from store.limits import MIB, Limits
from store.records import FileStat, ZoneStat
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_archive_zone

_COMPARE_BYTES: Final = MIB

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to become of one file of the source.

    Attributes:
        name: of the file.
        action: what the table says.
        has_it_already: the target holds these very bytes, or an output that goes on from them.
    """

    name: str
    action: CopyAction
    has_it_already: bool = False


@dataclass(slots=True)
class MovePlan:
    """What makes a template own nothing.

    Attributes:
        changes: to apply in order, in one transaction.
        archives: which of them end as an archive of the new definition.
    """

    changes: list[Change] = field(default_factory=list)
    archives: list[bool] = field(default_factory=list)

    def add(self, change: Change, *, archive: bool) -> None:
        """Add a change, and say whether what it moves ends as an archive."""
        self.changes.append(change)
        self.archives.append(archive)


def action_by_time(source_ms: int, target_ms: int | None) -> CopyAction:
    """Say what the times of a file and of its namesake alone lead to; None where there is no namesake."""
    if target_ms is None:
        return CopyAction.COPY
    if source_ms == target_ms:
        return CopyAction.TIE_BREAK_BY_BYTES
    return CopyAction.OVERWRITE if source_ms > target_ms else CopyAction.PRESERVE


async def plan_moves(store: SessionStore, template_id: str, new_id: str) -> MovePlan:
    """Work out where each session of a template goes: the current one first, then archives by time.

    Reads files that meet a namesake, to compare them.

    Raises:
        StoreError: a session cannot be read.
    """
    plan = MovePlan()
    targets = {stat.zone: stat for stat in await store.zones_of(new_id)}
    for source in await store.zones_of(template_id):
        zone = Zone(new_id, source.zone.archived_at_ms)
        target = targets.get(zone)
        if target is None or _makes_way(target):
            plan.add(MoveSession(source.zone, zone), archive=zone.archived_at_ms is not None)
        else:
            await _plan_meeting(store, plan, source, target)
    return plan


def _makes_way(target: ZoneStat) -> bool:
    return target.zone.archived_at_ms is None and target.size_bytes == 0


async def _plan_meeting(store: SessionStore, plan: MovePlan, source: ZoneStat, target: ZoneStat) -> None:
    """Complete the target where it is the same session half moved, else keep both."""
    comparisons = await compare_sessions(store, source, target)
    is_archive = target.zone.archived_at_ms is not None
    missing = tuple(each.name for each in comparisons if each.action is CopyAction.COPY)
    if source.size_bytes == 0 or all(each.has_it_already or each.name in missing for each in comparisons):
        mark = await _mark_of_completed(store, source, target, missing)
        plan.add(CompleteSession(source.zone, target.zone, missing, mark), archive=is_archive)
        return
    conflicts = [each.name for each in comparisons if each.action is CopyAction.CONFLICT]
    if conflicts:
        _log.warning("both_sessions_kept", zone=str(source.zone), files=conflicts)
    if is_archive:
        plan.add(MoveSession(source.zone, target.zone), archive=True)
    elif not conflicts and source.modified_at_ms > target.modified_at_ms:
        _plan_archive_of(plan, target, target.zone.definition_id)
        plan.add(MoveSession(source.zone, target.zone), archive=False)
    else:
        _plan_archive_of(plan, source, target.zone.definition_id)


async def _mark_of_completed(
    store: SessionStore, source: ZoneStat, target: ZoneStat, missing: tuple[str, ...]
) -> int | None:
    """Read the mark of the snapshot that a completed session has: only now do snapshot and output come together."""
    if SNAPSHOT_FILE not in missing and OUTPUT_FILE not in missing:
        return None
    holder = source if SNAPSHOT_FILE in missing else target
    size_bytes = next((file.size_bytes for file in holder.files if file.name == SNAPSHOT_FILE), 0)
    if size_bytes > Limits().snapshot_bytes_max:
        return None
    content = bytearray()
    try:
        while chunk := await store.read_bytes(holder.zone, SNAPSHOT_FILE, len(content), _COMPARE_BYTES):
            content += chunk
    except StorageDamagedError:
        return None  # it moves as it is, for a backup to mend
    return await asyncio.to_thread(high_water_mark, bytes(content))


def _plan_archive_of(plan: MovePlan, session: ZoneStat, definition_id: str) -> None:
    archive = agent_archive_zone(definition_id, session.modified_at_ms)
    plan.add(MoveSession(session.zone, archive), archive=True)


async def compare_sessions(store: SessionStore, source: ZoneStat, target: ZoneStat) -> list[Comparison]:
    """Hold each file of a source against its namesake in the target."""
    namesakes = {file.name: file for file in target.files}
    return [await _compare(store, source.zone, file, target.zone, namesakes.get(file.name)) for file in source.files]


async def _compare(
    store: SessionStore, source: Zone, file: FileStat, target: Zone, namesake: FileStat | None
) -> Comparison:
    action = action_by_time(file.modified_at_ms, None if namesake is None else namesake.modified_at_ms)
    if namesake is None:
        return Comparison(file.name, action)
    goes_on = file.name == OUTPUT_FILE and namesake.size_bytes >= file.size_bytes
    if (goes_on or namesake.size_bytes == file.size_bytes) and await _begins_with(store, source, file, target):
        return Comparison(file.name, CopyAction.PRESERVE, has_it_already=True)
    return Comparison(file.name, CopyAction.CONFLICT if action is CopyAction.TIE_BREAK_BY_BYTES else action)


async def _begins_with(store: SessionStore, source: Zone, file: FileStat, target: Zone) -> bool:
    """Tell whether the target's file begins with all the bytes of the source's."""
    position = 0
    while position < file.size_bytes:
        wanted = min(_COMPARE_BYTES, file.size_bytes - position)
        ours = await store.read_bytes(source, file.name, position, wanted)
        theirs = await store.read_bytes(target, file.name, position, len(ours))
        # The store may answer with less than it was asked for.
        length = min(len(ours), len(theirs))
        if not length or ours[:length] != theirs[:length]:
            return False
        position += length
    return True
