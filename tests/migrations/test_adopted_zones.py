"""Zones that a later build wrote under the names of today are taken over first (LEGACY.md section 2.0)."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.engine import AppendOutput, ArchiveSession
from store.limits import TIME_MS_MAX
from store.zones import agent_current_zone
from tests.legacy_dirs import BEGINNING_MS, LegacyDir, output, snapshot
from tests.migrations.conftest import NOW_MS, Open, names_in

T = BEGINNING_MS


async def test_zones_of_a_later_build_are_taken_over_with_all_their_files_and_times(
    data_dir: Path, open_store: Open
) -> None:
    """Also where there is no `objects.db`, and then no marker is written; a second look finds them by their origin."""
    with LegacyDir(data_dir, objects=False) as legacy:
        legacy.session("agent:a_b:current", "now", modified=T + 7)
        legacy.file("agent:a_b:current", "notes", b"", modified=T + 3)
        legacy.session(f"agent:a_b:archive:{T}", "then", modified=T + 9)
    migration = await open_store()
    run = await migration.run()
    assert run.blocks.zones_adopted == 2
    assert await migration.zones() == {
        "agent:a_b:current": {
            "output.state.json": (snapshot("now"), T + 7),
            "output": (output("now"), T + 7),
            "notes": (b"", T + 3),
        },
        f"agent:a_b:archive:{T}": {
            "output.state.json": (snapshot("then"), T + 9),
            "output": (output("then"), T + 9),
        },
    }
    assert names_in(data_dir) == {"db"}
    assert (await migration.run()).blocks.zones_adopted == 0


async def test_zones_without_a_byte_and_zones_of_other_names_are_left_alone(data_dir: Path, open_store: Open) -> None:
    """Archive times are plain digits without leading zeros up to 2^53 - 1; ids are ASCII; a trailing newline is no name."""
    names = [
        "agent:a:archive:007",
        "agent:a:archive:1_000",
        "agent:a:archive: 7",
        "agent:a:archive:٣",
        "agent:a:archive:-1",
        "agent:a:archive:",
        f"agent:a:archive:{TIME_MS_MAX + 1}",
        "agent:é:current",
        "agent:a:current\n",
        "agent::current",
        "agent:a:b:current",
        "Agent:a:current",
        "agent;a",
        "tab:1",
    ]
    with LegacyDir(data_dir) as legacy:
        for name in names:
            legacy.file(name, "output", b"kept where it is\n")
        legacy.file("agent:empty:current", "output", b"")
        legacy.row("agent:torn:current", "output", 100)
        legacy.file("agent:beyond:current", "output", b"beyond its size", size=0)
        legacy.file(f"agent:last:archive:{TIME_MS_MAX}", "output", b"last\n")
        legacy.file("agent:first:archive:0", "output", b"first\n")
    migration = await open_store()
    run = await migration.run()
    assert set(await migration.zones()) == {f"agent:last:archive:{TIME_MS_MAX}", "agent:first:archive:0"}
    assert run.blocks.zones_adopted == 2
    assert run.blocks.files_damaged == 1


async def test_a_taken_millisecond_means_the_next_free_one(data_dir: Path, open_store: Open) -> None:
    """An archive of a later build that meets one of ours keeps its bytes under the next time."""
    with LegacyDir(data_dir) as legacy:
        legacy.file(f"agent:a:archive:{T}", "output", b"old\n")
    migration = await open_store()
    zone = agent_current_zone("a")
    await migration.engine.apply([AppendOutput(zone, b"ours\n", T), ArchiveSession(zone, T)])
    await migration.run()
    contents = {name: files["output"][0] for name, files in (await migration.zones()).items()}
    assert contents == {f"agent:a:archive:{T}": b"ours\n", f"agent:a:archive:{T + 1}": b"old\n"}


async def test_archives_of_a_later_build_are_taken_over_by_time(data_dir: Path, open_store: Open) -> None:
    """By number, not by name: where the first has to move on, the second follows it."""
    with LegacyDir(data_dir) as legacy:
        for at in (9, 10):
            legacy.file(f"agent:a:archive:{at}", "output", f"{at}\n".encode())
    migration = await open_store()
    zone = agent_current_zone("a")
    await migration.engine.apply([AppendOutput(zone, b"ours\n", T), ArchiveSession(zone, 9)])
    await migration.run()
    contents = {name: files["output"][0] for name, files in (await migration.zones()).items()}
    assert contents == {
        "agent:a:archive:9": b"ours\n",
        "agent:a:archive:10": b"9\n",
        "agent:a:archive:11": b"10\n",
    }


async def test_an_old_current_session_becomes_an_archive_where_ours_has_content(
    data_dir: Path, open_store: Open
) -> None:
    """At its modts, the last of its files'; an archive of that very time keeps its name."""
    with LegacyDir(data_dir) as legacy:
        legacy.file("agent:a:current", "output", b"old current\n", modified=T + 5)
        legacy.file("agent:a:current", "output.state.json", b"{}", modified=T + 4)
        legacy.file(f"agent:a:archive:{T + 5}", "output", b"old archive\n")
    migration = await open_store()
    await migration.engine.apply([AppendOutput(agent_current_zone("a"), b"ours\n", NOW_MS)])
    await migration.run()
    contents = {name: files["output"][0] for name, files in (await migration.zones()).items()}
    assert contents == {
        "agent:a:current": b"ours\n",
        f"agent:a:archive:{T + 5}": b"old archive\n",
        f"agent:a:archive:{T + 6}": b"old current\n",
    }


@pytest.mark.parametrize("agent", ["x", "template-promote-v1-x"])
async def test_a_block_that_a_later_build_migrated_is_there_already(
    data_dir: Path, open_store: Open, agent: str
) -> None:
    """An archive of the agent, or of its promoted definition, with the same snapshot bytes; then nothing is seeded."""
    with LegacyDir(data_dir) as legacy:
        for oid in ("moved", "moved too", "fresh"):
            legacy.block(oid, "x")
        legacy.session("moved", "same", modified=T + 9)
        legacy.session("moved too", "same")
        legacy.session("fresh", "sama")
        legacy.file(f"agent:{agent}:archive:{T}", "output.state.json", snapshot("same"))
        legacy.file("agent:y:archive:5", "output.state.json", snapshot("sama"))
    migration = await open_store()
    for _ in range(2):
        run = await migration.run(force=True)
        assert run.blocks.current_zones_seeded == 0
    zones = await migration.zones()
    assert set(zones) == {f"agent:{agent}:archive:{T}", "agent:y:archive:5", f"agent:x:archive:{T + (agent == 'x')}"}
    assert run.blocks.archives_already_present == 3


async def test_equal_blocks_are_two_sessions_where_no_later_build_was_here(data_dir: Path, open_store: Open) -> None:
    """Bytes are compared with what was taken over, not with what is migrated now."""
    with LegacyDir(data_dir) as legacy:
        for oid in ("1", "2"):
            legacy.block(oid, "x")
            legacy.session(oid, "same")
    migration = await open_store()
    assert (await migration.run()).blocks.archives_written == 2
