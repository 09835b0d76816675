"""How much of a file's content counts (LEGACY.md section 1)."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from migrations.legacy import LegacyReadError, open_for_reading
from migrations.legacy_files import LegacyFiles
from tests.legacy_dirs import BEGINNING_MS, PART_BYTES, LegacyDir, snapshot
from tests.migrations.conftest import BUSY_MS, Open

FULL = bytes(range(256)) * 256
SECOND = FULL[::-1]


@pytest.mark.parametrize(
    ("size", "parts", "content", "damaged"),
    [
        (10, {0: b"0123456789"}, b"0123456789", 0),
        (0, {}, b"", 0),
        (4, {0: b"0123456789"}, b"0123", 0),
        (0, {0: b"0123456789"}, b"", 0),
        (11, {0: b"0123456789"}, b"0123456789", 1),
        (10, {}, b"", 1),
        (-1, {0: b"0123456789"}, b"0123456789", 0),
        (-(2**62), {0: FULL, 1: b"x"}, FULL + b"x", 0),
        (2**60, {0: b"0123456789"}, b"0123456789", 1),
        ("large", {0: b"0123456789"}, b"0123456789", 0),
        (1e300, {0: b"0123456789"}, b"0123456789", 0),
        (PART_BYTES + 3, {0: FULL, 1: b"abc"}, FULL + b"abc", 0),
        (PART_BYTES * 2, {0: FULL, 1: SECOND}, FULL + SECOND, 0),
        (PART_BYTES * 3, {0: FULL, 2: SECOND}, FULL, 1),
        (PART_BYTES * 2, {1: SECOND}, b"", 1),
        (PART_BYTES * 2, {0: b"short", 1: SECOND}, b"short", 1),
        (PART_BYTES + 5, {0: FULL, 1: b"abcdefgh", 2: SECOND}, FULL + b"abcde", 0),
        (PART_BYTES * 2, {0: FULL, 1: b""}, FULL, 1),
        (6, {-1: b"before", 0: b"0123456789"}, b"012345", 0),
        (10, {0: "0123456789"}, b"0123456789", 0),
        (8, {0: "é\x00日本"}, "é\x00日本".encode()[:8], 0),
        (PART_BYTES + 1, {0: "é" * (PART_BYTES // 2), 1: "x"}, "é".encode() * (PART_BYTES // 2) + b"x", 0),
        (PART_BYTES + 1, {0: FULL + b"too long", 1: b"x"}, FULL + b"x", 0),
        (PART_BYTES + 8, {0: FULL + b"too long"}, FULL + b"too long", 0),
    ],
)
async def test_what_is_stored_within_the_size_counts(
    data_dir: Path, open_store: Open, size: object, parts: dict[int, object], content: bytes, damaged: int
) -> None:
    """Up to the first missing part or the end of the first short one; claiming more than that is damage, not a failure."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.file("b", "output.state.json", b"{}")
        legacy.row("b", "output", size)
        for index, data in parts.items():
            legacy.part("b", "output", index, data)
    migration = await open_store()
    run = await migration.run()
    zones = await migration.zones()
    assert zones[f"agent:x:archive:{BEGINNING_MS}"]["output"][0] == content
    assert zones["agent:x:current"]["output"][0] == content
    assert (run.blocks.files_damaged, run.blocks.failures) == (damaged, 0)


@pytest.mark.parametrize(
    ("opts", "content"),
    [
        ('{"circular":true,"maxsize":4}', b"6789"),
        ('{"circular":true,"maxsize":4.0}', b"6789"),
        ('{"circular":true,"maxsize":4.5}', b"0123456789"),
        ('{"circular":true,"maxsize":1e400}', b"0123456789"),
        ('{"circular":true,"maxsize":100}', b"0123456789"),
        ('{"circular":false,"maxsize":4}', b"0123456789"),
        ('{"circular":true,"maxsize":0}', b"0123456789"),
        ('{"circular":true,"maxsize":"4"}', b"0123456789"),
        ('{"circular":true,"maxsize":true}', b"0123456789"),
        ('{"circular":true}', b"0123456789"),
        ("[1]", b"0123456789"),
        ("not json", b"0123456789"),
        ("[" * 100_000, b"0123456789"),
    ],
)
async def test_of_a_circular_file_the_last_bytes_count(
    data_dir: Path, open_store: Open, opts: str, content: bytes
) -> None:
    """`maxsize` of them, of what else would count."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.file("b", "output.state.json", b"{}")
        legacy.file("b", "output", b"0123456789beyond", size=10, opts=opts)
    migration = await open_store()
    await migration.run()
    assert (await migration.zones())["agent:x:current"]["output"][0] == content


async def test_the_end_of_a_circular_file_may_begin_in_any_part(data_dir: Path, open_store: Open) -> None:
    """The first bytes of the part in which it begins are left out."""
    whole = FULL + SECOND + b"tail"
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.file("b", "output.state.json", b"{}")
        legacy.file("b", "output", whole, opts=f'{{"circular":true,"maxsize":{PART_BYTES}}}')
    migration = await open_store()
    await migration.run()
    assert (await migration.zones())["agent:x:current"]["output"][0] == whole[-PART_BYTES:]


async def test_a_circular_file_may_end_in_a_part_that_is_too_long(data_dir: Path, open_store: Open) -> None:
    """The last bytes count wherever the part holds them."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.file("b", "output.state.json", b"{}")
        legacy.row("b", "output", size=PART_BYTES + 4, opts='{"circular":true,"maxsize":2}')
        legacy.part("b", "output", 0, FULL + b"tail")
    migration = await open_store()
    assert (await migration.run()).failures == {}
    assert (await migration.zones())["agent:x:current"]["output"][0] == b"il"


