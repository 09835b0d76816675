"""Stores as earlier versions have left them, in `tests/data/stores`: looked at as they are, brought up to date, and read.

form_1.db   0.1.0, closed in good order: an agent with a current session and two archives, one with its preview kept, and an
            imported archive whose output does not end in a line end; outputs and snapshots of several parts
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

from store.compression_worker import CompressionWorker
from store.engine import AppendOutput, Engine, WriteState
from store.limits import Limits
from store.records import ZoneStat
from store.sqlite import open_sqlite, schema
from store.sqlite.backup import copy_store
from store.sqlite.check import check_store
from store.writer import Writer
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, agent_archive_zone, agent_current_zone
from tests.store.foreign import FILE_NAME, rows

FROZEN: Final = Path(__file__).parent.parent / "data" / "stores"
CURRENT, LARGE, SMALL, IMPORTED = (
    agent_current_zone("maks"),
    agent_archive_zone("maks", 1_780_000_000_100),
    agent_archive_zone("maks", 1_780_000_000_300),
    agent_archive_zone("ada", 1_750_000_000_000),
)


def lines(count: int) -> bytes:
    """Return what the sessions' outputs begin with."""
    return b"".join(
        b'{"type": "assistant", "n": %d, "text": "line %d of what was said"}\n' % (number, number)
        for number in range(count)
    )


def snapshot(count: int) -> bytes:
    """Return a snapshot of so many nodes."""
    nodes = (b'{"id": %d, "type": "markdown", "content": "text %d"}' % (n, n * count) for n in range(count))
    return b'{"nodes": [' + b", ".join(nodes) + b"]}"


CONTENTS: Final = {
    (CURRENT, OUTPUT_FILE): lines(1_200),
    (CURRENT, SNAPSHOT_FILE): snapshot(1_500),
    (LARGE, OUTPUT_FILE): lines(1_501),
    (LARGE, SNAPSHOT_FILE): snapshot(2_000),
    (SMALL, OUTPUT_FILE): lines(3),
    (IMPORTED, OUTPUT_FILE): lines(900) + b"not ended",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Copy the store of the first form."""
    shutil.copyfile(FROZEN / "form_1.db", tmp_path / FILE_NAME)
    return tmp_path / FILE_NAME


async def contents(engine: Engine) -> dict[tuple[str, str], bytes]:
    """Read every file of every session."""
    stats: list[ZoneStat] = [stat for agent in ("maks", "ada") for stat in await engine.zones_of(agent)]
    return {
        (stat.zone, file.name): await engine.read_bytes(stat.zone, file.name, 0, 1 << 30)
        for stat in stats
        for file in stat.files
    }


def test_a_store_of_an_older_form_is_checked_and_copied_as_it_is(path: Path) -> None:
    """Doctor and backup read it before any daemon of this version has, and leave it as it is."""
    before = path.read_bytes()
    found = check_store(path)
    assert [finding.word for finding in found.findings] == ["SCHEMA_OLD"]
    assert found.is_sound
    copied = copy_store(path, path.with_name("copy"))
    assert (copied.sessions, copied.archives) == (4, 3)
    assert path.read_bytes() == before


async def test_a_store_of_the_first_form_goes_on(path: Path) -> None:
    """Nothing is lost; its archives are compressed from then on, and what it had is kept."""
    engine = await open_sqlite(path)
    assert rows(path, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]
    assert await contents(engine) == CONTENTS
    assert await engine.archives_to_compress(9) == [SMALL, LARGE, IMPORTED]
    writer = Writer(engine, Limits())
    writer.start()
    worker = CompressionWorker(engine, writer.submit)
    assert await worker.sweep()
    assert rows(
        path, "SELECT zone FROM zones WHERE id IN (SELECT zone_id FROM file_parts WHERE codec = 1) ORDER BY id"
    ) == [
        (LARGE,),
        (IMPORTED,),
    ]
    assert await contents(engine) == CONTENTS
    (summary, _) = (await engine.list_archives("maks", 2, None))[::-1]
    assert (summary.preview, summary.node_count, summary.total_lines) == ("said", 2_000, 1_501)
    appended, written = await engine.apply([AppendOutput(CURRENT, b"more\n", 9), WriteState(CURRENT, b"{}", 9)])
    assert not isinstance(appended, Exception)
    assert not isinstance(written, Exception)
    await writer.drain()
    await engine.close()
    found = check_store(path)
    assert found.findings == []
    assert found.stored_bytes < found.content_bytes == sum(map(len, CONTENTS.values())) + 5 + 2 - len(snapshot(1_500))
