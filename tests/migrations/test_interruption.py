"""Whatever interrupts a migration, starting it again ends in the same state (DESIGN.md promise 6)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrations import MIGRATION_MARKER_V1, MigrationFailedError, MigrationInterruptedError
from migrations.records import promoted_id
from store.engine import Change, Outcome
from store.errors import StorageFullError
from tests.legacy_dirs import BEGINNING_MS, LegacyDir, snapshot
from tests.migrations.conftest import Migration, Open, opened, rows

AGENTS, TEMPLATES = 5, 2
"""How many transactions the migration of `old_dir` takes: one for each agent and one for each template."""

State = tuple[Any, ...]


def make(path: Path) -> None:
    """Make a directory with everything in it: blocks, zones of a later build, templates with sessions half moved."""
    with LegacyDir(path) as legacy:
        legacy.template("t1", shell="zsh")
        legacy.template("t2")
        legacy.objects.execute("INSERT INTO db_agent_content VALUES ('t1', 'soul', 'text', 5)")
        legacy.instance("i1", "t1", "Maks", 1)
        legacy.instance("i2", "t2", "Maks", 1)
        for oid, agent in (("1", "a"), ("2", "a"), ("3", "b"), ("4", "t1"), ("5", "t1")):
            legacy.block(oid, agent)
            legacy.session(oid, f"block {oid}", created=BEGINNING_MS + int(oid))
        legacy.session("agent:b:archive:5", "archive of b")
        legacy.session("agent:t2:current", "current of t2")
        legacy.file(f"agent:{promoted_id('t2')}:current", "output.state.json", snapshot("current of t2"))
        legacy.session("agent:t2:archive:7", "archive of t2")


@pytest.fixture
def old_dir(data_dir: Path) -> Path:
    """A directory with everything in it."""
    make(data_dir)
    return data_dir


async def state_of(migration: Migration) -> State:
    """Read all that a migration leaves, but for the ids that are made at random."""
    objects = migration.data_dir / "db" / "objects.db"
    origins = {origin for line in await migration.engine.origins() for origin in line.split("\n")}
    return (
        await migration.zones(),
        len(set((await migration.session_ids()).values())),
        origins,
        rows(objects, "SELECT * FROM db_agent_definitions ORDER BY id"),
        rows(objects, "SELECT id, definition_id FROM db_agent_instances ORDER BY id"),
        rows(objects, "SELECT * FROM db_agent_content ORDER BY agent_id"),
        (migration.data_dir / MIGRATION_MARKER_V1).exists(),
    )


async def uninterrupted(data_dir: Path) -> State:
    """Migrate a copy of a directory at one go."""
    copy = data_dir.with_name("uninterrupted")
    shutil.copytree(data_dir, copy)
    async with opened(copy) as migration:
        await migration.run()
        return await state_of(migration)


class Cut(Exception):  # noqa: N818 - stands for the end of a process
    """The migration ends here."""


def cut_at(migration: Migration, number: int, *, before: bool) -> Callable[[Sequence[Change]], Any]:
    """Return an `apply` that ends the migration before or after the change of that number."""
    apply = migration.engine.apply
    done = 0

    async def apply_until(batch: Sequence[Change]) -> list[Outcome]:
        nonlocal done
        done += 1
        if done == number and before:
            raise Cut
        outcomes = await apply(batch)
        if done == number:
            raise Cut
        return outcomes

    return apply_until


@pytest.mark.parametrize("number", range(1, AGENTS + TEMPLATES + 1))
@pytest.mark.parametrize("before", [True, False])
async def test_cut_at_every_transaction(
    old_dir: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch, number: int, before: bool
) -> None:
    """Before and after each of them: whole agents are done, and the next start does the rest."""
    wanted = await uninterrupted(old_dir)
    migration = await open_store()
    with monkeypatch.context() as patched:
        patched.setattr(migration.engine, "apply", cut_at(migration, number, before=before))
        with pytest.raises(Cut):
            await migration.run()
    assert (old_dir / MIGRATION_MARKER_V1).exists() == (number > AGENTS)
    await migration.run()
    assert await state_of(migration) == wanted
    assert (await migration.run()).outcomes == ("gated by marker", "nothing to migrate")


async def test_the_transactions_are_as_many_as_agents_and_templates(
    data_dir: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A definition is one transaction."""
    make(data_dir)
    migration = await open_store()
    with monkeypatch.context() as patched:
        patched.setattr(migration.engine, "apply", cut_at(migration, AGENTS + TEMPLATES + 1, before=True))
        await migration.run()


