"""`migrate_block_zones_v1`: which blocks become archives, and what travels with them (LEGACY.md section 2)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from migrations import Progress
from store.zones import agent_archive_zone
from tests.legacy_dirs import BEGINNING_MS, LegacyDir, output
from tests.migrations.conftest import NOW_MS, Open, names_in

T = BEGINNING_MS


async def test_definition_id_is_agent_id_else_the_older_key(data_dir: Path, open_store: Open) -> None:
    """`meta.agentId` counts where it is a non-empty string, else `meta["agent:id"]`; what is invalid is not scanned."""
    cases: list[tuple[str, object, dict[str, object]]] = [
        ("new", "new", {"agent:id": "other"}),
        ("older", None, {"agent:id": "older"}),
        ("empty", "", {"agent:id": "empty"}),
        ("number", 7, {"agent:id": "number"}),
        ("none", None, {}),
        ("bad", "a:b", {"agent:id": "good"}),
        ("newline", "a\n", {}),
        ("accent", "é", {}),
        ("surrogate", "\ud800", {}),
        ("wrong view", "x", {"view": "Agent"}),
        ("no view", "x", {"view": None}),
    ]
    with LegacyDir(data_dir) as legacy:
        for oid, agent_id, meta in cases:
            legacy.block(oid, agent_id, **meta)
            legacy.session(oid, oid)
        legacy.raw_block("null meta", b'{"meta":null}')
        legacy.raw_block("no object", b"[]")
    migration = await open_store()
    run = await migration.run()
    agents = {name.split(":")[1] for name in await migration.zones()}
    assert agents == {"new", "older", "empty", "number"}
    assert (run.blocks.blocks_scanned, run.blocks.failures) == (4, 0)


async def test_data_may_be_blob_or_text_and_one_bad_row_is_one_failure(data_dir: Path, open_store: Open) -> None:
    """Rows that are not JSON do not end the migration; they are named in the marker, which then gates nothing."""
    good = json.dumps({"meta": {"view": "agent", "agentId": "a"}})
    with LegacyDir(data_dir) as legacy:
        legacy.raw_block("blob", good.encode())
        legacy.raw_block("not json", b"{")
        legacy.raw_block("deep", b"[" * 100_000)
        legacy.raw_block("nothing", b"")
        legacy.raw_block("text", good)
        for oid in ("blob", "text"):
            legacy.session(oid, oid)
    migration = await open_store()
    run = await migration.run()
    assert (run.blocks.blocks_scanned, run.blocks.archives_written, run.blocks.failures) == (2, 2, 3)
    assert set(run.failures) == {"block:not json", "block:deep", "block:nothing"}
    assert run.outcomes[0] == "done with failures"
    assert set(json.loads((data_dir / "migration_agent_zones_v1.flag").read_bytes())["failures"]) == set(run.failures)
    again = await migration.run()
    assert (again.blocks.archives_already_present, again.blocks.failures) == (2, 3)


async def test_what_else_a_row_holds_does_not_hide_its_agent(data_dir: Path, open_store: Open) -> None:
    """Bad UTF-8, a number of any length or half a surrogate pair elsewhere; an id that is bad itself is just invalid."""
    shown = b'"view":"agent","agentId":"%s"'
    rows = {
        "utf-8": b'{"meta":{"agentName":"\xff",' + shown % b"utf-8" + b'},"x":"\xed\xa0\x80"}',
        "number": b'{"x":' + b"9" * 5_000 + b',"meta":{"n":' + b"9" * 5_000 + b"," + shown % b"number" + b"}}",
        "mark": b"\xef\xbb\xbf" + b'{"meta":{' + shown % b"mark" + b"}}",
        "bad id": b'{"meta":{' + shown % b"\xff" + b"}}",
        "bad meta": b'{"meta":"\xff"}',
    }
    with LegacyDir(data_dir) as legacy:
        for oid, data in rows.items():
            legacy.raw_block(oid, data)
            legacy.session(oid, oid)
    migration = await open_store()
    run = await migration.run()
    assert (run.blocks.blocks_scanned, run.failures) == (3, {})
    assert {name.split(":")[1] for name in await migration.zones()} == {"utf-8", "number", "mark"}


async def test_a_block_without_a_snapshot_or_with_an_empty_one_is_skipped(data_dir: Path, open_store: Open) -> None:
    """Stored bytes beyond a size of 0 do not count, nor does a size without stored bytes."""
    with LegacyDir(data_dir) as legacy:
        for oid in ("no zone", "output only", "empty", "size 0", "no parts"):
            legacy.block(oid, "a")
        legacy.file("output only", "output", output("x"))
        legacy.file("empty", "output.state.json", b"")
        legacy.file("size 0", "output.state.json", b"{}", size=0)
        legacy.row("no parts", "output.state.json", 10)
    migration = await open_store()
    run = await migration.run()
    assert (run.blocks.blocks_scanned, run.blocks.skipped_no_snapshot, run.blocks.files_damaged) == (5, 5, 1)
    assert await migration.zones() == {}


async def test_archive_time_is_createdts_else_modts_else_now(data_dir: Path, open_store: Open) -> None:
    """A value that is not positive, is no whole number, or does not fit a zone's name counts as absent."""
    times: dict[str, tuple[object, object, int]] = {
        "both": (T, T + 1, T),
        "zero": (0, T + 1, T + 1),
        "negative": (-5, T + 1, T + 1),
        "neither": (0, -1, NOW_MS),
        "text": ("soon", T + 1, T + 1),
        "too large": (2**60, T + 1, T + 1),
    }
    with LegacyDir(data_dir) as legacy:
        for number, (oid, (created, modified, _)) in enumerate(times.items()):
            legacy.block(oid, f"agent{number}")
            legacy.file(oid, "output.state.json", oid.encode(), created=created, modified=modified)
    migration = await open_store()
    await migration.run()
    archives = {name for name in await migration.zones() if ":archive:" in name}
    assert archives == {f"agent:agent{n}:archive:{at}" for n, (_, _, at) in enumerate(times.values())}


