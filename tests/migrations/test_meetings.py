"""Where a template's session finds something at its target, no byte is lost and no two are mixed (LEGACY.md 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from migrations import CopyAction
from migrations.promote_zones import action_by_time, compare_sessions
from migrations.records import promoted_id
from store.engine import AppendOutput, CompleteSession, ImportSession
from store.errors import StorageDamagedError
from store.records import ImportFile
from store.zones import Zone, agent_current_zone
from tests.legacy_dirs import LegacyDir, output, snapshot
from tests.migrations.conftest import NOW_MS, Files, Migration, Open

NEW = promoted_id("t")
STATE, OUTPUT = "output.state.json", "output"
LARGE = bytes(range(256)) * 12_000


def zones_of(agent: str, **zones: Files) -> list[tuple[Zone, Files]]:
    """Name the zones of an agent: `current`, or `a5` for the archive of 5 ms."""
    return [(Zone(agent, None if name == "current" else int(name[1:])), files) for name, files in zones.items()]


async def store(migration: Migration, *zones: Sequence[tuple[Zone, Files]]) -> None:
    """Put sessions into the store."""
    changes = [
        ImportSession(
            zone,
            tuple(ImportFile(name, modified, [data].copy) for name, (data, modified) in files.items()),
            1,
            f"origin of {zone}",
            0,
        )
        for group in zones
        for zone, files in group
    ]
    outcomes = await migration.engine.apply(changes)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]


@pytest.fixture
async def migration(data_dir: Path, open_store: Open) -> Migration:
    """A directory with one template and no sessions."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.instance("i", "t", "Mine")
    return await open_store()


async def promoted(migration: Migration) -> tuple[dict[str, Files], int]:
    """Promote; return what the new definition has by the rest of its zones' names, and `archives_moved`."""
    plan = await migration.plan()
    ids = set((await migration.session_ids()).values())
    run = await migration.run()
    assert plan.templates == run.templates
    assert (run.templates.templates_promoted, run.templates.failures) == (1, 0)
    assert set((await migration.session_ids()).values()) <= ids
    zones = await migration.zones()
    prefix = f"agent:{NEW}:"
    assert all(name.startswith(prefix) for name in zones), "the template owns nothing"
    assert (await migration.run()).templates.templates_scanned == 0
    return {name.removeprefix(prefix): files for name, files in zones.items()}, run.templates.archives_moved


@pytest.mark.parametrize(
    ("source", "target", "action"),
    [
        (5, None, CopyAction.COPY),
        (5, 4, CopyAction.OVERWRITE),
        (5, 6, CopyAction.PRESERVE),
        (5, 5, CopyAction.TIE_BREAK_BY_BYTES),
    ],
)
def test_the_times_alone(source: int, target: int | None, action: CopyAction) -> None:
    """Equal times leave it to the bytes."""
    assert action_by_time(source, target) is action


