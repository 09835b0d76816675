"""What `migrate_block_zones_v1` is to do for one agent: worked out from the legacy databases, before anything is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import structlog

from migrations.legacy import LegacyDatabase, LegacyReadError
from migrations.legacy_blocks import AgentBlock, read_agent_blocks
from migrations.legacy_files import LegacyFile, LegacyFiles
from migrations.legacy_json import high_water_mark
from migrations.records import Failure, MigrationStats, promoted_id
from store.engine import ImportSession
from store.limits import Limits
from store.records import ImportFile
from store.zones import SNAPSHOT_FILE, Zone, agent_archive_zone, agent_current_zone

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """One session to take over.

    Attributes:
        failure: what it is called if that fails. The two sessions of one block fail together, under one name.
        change: what takes it over.
        counts_as: what it counts as once it is.
    """

    failure: str
    change: ImportSession
    counts_as: MigrationStats


@dataclass(slots=True)
class AgentPlan:
    """What to do for one agent.

    Attributes:
        has_current: the agent has a current session with content, or will have by the steps so far.
        steps: the sessions to take over, in order.
        stats: what is known before: blocks scanned, skipped or there already, damaged files.
        failures: what cannot be read.
    """

    has_current: bool
    steps: list[Step] = field(default_factory=list)
    stats: MigrationStats = field(default_factory=MigrationStats)
    failures: list[Failure] = field(default_factory=list)


class LegacyAgents:
    """The agents that legacy data speaks of.

    Attributes:
        definition_ids: of the agents, those with zones of a later build first.
        failures: rows that cannot be read.
    """

    def __init__(self, filestore: LegacyDatabase | None, objects: LegacyDatabase | None, origins: set[str]) -> None:
        """Read which zones and blocks there are.

        Args:
            filestore: the database of files.
            objects: the database of blocks.
            origins: what was taken over before.

        Raises:
            MigrationFailedError: a table cannot be read, or lacks a column.
        """
        self._files = LegacyFiles(filestore)
        self._origins = origins
        self._zones: dict[str, list[Zone]] = defaultdict(list)
        self._blocks: dict[str, list[AgentBlock]] = defaultdict(list)
        for zone in self._files.agent_zones():
            self._zones[zone.definition_id].append(zone)
        blocks, self.failures = read_agent_blocks(objects)
        for block in blocks:
            self._blocks[block.definition_id].append(block)
        self.definition_ids = list(dict.fromkeys((*self._zones, *self._blocks)))

    def plan(self, definition_id: str, now_ms: int, *, has_current: bool) -> AgentPlan:
        """Work out what to do for an agent; reads the lengths of its files, and snapshots.

        Args:
            definition_id: the agent.
            now_ms: unix ms, for files without a usable time.
            has_current: the store has a current session with content for it.
        """
        plan = AgentPlan(has_current)
        # Archives come first: a current session that has to become one does not take their milliseconds.
        for zone in sorted(self._zones.get(definition_id, ()), key=_archives_by_time_then_current):
            origin = f"zone:{zone}"
            if origin not in self._origins:
                with _failing(plan, origin):
                    self._adopt(plan, zone, origin, now_ms)
        self._plan_blocks(plan, definition_id, now_ms)
        return plan

    def _adopt(self, plan: AgentPlan, zone: Zone, origin: str, now_ms: int) -> None:
        """Take over a zone that a later build wrote, under its own name where that is free (LEGACY.md section 2.0)."""
        files = self._files.files_of(zone)
        _count_damaged(plan, files)
        if not any(file.size_bytes for file in files):
            return
        target = zone
        if zone.archived_at_ms is None:
            if plan.has_current:
                modified = max((file.modified_at_ms or file.created_at_ms or 0 for file in files), default=0)
                target = agent_archive_zone(zone.definition_id, modified or now_ms)
            plan.has_current = True
        created = min((file.created_at_ms or file.modified_at_ms or now_ms for file in files), default=now_ms)
        change = _import(target, files, created, origin, now_ms)
        plan.steps.append(Step(origin, change, MigrationStats(zones_adopted=1)))

    def _plan_blocks(self, plan: AgentPlan, definition_id: str, now_ms: int) -> None:
        blocks = [self._look_at(block) for block in self._blocks.get(definition_id, ())]
        newest = max((found for found in blocks if found.may_have_snapshot), key=lambda found: found.rank, default=None)
        later_build = _SnapshotsOfLaterBuild(self._archives_of_later_build(definition_id)) if blocks else None
        for found in blocks:
            plan.stats += MigrationStats(blocks_scanned=1)
            with _failing(plan, found.block.origin):
                files, snapshot = found.content()
                if not found.migrated_before and snapshot is None:
                    plan.stats += MigrationStats(skipped_no_snapshot=1)
                    _count_damaged(plan, files)
                elif found.migrated_before or snapshot is None or (later_build and later_build.has(snapshot)):
                    plan.stats += MigrationStats(archives_already_present=1)
                else:
                    self._take_over(plan, found.block, files, snapshot, now_ms, seeds=found is newest)

    def _take_over(
        self,
        plan: AgentPlan,
        block: AgentBlock,
        files: list[LegacyFile],
        snapshot: LegacyFile,
        now_ms: int,
        *,
        seeds: bool,
    ) -> None:
        """Make an archive of a block, and of the newest one the current session too, where there is none."""
        created = snapshot.created_at_ms or snapshot.modified_at_ms or now_ms
        archive = _import(agent_archive_zone(block.definition_id, created), files, created, block.origin, now_ms)
        _count_damaged(plan, files)
        seed_origin = f"current:{block.origin}"
        if seeds and not plan.has_current and seed_origin not in self._origins:
            tie = _Tie()
            seed = replace(
                archive,
                zone=agent_current_zone(block.definition_id),
                origin=seed_origin,
                files=tie.first(archive.files),
            )
            archive = replace(archive, files=tie.then(archive.files))
            plan.steps.append(Step(block.origin, seed, MigrationStats(current_zones_seeded=1)))
            plan.has_current = True
        plan.steps.append(Step(block.origin, archive, MigrationStats(archives_written=1)))

    def _look_at(self, block: AgentBlock) -> _FoundBlock:
        migrated_before = block.origin in self._origins
        modified = self._files.modified_of(block.oid, SNAPSHOT_FILE)
        try:
            return _FoundBlock(block, modified, migrated_before, self._files.files_of(block.oid))
        except LegacyReadError as error:
            return _FoundBlock(block, modified, migrated_before, error)

    def _archives_of_later_build(self, definition_id: str) -> Iterator[LegacyFile]:
        """Yield the snapshots of the archives that a later build made for an agent, or for its promoted definition."""
        for agent in (definition_id, promoted_id(definition_id)):
            for zone in self._zones.get(agent, ()):
                try:
                    files = self._files.files_of(zone) if zone.archived_at_ms is not None else []
                except LegacyReadError:
                    continue  # counted as a failure where the zone itself is taken over
                yield from (file for file in files if file.name == SNAPSHOT_FILE and file.size_bytes)


@dataclass(frozen=True, slots=True)
class _FoundBlock:
    """A block and its zone, or why its zone cannot be read."""

    block: AgentBlock
    modified: float | None
    migrated_before: bool
    files: list[LegacyFile] | LegacyReadError

    @property
    def may_have_snapshot(self) -> bool:
        """Tell whether it takes part in the choice of the newest: with a snapshot that cannot be read now, too."""
        return self.modified is not None and (isinstance(self.files, LegacyReadError) or self.content()[1] is not None)

    @property
    def rank(self) -> float:
        """The snapshot's time of change; of equal ones `max` keeps the first."""
        return self.modified or 0

    def content(self) -> tuple[list[LegacyFile], LegacyFile | None]:
        """Return the files of its zone, and the snapshot where it has a byte."""
        if isinstance(self.files, LegacyReadError):
            raise self.files
        snapshot = next((file for file in self.files if file.name == SNAPSHOT_FILE and file.size_bytes), None)
        return self.files, snapshot