async def test_times_of_files_are_kept(data_dir: Path, open_store: Open) -> None:
    """Each file keeps its modts; one without a usable time takes its createdts, else now."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "a")
        legacy.file("b", "output.state.json", b"{}", created=T, modified=T + 5)
        legacy.file("b", "output", b"1\n", created=T + 2, modified=0)
        legacy.file("b", "term", b"x", created=0, modified=-1)
    migration = await open_store()
    await migration.run()
    for files in (await migration.zones()).values():
        assert {name: modified for name, (_, modified) in files.items()} == {
            "output.state.json": T + 5,
            "output": T + 2,
            "term": NOW_MS,
        }


async def test_every_block_becomes_an_archive_and_equal_times_stand_in_row_order(
    data_dir: Path, open_store: Open
) -> None:
    """The newest block becomes one too; a taken time means one millisecond later."""
    with LegacyDir(data_dir) as legacy:
        for oid in ("z", "m", "a"):
            legacy.block(oid, "x")
            legacy.session(oid, oid)
    migration = await open_store()
    run = await migration.run()
    zones = await migration.zones()
    assert [zones[f"agent:x:archive:{T + n}"]["output"][0] for n in range(3)] == [output(o) for o in ("z", "m", "a")]
    assert zones["agent:x:current"]["output"][0] == output("z")
    assert (run.blocks.archives_written, run.blocks.current_zones_seeded) == (3, 1)


@pytest.mark.parametrize(
    ("text", "covers"),
    [
        (b'{"highWaterMark":2}', 2),
        (b'{"highWaterMark":3}', 3),
        (b'{"highWaterMark":3.0}', 3),
        (b'{"highWaterMark":4}', None),
        (b'{"highWaterMark":true}', None),
        (b'{"highWaterMark":-1}', None),
        (b'{"highWaterMark":1.5}', None),
        (b'{"highWaterMark":"2"}', None),
        (b'{"highWaterMark":1e400}', None),
        (b'{"highWaterMark":123456789012345678901234567890}', None),
        (b'{"a":"\\ud83d cut, \\\\ud83d not","highWaterMark":2}', 2),
        (b'{"a":"\xff","highWaterMark":2}', 2),
        (b"{}", None),
        (b"[2]", None),
        (b"not json", None),
        (b'{"a":' + b"[" * 100_000, None),
    ],
)
async def test_covers_line_is_the_snapshots_mark_within_the_output(
    data_dir: Path, open_store: Open, text: bytes, covers: int | None
) -> None:
    """A whole number that is not beyond the output's lines; anything else is no mark, and never a failure."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.file("b", "output.state.json", text)
        legacy.file("b", "output", output("x", 3))
    migration = await open_store()
    assert (await migration.run()).failures == {}
    for zone in (f"agent:x:archive:{T}", "agent:x:current"):
        assert await migration.covers_line(zone) == covers


