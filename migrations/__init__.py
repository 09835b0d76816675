"""What an AgentMux installation left behind becomes today's sessions, before the listener opens. See README.md."""

from migrations.records import (
    BLOCK_ZONES_V1,
    MIGRATION_MARKER_V1,
    PROMOTE_TEMPLATE_SESSIONS_V1,
    TEMPLATE_PROMOTE_MARKER_V1,
    CopyAction,
    Failure,
    MigrationFailedError,
    MigrationInterruptedError,
    MigrationOutcome,
    MigrationReport,
    MigrationStats,
    Progress,
    TemplatePromoteStats,
)
from migrations.runner import plan_migrations, run_migrations

__all__ = [
    "BLOCK_ZONES_V1",
    "MIGRATION_MARKER_V1",
    "PROMOTE_TEMPLATE_SESSIONS_V1",
    "TEMPLATE_PROMOTE_MARKER_V1",
    "CopyAction",
    "Failure",
    "MigrationFailedError",
    "MigrationInterruptedError",
    "MigrationOutcome",
    "MigrationReport",
    "MigrationStats",
    "Progress",
    "TemplatePromoteStats",
    "plan_migrations",
    "run_migrations",
]
