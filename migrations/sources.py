"""The two legacy databases of one data directory, opened when they are first needed, and what must be true of a store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from migrations.legacy import FILESTORE_DB, OBJECTS_DB, LegacyDatabase, find_legacy_file, open_for_reading
from migrations.records import Progress
from store.engine import Change, Outcome
from store.place import StoredSessions

SCRATCH_DIR: Final = "migration_copies"
"""In the data directory: copies of databases that cannot be read where they are. Removed at the end, or at the next start."""


class SessionStore(StoredSessions, Protocol):
    """What the migrations ask of a store: what is stored, and to take sessions over."""

    async def apply(self, batch: Sequence[Change]) -> list[Outcome]:
        """See `Engine.apply`."""


class LegacySources:
    """Where the legacy databases are, and one connection to each.

    Attributes:
        objects_path: of `objects.db`, None where there is none.
        filestore_path: of `filestore.db`, None where there is none.
    """

    def __init__(self, data_dir: Path, scratch: Path, *, dry_run: bool, busy_ms: int) -> None:
        """Look for the databases; open none yet.

        Args:
            data_dir: the data directory.
            scratch: where copies go.
            dry_run: read copies only, so that nothing in the data directory changes.
            busy_ms: how long to wait for another program's lock.
        """
        self.objects_path = find_legacy_file(data_dir, OBJECTS_DB)
        self.filestore_path = find_legacy_file(data_dir, FILESTORE_DB)
        self._scratch = scratch
        self._dry_run = dry_run
        self._busy_ms = busy_ms
        self._open: dict[Path, LegacyDatabase] = {}

    @property
    def paths(self) -> dict[str, Path | None]:
        """The databases by name."""
        return {OBJECTS_DB: self.objects_path, FILESTORE_DB: self.filestore_path}

    def objects(self) -> LegacyDatabase | None:
        """Open `objects.db` for reading; None where there is none. Raises as `open_for_reading` does."""
        return self._database(self.objects_path)

    def filestore(self) -> LegacyDatabase | None:
        """Open `filestore.db` for reading; None where there is none. Raises as `open_for_reading` does."""
        return self._database(self.filestore_path)

    def objects_path_to_write(self) -> Path | None:
        """Say what promotion writes to: `objects.db` itself, or in a dry run its copy. Reading ends first.

        The last connection that closes takes the WAL with it, and only one that may write can do that.
        """
        path = self.objects_path
        database = None if path is None else self._open.pop(path, None)
        if database is None:
            return path
        database.close()
        return database.opened_path if self._dry_run else path

    def close(self) -> None:
        """Let go of the databases, and remove the copies."""
        for database in self._open.values():
            database.close()
        self._open.clear()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _database(self, path: Path | None) -> LegacyDatabase | None:
        if path is None:
            return None
        if path not in self._open:
            self._open[path] = open_for_reading(path, self._scratch, only_copy=self._dry_run, busy_ms=self._busy_ms)
        return self._open[path]


@dataclass(frozen=True, slots=True)
class MigrationRun:
    """What both migrations are given.

    Attributes:
        data_dir: the data directory.
        sources: the legacy databases.
        store: where sessions go.
        now_ms: the clock, unix ms.
        progress: told after each definition.
        stop: tells whether the process was asked to stop.
        force: look again, whatever the marker says.
        dry_run: write nothing; `store` is a rehearsal.
        busy_ms: how long to wait for another program's lock on `objects.db`.
    """

    data_dir: Path
    sources: LegacySources
    store: SessionStore
    now_ms: Callable[[], int]
    progress: Callable[[Progress], None]
    stop: Callable[[], bool]
    force: bool
    dry_run: bool
    busy_ms: int
