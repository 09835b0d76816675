"""What the migrations report, and the words they use (LEGACY.md)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

MIGRATION_MARKER_V1: Final = "migration_agent_zones_v1.flag"
"""In the data directory: says that the block zones were migrated, and from which files."""

TEMPLATE_PROMOTE_MARKER_V1: Final = "migration_template_promote_v1.flag"
"""In the data directory: evidence of the last promotion that changed something. Never read."""

BLOCK_ZONES_V1: Final = "migrate_block_zones_v1"
PROMOTE_TEMPLATE_SESSIONS_V1: Final = "migrate_promote_template_sessions_v1"

PROMOTED_ID_PREFIX: Final = "template-promote-v1-"
"""Before a template's id: the fixed id of the user's definition that its sessions move to (LEGACY.md section 3.3)."""

Failure = tuple[str, str]
"""What could not be migrated (an origin such as `block:<oid>`, a template, a file), and why."""


class MigrationFailedError(Exception):
    """A migration cannot run: ends the start-up with exit code 5. `str(error)` says what, where and what to do about it."""


class MigrationInterruptedError(Exception):
    """The process was asked to stop between two definitions. What is done stays done; the next start goes on."""


class CopyAction(StrEnum):
    """What comparing a file of a template's session with its namesake in the target says (LEGACY.md section 3.4).

    `TIE_BREAK_BY_BYTES` is what the times alone say where they are equal; the bytes then make it `PRESERVE` or
    `CONFLICT`.
    """

    COPY = "copy"
    PRESERVE = "preserve"
    OVERWRITE = "overwrite"
    TIE_BREAK_BY_BYTES = "tie_break_by_bytes"
    CONFLICT = "conflict"


class MigrationOutcome(StrEnum):
    """How a migration ended. In a dry run: how it would end."""

    DONE = "done"
    DONE_WITH_FAILURES = "done with failures"
    GATED_BY_MARKER = "gated by marker"
    NOTHING_TO_MIGRATE = "nothing to migrate"


@dataclass(frozen=True, slots=True)
class MigrationStats:
    """What one run of `migrate_block_zones_v1` did.

    Attributes:
        zones_adopted: zones of a later build that were taken over.
        files_damaged: files that claimed more bytes than are stored.
        blocks_scanned: agent blocks with a valid definition id.
        archives_written: blocks that became an archive.
        archives_already_present: blocks that had been migrated before, by us or by a later build.
        current_zones_seeded: agents that got a current session from their newest block.
        skipped_no_snapshot: blocks without a snapshot, or with an empty one.
        failures: zones and blocks that could not be migrated.
    """

    zones_adopted: int = 0
    files_damaged: int = 0
    blocks_scanned: int = 0
    archives_written: int = 0
    archives_already_present: int = 0
    current_zones_seeded: int = 0
    skipped_no_snapshot: int = 0
    failures: int = 0

    def __add__(self, other: MigrationStats) -> MigrationStats:
        """Sum two runs, field by field."""
        return MigrationStats(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class TemplatePromoteStats:
    """What one run of `migrate_promote_template_sessions_v1` did.

    Attributes:
        templates_scanned: templates that owned a session with content.
        templates_promoted: those of them that own nothing any more.
        archives_moved: sessions that ended as an archive of the new definition.
        instances_repointed: instances that point to the new definition now.
        failures: templates left for the next start.
    """

    templates_scanned: int = 0
    templates_promoted: int = 0
    archives_moved: int = 0
    instances_repointed: int = 0
    failures: int = 0

    def __add__(self, other: TemplatePromoteStats) -> TemplatePromoteStats:
        """Sum two runs, field by field."""
        return TemplatePromoteStats(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration is: `done` of `total` definitions."""

    migration: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """How one migration went, or would go.

    Attributes:
        name: of the migration.
        outcome: how it ended.
        stats: what it did, all zeros where it did nothing.
        failures: what could not be migrated and is tried again at the next start.
        dry_run: nothing was written; the rest tells what would have been.
    """

    name: str
    outcome: MigrationOutcome
    stats: MigrationStats | TemplatePromoteStats
    failures: tuple[Failure, ...] = ()
    dry_run: bool = False

    @property
    def changed_something(self) -> bool:
        """Tell whether a session was taken over or moved, or failed to be. In a forced dry run: whether anything is left."""
        if isinstance(self.stats, TemplatePromoteStats):
            return self.stats.templates_scanned > 0 or self.stats.failures > 0
        done = self.stats.zones_adopted + self.stats.archives_written + self.stats.current_zones_seeded
        return done + self.stats.failures > 0


def promoted_id(template_id: str) -> str:
    """Name the user's definition that a template's sessions move to."""
    return PROMOTED_ID_PREFIX + template_id
