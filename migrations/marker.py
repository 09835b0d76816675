"""The marker files: what a finished migration says of itself, and of which files it speaks (LEGACY.md section 2).

A marker may lie: a database restored beside an old marker, a marker that came with an empty installation. So it names
the files by path, inode, size and time, with what SQLite keeps beside them; and it tells which store it was, and how many
origins that knew, because a marker beside another store, or one that was made anew, lies too.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import structlog

from migrations.legacy import file_states
from migrations.records import MIGRATION_MARKER_V1, TEMPLATE_PROMOTE_MARKER_V1, MigrationStats, TemplatePromoteStats

_log = structlog.get_logger()


class SourceIdentity(msgspec.Struct, frozen=True):
    """Which file a marker speaks of.

    Attributes:
        path: where it is.
        states: size in bytes, inode and modification time (unix ns) of the database (under ""), and of its `-wal` and
            `-journal`.
    """

    path: str
    states: dict[str, tuple[int, int, int]]


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """What `migration_agent_zones_v1.flag` holds.

    Attributes:
        migrated_at_ms: unix ms.
        stats: of that run.
        sources: the files it speaks of, by name; null where there was none.
        origins: number of origins the store knew afterwards.
        failures: why each zone or block could not be migrated.
        store: the identity of the store that took the sessions; null for the file of the data directory.
    """

    migrated_at_ms: int
    stats: MigrationStats
    sources: dict[str, SourceIdentity | None]
    origins: int
    failures: dict[str, str]
    store: str | None = None


class PromotionEvidence(msgspec.Struct, frozen=True):
    """What `migration_template_promote_v1.flag` holds."""

    promoted_at_ms: int
    stats: TemplatePromoteStats


def identify(paths: dict[str, Path | None]) -> dict[str, SourceIdentity | None]:
    """Take the identity of files as they are now."""
    return {name: None if path is None else _identity(path) for name, path in paths.items()}


def _identity(path: Path) -> SourceIdentity:
    real = os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")
    return SourceIdentity(real, file_states(path))


def read_marker(data_dir: Path) -> Marker | None:
    """Read the marker; None where there is none, or it is not one of ours: then it gates nothing."""
    path = data_dir / MIGRATION_MARKER_V1
    try:
        return msgspec.json.decode(path.read_bytes(), type=Marker)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _log.warning("migration_marker_unreadable", path=str(path), reason=str(error))
        return None


def write_marker(data_dir: Path, marker: Marker) -> None:
    """Write the marker, whole or not at all. Where that fails, the next start looks again: a warning is enough."""
    _write(data_dir / MIGRATION_MARKER_V1, marker)


def write_promotion_evidence(data_dir: Path, evidence: PromotionEvidence) -> None:
    """Write the evidence of a promotion that changed something, whole or not at all."""
    _write(data_dir / TEMPLATE_PROMOTE_MARKER_V1, evidence)


def keep_marker_true(
    data_dir: Path, before: dict[str, SourceIdentity | None], after: dict[str, SourceIdentity | None]
) -> None:
    """Name the files as they are after our own writing, in a marker that named them as they were before it."""
    marker = read_marker(data_dir)
    if marker is not None and marker.sources == before and before != after:
        write_marker(data_dir, msgspec.structs.replace(marker, sources=after))


def _write(path: Path, content: msgspec.Struct) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        _log.warning("migration_marker_not_written", path=str(path), reason=str(error))