@pytest.mark.parametrize(
    ("name", "source", "target", "action", "has_it"),
    [
        (STATE, (b"a", 5), None, CopyAction.COPY, False),
        (STATE, (b"a", 5), (b"a", 5), CopyAction.PRESERVE, True),
        (STATE, (b"a", 6), (b"a", 5), CopyAction.PRESERVE, True),
        (STATE, (b"a", 6), (b"b", 5), CopyAction.OVERWRITE, False),
        (STATE, (b"a", 5), (b"b", 6), CopyAction.PRESERVE, False),
        (STATE, (b"a", 5), (b"b", 5), CopyAction.CONFLICT, False),
        (STATE, (b"a", 6), (b"ab", 5), CopyAction.OVERWRITE, False),
        (OUTPUT, (b"a\n", 6), (b"a\nb\n", 5), CopyAction.PRESERVE, True),
        (OUTPUT, (b"", 6), (b"b\n", 5), CopyAction.PRESERVE, True),
        (OUTPUT, (b"a\nb\n", 6), (b"a\n", 5), CopyAction.OVERWRITE, False),
        (OUTPUT, (b"a\nb\n", 5), (b"a\n", 6), CopyAction.PRESERVE, False),
        (OUTPUT, (b"a\n", 5), (b"b\n", 5), CopyAction.CONFLICT, False),
        (OUTPUT, (LARGE, 5), (LARGE + b"more", 5), CopyAction.PRESERVE, True),
        (OUTPUT, (LARGE + b"x", 5), (LARGE + b"y", 5), CopyAction.CONFLICT, False),
        (STATE, (LARGE, 5), (LARGE, 4), CopyAction.PRESERVE, True),
    ],
)
async def test_the_table_of_actions(
    migration: Migration,
    name: str,
    source: tuple[bytes, int],
    target: tuple[bytes, int] | None,
    action: CopyAction,
    has_it: bool,
) -> None:
    """Bytes first, then times; an output that goes on is there already, a snapshot that does is not."""
    other: Files = {"other": (b"x", 1)}
    await store(
        migration, zones_of("t", a5={name: source}), zones_of(NEW, a5=other | ({name: target} if target else {}))
    )
    stats = [await migration.engine.zone_stat(Zone(agent, 5)) for agent in ("t", NEW)]
    assert stats[0] is not None
    assert stats[1] is not None
    (comparison,) = await compare_sessions(migration.engine, stats[0], stats[1])
    assert (comparison.action, comparison.has_it_already) == (action, has_it)


async def test_a_session_half_moved_is_completed(migration: Migration) -> None:
    """The target keeps its session id, takes the files it lacks with their times, and remembers both origins."""
    whole: Files = {STATE: (b"{}", 5), OUTPUT: (b"1\n2\n", 6)}
    await store(
        migration,
        zones_of("t", current=whole, a5=whole),
        zones_of(NEW, current={STATE: (b"{}", 9)}, a5={OUTPUT: (b"1\n2\n3\n", 6)}),
    )
    kept = {name: sid for name, sid in (await migration.session_ids()).items() if NEW in name}
    found, moved = await promoted(migration)
    assert found == {
        "current": {STATE: (b"{}", 9), OUTPUT: (b"1\n2\n", 6)},
        "archive:5": {STATE: (b"{}", 5), OUTPUT: (b"1\n2\n3\n", 6)},
    }
    assert moved == 1
    assert await migration.session_ids() == kept
    assert await migration.engine.origins() == {
        f"origin of agent:{agent}:{rest}" for agent in ("t", NEW) for rest in ("current", "archive:5")
    }


async def test_a_session_that_is_there_already_goes(migration: Migration) -> None:
    """The same bytes twice are one session."""
    session: Files = {STATE: (b"{}", 5)}
    await store(migration, zones_of("t", current=session, a5=session), zones_of(NEW, current=session, a5=session))
    assert await promoted(migration) == ({"current": session, "archive:5": session}, 1)


@pytest.mark.parametrize("modified", [4, 5, 6])
async def test_an_archive_that_meets_a_different_one_takes_the_next_free_millisecond(
    migration: Migration, modified: int
) -> None:
    """Whichever is newer, neither is overwritten."""
    ours: Files = {STATE: (b"ours", 5)}
    theirs: Files = {STATE: (b"theirs", modified), OUTPUT: (b"1\n", modified)}
    await store(migration, zones_of("t", a7=theirs), zones_of(NEW, a7=ours, a8=ours))
    assert await promoted(migration) == ({"archive:7": ours, "archive:8": ours, "archive:9": theirs}, 1)


async def test_the_current_that_changed_last_stays_current_as_a_whole(migration: Migration) -> None:
    """A newer source takes the place; the target's becomes an archive at the time it last changed."""
    source: Files = {STATE: (b"source", 20), OUTPUT: (b"1\n", 3)}
    target: Files = {STATE: (b"target", 10), OUTPUT: (b"2\n", 12)}
    await store(migration, zones_of("t", current=source), zones_of(NEW, current=target))
    assert await promoted(migration) == ({"current": source, "archive:12": target}, 1)