class Child:
    """A process that migrates, and waits at every instant."""

    def __init__(self, data_dir: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.migrations.child", str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def instants(self) -> Iterator[str]:
        """Yield the instants; the process goes on when the next one is asked for."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if " " in line or line == "done\n":
                yield line.strip()
                self._process.stdin.write("\n")
                self._process.stdin.flush()

    def kill(self) -> None:
        """Kill it with the signal that nothing can answer."""
        self._process.kill()
        self._process.communicate()


@pytest.mark.parametrize(
    "instant",
    ["before 1", "read 1", "read 4", "after 1", "read 7", "after 2", "before 6", "after 6", "before 7", "done"],
)
async def test_killed_at_an_instant(old_dir: Path, instant: str) -> None:
    """Also in the middle of a transaction, between the two databases, and at the very end."""
    wanted = await uninterrupted(old_dir)
    child = Child(old_dir)
    try:
        assert instant in child.instants()
    finally:
        child.kill()
    async with opened(old_dir) as migration:
        await migration.run()
        assert await state_of(migration) == wanted


async def test_killed_again_and_again(old_dir: Path) -> None:
    """Each time a little later, and then left to finish."""
    wanted = await uninterrupted(old_dir)
    for instant in ("read 2", "after 1", "read 3", "after 2", "after 1"):
        child = Child(old_dir)
        try:
            assert instant in child.instants()
        finally:
            child.kill()
    async with opened(old_dir) as migration:
        await migration.run()
        assert await state_of(migration) == wanted


async def test_instances_point_to_the_new_definition_before_the_sessions_move(
    old_dir: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the data itself says that something is left to do, until all of it is done."""
    migration = await open_store()
    with monkeypatch.context() as patched:
        patched.setattr(migration.engine, "apply", cut_at(migration, AGENTS + 1, before=True))
        with pytest.raises(Cut):
            await migration.run()
    objects = old_dir / "db" / "objects.db"
    assert rows(objects, "SELECT definition_id FROM db_agent_instances WHERE id = 'i1'") == [(promoted_id("t1"),)]
    assert "agent:t1:current" in await migration.zones()


async def test_stopping_ends_between_two_definitions(old_dir: Path, open_store: Open) -> None:
    """Asked at every definition; what is done stays done, and no marker is written."""
    wanted = await uninterrupted(old_dir)
    migration = await open_store()
    for number in range(AGENTS + TEMPLATES):
        answers = iter([False] * number + [True])
        with pytest.raises(MigrationInterruptedError, match="the next start goes on"):
            await migration.run(stop=lambda answers=answers: next(answers), force=True)  # type: ignore[misc]
    await migration.run()
    assert await state_of(migration) == wanted


async def test_a_full_disk_stops_the_start_up_and_the_next_one_goes_on(
    old_dir: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says what to do, and nothing is recorded as done."""
    wanted = await uninterrupted(old_dir)
    migration = await open_store()
    apply = migration.engine.apply
    done = 0

    async def apply_until_full(batch: Sequence[Change]) -> list[Outcome]:
        nonlocal done
        done += 1
        if done == 3:
            raise StorageFullError
        return await apply(batch)

    with monkeypatch.context() as patched:
        patched.setattr(migration.engine, "apply", apply_until_full)
        with pytest.raises(MigrationFailedError, match="disk is full") as caught:
            await migration.run()
    assert "Free some space" in str(caught.value)
    await migration.run()
    assert await state_of(migration) == wanted


async def test_two_runs_one_after_the_other_on_one_state(old_dir: Path) -> None:
    """The second finds everything done, also with a store opened anew and whatever the marker says."""
    async with opened(old_dir) as migration:
        await migration.run()
        wanted = await state_of(migration), await migration.session_ids()
    async with opened(old_dir) as migration:
        assert (await migration.run()).outcomes == ("gated by marker", "nothing to migrate")
        await migration.run(force=True)
        assert (await state_of(migration), await migration.session_ids()) == wanted
