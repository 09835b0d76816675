"""A store beside a legacy data directory, and both migrations with a clock that stands still."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from migrations import MigrationReport, MigrationStats, Progress, TemplatePromoteStats, plan_migrations, run_migrations
from store.engine import Engine
from store.sqlite import open_sqlite
from store.zones import parse_zone

NOW_MS = 1_800_000_000_000
BUSY_MS = 50

Files = dict[str, tuple[bytes, int]]
"""Content and time of change (unix ms) by name."""


@dataclass
class Migration:
    """Runs the migrations of one data directory into one engine, and looks at what came of it."""

    data_dir: Path
    engine: Engine
    progress: list[Progress] = field(default_factory=list)

    async def run(self, *, force: bool = False, stop: Callable[[], bool] = lambda: False) -> Run:
        """Run both."""
        reports = await run_migrations(
            self.data_dir,
            self.engine,
            now_ms=lambda: NOW_MS,
            progress=self.progress.append,
            stop=stop,
            force=force,
            busy_ms=BUSY_MS,
        )
        return Run(reports)

    async def plan(self, *, force: bool = False, store: bool = True) -> Run:
        """Run neither: say what running would do."""
        engine = self.engine if store else None
        reports = await plan_migrations(
            self.data_dir, engine, now_ms=lambda: NOW_MS, force=force, progress=self.progress.append, busy_ms=BUSY_MS
        )
        return Run(reports)

    async def zones(self) -> dict[str, Files]:
        """Read every session of the store."""
        return await zones_in(self.engine)

    async def session_ids(self) -> dict[str, str]:
        """Return the session id by zone."""
        agents = await self.engine.list_agents(1_000, None)
        stats = [stat for agent in agents for stat in await self.engine.zones_of(agent.definition_id)]
        return {stat.zone: stat.session_id for stat in stats}

    async def covers_line(self, zone_name: str) -> int | None:
        """Return how many lines of the output the snapshot of a zone says it contains."""
        zone = parse_zone(zone_name)
        assert zone is not None
        mount = await self.engine.mount(zone, 10, 1_000_000)
        assert mount is not None
        return mount.covers_line


@dataclass(frozen=True)
class Run:
    """The two reports of a run."""

    reports: list[MigrationReport]

    @property
    def blocks(self) -> MigrationStats:
        """What the migration of block zones did."""
        stats = self.reports[0].stats
        assert isinstance(stats, MigrationStats)
        return stats

    @property
    def templates(self) -> TemplatePromoteStats:
        """What the promotion of template sessions did."""
        stats = self.reports[1].stats
        assert isinstance(stats, TemplatePromoteStats)
        return stats

    @property
    def outcomes(self) -> tuple[str, str]:
        """How both ended."""
        first, second = self.reports
        return str(first.outcome), str(second.outcome)

    @property
    def failures(self) -> dict[str, str]:
        """What failed, and why."""
        return dict(self.reports[0].failures + self.reports[1].failures)


async def zones_in(engine: Engine) -> dict[str, Files]:
    """Read every session of a store."""
    found: dict[str, Files] = {}
    for agent in await engine.list_agents(1_000, None):
        for stat in await engine.zones_of(agent.definition_id):
            found[str(stat.zone)] = {
                file.name: (await read_all(engine, str(stat.zone), file.name), file.modified_at_ms)
                for file in stat.files
            }
    return found


async def read_all(engine: Engine, zone_name: str, name: str) -> bytes:
    """Read a whole file."""
    zone = parse_zone(zone_name)
    assert zone is not None
    content = b""
    while piece := await engine.read_bytes(zone, name, len(content), 1_000_000):
        content += piece
    return content


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[Migration]:
    """Open the store of a data directory."""
    (data_dir / "db").mkdir(parents=True, exist_ok=True)
    engine = await open_sqlite(data_dir / "db" / "zones.db")
    try:
        yield Migration(data_dir, engine)
    finally:
        await engine.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data directory."""
    path = tmp_path / "data"
    path.mkdir()
    return path


Open = Callable[[], Awaitable[Migration]]


@pytest.fixture
async def open_store(data_dir: Path) -> AsyncIterator[Open]:
    """Open the store of `data_dir`; call it once the legacy directory is made."""
    engines: list[Engine] = []

    async def open_it() -> Migration:
        (data_dir / "db").mkdir(exist_ok=True)
        engines.append(await open_sqlite(data_dir / "db" / "zones.db"))
        return Migration(data_dir, engines[-1])

    yield open_it
    for engine in engines:
        await engine.close()


def rows(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Ask a legacy database."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement, values).fetchall()


def names_in(path: Path) -> set[str]:
    """Name what is in a directory."""
    return {each.name for each in path.iterdir()}


def tree(path: Path) -> dict[str, tuple[str, int]]:
    """Take the digest and time of every file in a directory."""
    return {
        str(file.relative_to(path)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