@pytest.mark.parametrize("tie", [False, True])
async def test_an_older_current_becomes_an_archive_of_the_new_definition(migration: Migration, tie: bool) -> None:
    """At the time it last changed; where both last changed at once, the target stays current."""
    source: Files = {STATE: (b"source", 5), OUTPUT: (b"1\n", 20 if tie else 8)}
    target: Files = {STATE: (b"target", 20), OUTPUT: (b"2\n", 4)}
    taken: Files = {STATE: (b"taken", 1)}
    at = 20 if tie else 8
    await store(migration, zones_of("t", current=source), zones_of(NEW, current=target, **{f"a{at}": taken}))
    assert await promoted(migration) == ({"current": target, f"archive:{at}": taken, f"archive:{at + 1}": source}, 1)


async def test_on_a_conflict_the_target_is_the_current_session(migration: Migration) -> None:
    """Even where the source has a newer file; a warning says so, and nothing fails."""
    source: Files = {STATE: (b"source", 5), OUTPUT: (b"1\n", 30)}
    target: Files = {STATE: (b"target", 5), OUTPUT: (b"2\n", 20)}
    await store(migration, zones_of("t", current=source), zones_of(NEW, current=target))
    with capture_logs() as logs:
        found = await promoted(migration)
    assert found == ({"current": target, "archive:30": source}, 1)
    warned = [log for log in logs if log["log_level"] == "warning"]
    assert {(log["zone"], *log["files"]) for log in warned} == {("agent:t:current", STATE)}


async def test_a_conflict_of_archives_keeps_both(migration: Migration) -> None:
    """And is warned of."""
    source, target = {STATE: (b"source", 5)}, {STATE: (b"target", 5)}
    await store(migration, zones_of("t", a5=source), zones_of(NEW, a5=target))
    with capture_logs() as logs:
        found = await promoted(migration)
    assert found == ({"archive:5": target, "archive:6": source}, 1)
    assert any(log["log_level"] == "warning" and "agent:t:archive:5" in str(log) for log in logs)


async def test_an_empty_current_of_the_target_makes_way(migration: Migration) -> None:
    """It has nothing to lose."""
    source: Files = {STATE: (b"source", 5)}
    await store(migration, zones_of("t", current=source), zones_of(NEW, current={OUTPUT: (b"", 9)}))
    found, moved = await promoted(migration)
    assert (found, moved) == ({"current": source}, 0)


async def test_an_empty_session_of_the_template_leaves_nothing_behind(migration: Migration) -> None:
    """It goes into what is there, and changes no byte of it."""
    target: Files = {STATE: (b"target", 5), OUTPUT: (b"1\n", 5)}
    await store(
        migration,
        zones_of("t", current={STATE: (b"", 9), OUTPUT: (b"", 9)}, a7={STATE: (b"archive", 1)}),
        zones_of(NEW, current=target),
    )
    found, _ = await promoted(migration)
    assert found == {"current": target, "archive:7": {STATE: (b"archive", 1)}}


async def test_a_current_and_an_archive_that_want_one_millisecond_both_stay(migration: Migration) -> None:
    """The current zone goes first, then archives by time, and none of them is mixed with another."""
    source: Files = {STATE: (b"source", 7)}
    archives: dict[str, Files] = {f"a{at}": {STATE: (f"archive {at}".encode(), at)} for at in (7, 8, 9)}
    target: Files = {STATE: (b"target", 20)}
    await store(migration, zones_of("t", current=source, **archives), zones_of(NEW, current=target))
    found, moved = await promoted(migration)
    assert moved == 4
    assert found.pop("current") == target
    assert found["archive:7"] == source
    assert sorted(found.values(), key=str) == sorted([source, *archives.values()], key=str)


async def test_equal_sessions_of_one_template_stay_two(migration: Migration) -> None:
    """The archive of a block and the current session seeded from it have the same bytes, and are two sessions."""
    same: Files = {STATE: (b"same", 7)}
    await store(migration, zones_of("t", current=same, a7=same), zones_of(NEW, current={STATE: (b"target", 20)}))
    found, moved = await promoted(migration)
    assert moved == 2
    assert (found["archive:7"], found["archive:8"]) == (same, same)