class _SnapshotsOfLaterBuild:
    """Tells whether a snapshot has the same bytes as an archive that a later build made."""

    def __init__(self, snapshots: Iterator[LegacyFile]) -> None:
        self._by_size: dict[int, list[LegacyFile]] = defaultdict(list)
        self._digests: dict[LegacyFile, bytes] = {}
        for snapshot in snapshots:
            self._by_size[snapshot.size_bytes].append(snapshot)

    def has(self, snapshot: LegacyFile) -> bool:
        """Compare sizes first, so that content is read only where it may be the same."""
        same_size = self._by_size.get(snapshot.size_bytes, ())
        digest = snapshot.digest() if same_size else b""
        return any(self._digest(other) == digest for other in same_size)

    def _digest(self, snapshot: LegacyFile) -> bytes | None:
        if snapshot not in self._digests:
            try:
                self._digests[snapshot] = snapshot.digest()
            except LegacyReadError:
                return None
        return self._digests[snapshot]


class _Tie:
    """Lets a block's archive be stored only where the current session seeded from it was.

    An archive alone would say that the block was migrated, and then its agent would never get the session back in its
    pane.
    """

    def __init__(self) -> None:
        self._stored = False

    def first(self, files: tuple[ImportFile, ...]) -> tuple[ImportFile, ...]:
        """Wrap the files whose storing comes first."""
        return tuple(replace(file, chunks=self._noted(file.chunks, last=file is files[-1])) for file in files)

    def then(self, files: tuple[ImportFile, ...]) -> tuple[ImportFile, ...]:
        """Wrap the files whose storing depends on it."""
        return tuple(replace(file, chunks=self._checked(file.chunks)) for file in files)

    def _noted(self, chunks: Callable[[], Iterable[bytes]], *, last: bool) -> Callable[[], Iterator[bytes]]:
        def read() -> Iterator[bytes]:
            self._stored = False
            yield from chunks()
            self._stored = last

        return read

    def _checked(self, chunks: Callable[[], Iterable[bytes]]) -> Callable[[], Iterator[bytes]]:
        def read() -> Iterator[bytes]:
            if not self._stored:
                raise LegacyReadError("the current session that it seeds could not be stored")
            yield from chunks()

        return read