async def test_columns_of_later_builds_are_ignored(data_dir: Path, open_store: Open) -> None:
    """Whatever else a table has; `opts` may be missing."""
    with LegacyDir(data_dir) as legacy:
        for column in ("gen", "lines", "lines_size", "lines_tail", "lines_modts", "lines_rev"):
            legacy.filestore.execute(f"ALTER TABLE db_wave_file ADD COLUMN {column}")
        legacy.filestore.execute("ALTER TABLE db_file_data ADD COLUMN data_checksum")
        legacy.block("b", "x")
        legacy.filestore.execute(
            "INSERT INTO db_wave_file (zoneid, name, size, lines) VALUES ('b', 'output.state.json', 2, 'many')"
        )
        legacy.filestore.execute("INSERT INTO db_file_data VALUES ('b', 'output.state.json', 0, '{}', 'sum')")
        legacy.filestore.execute("ALTER TABLE db_wave_file DROP COLUMN opts")
    migration = await open_store()
    assert (await migration.run()).blocks.archives_written == 1


async def test_names_and_blocks_that_are_no_text_do_not_end_the_migration(data_dir: Path, open_store: Open) -> None:
    """Invalid UTF-8 in a name, NULL where text should be: the others go on."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.session("b", "b")
        legacy.raw_block(None, b'{"meta":{"view":"agent","agentId":"x"}}')
        legacy.objects.execute("INSERT INTO db_block (oid, data) VALUES (CAST(x'ff' AS TEXT), x'7b7d')")
        legacy.filestore.execute("INSERT INTO db_wave_file (zoneid, name, size) VALUES (CAST(x'ff' AS TEXT), 'n', 1)")
        legacy.filestore.execute("INSERT INTO db_wave_file (zoneid, name, size) VALUES ('b', CAST(x'ff' AS TEXT), 1)")
    migration = await open_store()
    run = await migration.run()
    assert (run.blocks.archives_written, run.blocks.failures) == (1, 0)


def test_content_comes_in_chunks_and_nothing_is_reserved_by_a_claim(data_dir: Path, tmp_path: Path) -> None:
    """Reading a large file that claims an exbibyte takes the memory of a few parts."""
    with LegacyDir(data_dir, objects=False) as legacy:
        legacy.row("z", "output", 2**60)
        for index in range(1_000):
            legacy.part("z", "output", index, FULL)
    database = open_for_reading(data_dir / "db" / "filestore.db", tmp_path / "copies", only_copy=False, busy_ms=BUSY_MS)
    (file,) = LegacyFiles(database).files_of("z")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = [len(chunk) for chunk in file.chunks()]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    database.close()
    assert (sum(sizes), max(sizes)) == (1_000 * PART_BYTES, PART_BYTES)
    assert grown < 16 * 1024, "KiB"


def test_chunks_may_be_asked_for_again(data_dir: Path, tmp_path: Path) -> None:
    """Each time from the beginning, also while an earlier reading is not at its end."""
    with LegacyDir(data_dir, objects=False) as legacy:
        legacy.file("z", "output", FULL + SECOND)
    database = open_for_reading(data_dir / "db" / "filestore.db", tmp_path / "copies", only_copy=False, busy_ms=BUSY_MS)
    (file,) = LegacyFiles(database).files_of("z")
    first = iter(file.chunks())
    assert next(first) == FULL
    assert b"".join(file.chunks()) == FULL + SECOND
    assert b"".join(first) == SECOND
    del first
    database.close()


def test_a_file_that_changes_while_it_is_read_is_an_error(data_dir: Path, tmp_path: Path) -> None:
    """Half a file must not pass for a whole one."""
    with LegacyDir(data_dir, objects=False) as legacy:
        legacy.file("z", "output", FULL + SECOND)
    database = open_for_reading(data_dir / "db" / "filestore.db", tmp_path / "copies", only_copy=False, busy_ms=BUSY_MS)
    (file,) = LegacyFiles(database).files_of("z")
    with closing(sqlite3.connect(data_dir / "db" / "filestore.db")) as other:
        other.execute("DELETE FROM db_file_data WHERE partidx = 1")
        other.commit()
    with pytest.raises(LegacyReadError, match="changed while it was read"):
        list(file.chunks())
    database.close()


async def test_damage_is_not_counted_twice_nor_again(data_dir: Path, open_store: Open) -> None:
    """A torn file that goes to an archive and to the current session is one; looking again counts nothing."""
    with LegacyDir(data_dir) as legacy:
        legacy.block("b", "x")
        legacy.file("b", "output.state.json", snapshot("torn"), size=2**60)
    migration = await open_store()
    assert (await migration.run()).blocks.files_damaged == 1
    assert (await migration.run(force=True)).blocks.files_damaged == 0