async def test_output_with_blank_lines_nul_bytes_and_bad_utf8_travels_byte_for_byte(
    data_dir: Path, open_store: Open
) -> None:
    """What is not a line yet, or no text at all, is kept."""
    content = b'{"a":1}\r\n\n \t\n\x00\x1c\n\xff\xfe' + "\u2028 half a line".encode()
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.file("b", "output.state.json", b'\x00{"nodes":')
        legacy.file("b", "output", content)
    migration = await open_store()
    await migration.run()
    zones = await migration.zones()
    assert zones["agent:x:current"]["output"][0] == content
    archived = await migration.engine.zone_stat(agent_archive_zone("x", T))
    assert archived is not None
    assert {file.name: file.total_lines for file in archived.files}["output"] == 3


async def test_origins_name_the_block_and_the_zone(data_dir: Path, open_store: Open) -> None:
    """The words of the stored form: `block:<oid>`, `current:block:<oid>` and `zone:<name>`; a line each."""
    with LegacyDir(data_dir) as legacy:
        for oid in ("b", "two\nlines"):
            legacy.block(oid, oid[0])
            legacy.session(oid, oid)
        legacy.session("agent:z:current", "z")
    migration = await open_store()
    await migration.run()
    assert await migration.engine.origins() == {
        "block:b",
        "current:block:b",
        "block:two\\nlines",
        "current:block:two\\nlines",
        "zone:agent:z:current",
    }
    assert (await migration.run(force=True)).blocks.archives_already_present == 2


async def test_progress_is_told_from_the_beginning_to_the_end(data_dir: Path, open_store: Open) -> None:
    """By definitions, each migration from 0 to its total."""
    with LegacyDir(data_dir) as legacy:
        for agent in ("a", "b", "c"):
            legacy.block(agent, agent)
            legacy.session(agent, agent)
        legacy.template("a")
    migration = await open_store()
    await migration.run()
    blocks, promotion = "migrate_block_zones_v1", "migrate_promote_template_sessions_v1"
    assert migration.progress == [
        *(Progress(blocks, done, 3) for done in range(4)),
        *(Progress(promotion, done, 1) for done in range(2)),
    ]


async def test_an_empty_data_directory_has_nothing_to_migrate(data_dir: Path, open_store: Open) -> None:
    """No file appears for it."""
    migration = await open_store()
    assert (await migration.run()).outcomes == ("nothing to migrate", "nothing to migrate")
    assert names_in(data_dir) == {"db"}


@pytest.mark.parametrize("folder", ["db", ""])
async def test_databases_are_looked_for_in_db_then_beside_it(data_dir: Path, open_store: Open, folder: str) -> None:
    """Each of them for itself; one in `db` hides the other."""
    with LegacyDir(data_dir, folder=folder) as legacy:
        legacy.block("b", "x")
        legacy.session("b", "b")
    if folder == "db":
        with LegacyDir(data_dir, folder="") as hidden:
            hidden.block("hidden", "hidden")
            hidden.session("hidden", "hidden")
    migration = await open_store()
    await migration.run()
    assert {re.sub(r"\d+", "", name) for name in await migration.zones()} == {"agent:x:current", "agent:x:archive:"}


async def test_an_empty_file_is_as_good_as_none(data_dir: Path, open_store: Open) -> None:
    """It hides no database beside it, no marker is written for it, and what comes later is found."""
    (data_dir / "db").mkdir()
    for name in ("objects.db", "filestore.db"):
        (data_dir / "db" / name).touch()
    migration = await open_store()
    assert (await migration.run()).outcomes == ("nothing to migrate", "nothing to migrate")
    assert names_in(data_dir) == {"db"}
    with LegacyDir(data_dir, folder="") as legacy:
        legacy.block("b", "x")
        legacy.session("b", "b")
    assert (await migration.run()).blocks.archives_written == 1


async def test_blocks_without_a_filestore_are_skipped(data_dir: Path, open_store: Open) -> None:
    """A missing file means that there is nothing of that kind; when it comes, it is migrated in spite of the marker."""
    with LegacyDir(data_dir, filestore=False) as legacy:
        legacy.block("b", "x")
    migration = await open_store()
    assert (await migration.run()).blocks.skipped_no_snapshot == 1
    with LegacyDir(data_dir, objects=False) as legacy:
        legacy.session("b", "b")
    assert (await migration.run()).blocks.archives_written == 1