def _archives_by_time_then_current(zone: Zone) -> tuple[bool, int]:
    return zone.archived_at_ms is None, zone.archived_at_ms or 0


@contextmanager
def _failing(plan: AgentPlan, what: str) -> Iterator[None]:
    try:
        yield
    except LegacyReadError as error:
        plan.failures.append((what, str(error)))


def _count_damaged(plan: AgentPlan, files: list[LegacyFile]) -> None:
    for file in files:
        if file.damaged:
            _log.warning("legacy_file_torn", zone=file.zone, file=file.name, bytes=file.size_bytes)
            plan.stats += MigrationStats(files_damaged=1)


def _import(zone: Zone, files: list[LegacyFile], created_at_ms: int, origin: str, now_ms: int) -> ImportSession:
    snapshot = next((file for file in files if file.name == SNAPSHOT_FILE and file.size_bytes), None)
    return ImportSession(
        zone=zone,
        files=tuple(file.to_import(now_ms) for file in files),
        created_at_ms=created_at_ms,
        origin=origin,
        covers_line=None if snapshot is None else _mark_of(snapshot),
    )


def _mark_of(snapshot: LegacyFile) -> int | None:
    """Read a snapshot's mark. A snapshot too large to be served is not looked into. Raises as `LegacyFile.chunks` does."""
    if snapshot.size_bytes > Limits().snapshot_bytes_max:
        return None
    return high_water_mark(b"".join(snapshot.chunks()))