async def test_covers_line_comes_with_what_completes_a_session(migration: Migration) -> None:
    """Where the target has none."""
    await store(migration, zones_of("t", current={STATE: (b"{}", 5)}), zones_of(NEW, current={OUTPUT: (b"1\n", 5)}))
    await promoted(migration)
    assert await migration.covers_line(f"agent:{NEW}:current") == 0


@pytest.mark.parametrize(("mark", "covers"), [(0, 0), (2, 2), (3, 3), (4, None)])
@pytest.mark.parametrize("template_has", [STATE, OUTPUT])
async def test_the_mark_of_a_snapshot_counts_once_its_output_is_there(
    data_dir: Path, open_store: Open, template_has: str, mark: int, covers: int | None
) -> None:
    """Snapshot and output of a session half moved come together in its completion, whichever of them had moved."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        for zone in ("current", "archive:5"):
            for name, content in ((STATE, snapshot("x", mark)), (OUTPUT, output("x", 3))):
                legacy.file(f"agent:{'t' if name == template_has else NEW}:{zone}", name, content)
    migration = await open_store()
    plan, run = await migration.plan(), await migration.run()
    assert (plan.templates, run.templates.archives_moved, run.failures) == (run.templates, 1, {})
    assert set(await migration.zones()) == {f"agent:{NEW}:current", f"agent:{NEW}:archive:5"}
    assert await migration.covers_line(f"agent:{NEW}:current") == covers
    assert await migration.covers_line(f"agent:{NEW}:archive:5") == covers


async def test_a_damaged_snapshot_completes_a_session_without_its_mark(
    migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a backup may mend moves as it is: it does not keep its template from being promoted."""
    state: Files = {STATE: (snapshot("x", 1), 5)}
    await store(migration, zones_of("t", a5=state), zones_of(NEW, a5={OUTPUT: (b"1\n2\n", 5)}))

    async def damaged(zone: Zone, name: str, *_: int) -> bytes:
        raise StorageDamagedError(f"{zone}, {name}")

    with monkeypatch.context() as patched:
        patched.setattr(migration.engine, "read_bytes", damaged)
        assert (await migration.run()).templates.templates_promoted == 1
    assert await migration.zones() == {f"agent:{NEW}:archive:5": {**state, OUTPUT: (b"1\n2\n", 5)}}


async def test_a_mark_without_an_output_hides_no_line_that_comes_later(data_dir: Path, open_store: Open) -> None:
    """A session that has no output by the time it is complete begins at its first line."""
    with LegacyDir(data_dir) as legacy:
        legacy.template("t")
        legacy.file("agent:t:current", STATE, snapshot("x", 2))
        legacy.file(f"agent:{NEW}:current", "notes", b"x")
    migration = await open_store()
    assert (await migration.run()).templates.templates_promoted == 1
    current = agent_current_zone(NEW)
    await migration.engine.apply([AppendOutput(current, b"first\nsecond\nthird\n", NOW_MS)])
    mount = await migration.engine.mount(current, 10, 1_000)
    assert mount is not None
    assert (mount.covers_line, mount.output.lines) == (None, ["first", "second", "third"])


async def test_a_move_that_the_store_refuses_is_that_templates_failure(
    migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be moved is moved at the next start."""
    session: Files = {STATE: (b"{}", 5), OUTPUT: (b"1\n", 5)}
    await store(migration, zones_of("t", current=session, a5=session), zones_of(NEW, current={STATE: (b"{}", 5)}))
    apply = migration.engine.apply

    async def refuse(batch: Sequence[object]) -> list[object]:
        spared = [change for change in batch if not isinstance(change, CompleteSession)]
        outcomes = iter(await apply(spared))  # type: ignore[arg-type]  # a part of what the migration itself sent
        return [ValueError("refused") if isinstance(change, CompleteSession) else next(outcomes) for change in batch]

    with monkeypatch.context() as patched:
        patched.setattr(migration.engine, "apply", refuse)
        run = await migration.run()
    assert "refused" in run.failures["t"]
    assert (run.templates.archives_moved, run.templates.templates_promoted) == (1, 0)
    found, _ = await promoted(migration)
    assert found == {"current": session, "archive:5": session}
