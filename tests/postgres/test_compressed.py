"""Parts on PostgreSQL: compressed as they are written, where that helps, and nothing stored anew that is stored already."""

from __future__ import annotations

import random
from typing import Any

import asyncpg
import pytest

from bench.cluster import execute
from store.engine import AppendOutput, WriteState
from store.errors import StorageDamagedError
from store.limits import PART_BYTES
from store.records import Appended, Written
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, agent_current_zone
from tests.postgres.conftest import Opener

ZONE = agent_current_zone("maks")
NOISE = random.Random(3).randbytes(PART_BYTES)
SNAPSHOT = b" ".join(random.Random(4).choices([b"read", b"the", b"file", b"then", b"run", b"its", b"tests"], k=50_000))
PARTS = "SELECT codec, size_bytes, length(data), revision, xmin FROM zonekeeper.file_parts WHERE name = $1"


async def parts_of(url: str, name: str) -> list[Any]:
    """Return the parts of the one file of this name, in order."""
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(f"{PARTS} ORDER BY start_byte", name))
    finally:
        await connection.close()


async def test_a_part_is_compressed_where_that_helps(open_engine: Opener, url: str) -> None:
    """What does not get smaller, and what still grows, is stored as it is; sizes above the store are those of the bytes."""
    engine = await open_engine(url)
    line = b'{"type": "assistant", "text": "said"}\n'
    outcomes = await engine.apply([WriteState(ZONE, SNAPSHOT[:PART_BYTES] + NOISE, 1), AppendOutput(ZONE, line, 1)])
    assert isinstance(outcomes[0], Written)
    text, noise = await parts_of(url, SNAPSHOT_FILE)
    assert (text["codec"], text["size_bytes"], text["length"] < PART_BYTES // 3) == (1, PART_BYTES, True)
    assert (noise["codec"], noise["size_bytes"], noise["length"]) == (0, PART_BYTES, PART_BYTES)
    assert [part["codec"] for part in await parts_of(url, OUTPUT_FILE)] == [0]
    (appended,) = await engine.apply([AppendOutput(ZONE, line * 2_000, 2)])
    assert isinstance(appended, Appended)
    parts = await parts_of(url, OUTPUT_FILE)
    assert {part["codec"] for part in parts if part["size_bytes"] > len(line)} == {1}
    assert sum(part["size_bytes"] for part in parts) == appended.size_bytes == len(line) * 2_001


async def test_a_snapshot_in_which_a_little_changed_stores_that(open_engine: Opener, url: str) -> None:
    """One part; the last one bears the new revision, and nothing of its bytes is stored or compressed anew."""
    engine = await open_engine(url)
    await engine.apply([WriteState(ZONE, SNAPSHOT, 1)])
    content = SNAPSHOT[:70_000] + b"\0" + SNAPSHOT[70_001:]
    await engine.apply([WriteState(ZONE, content, 2)])
    parts = await parts_of(url, SNAPSHOT_FILE)
    assert [part["revision"] for part in parts] == [1, 2, 1, 2]
    connection = await asyncpg.connect(url)
    toast = await connection.fetchval(
        "SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'zonekeeper.file_parts'::regclass"
    )
    stored_bytes = await connection.fetchval(
        f"SELECT sum(length(chunk_data)) FROM {toast} WHERE xmin = $1", parts[1]["xmin"]
    )
    await connection.close()
    assert stored_bytes == parts[1]["length"]
    assert await engine.read_bytes(ZONE, SNAPSHOT_FILE, 0, len(content)) == content


@pytest.mark.parametrize(
    "damage",
    [
        "codec = 0",
        "codec = 7",
        "data = substr(data, 1, length(data) - 1)",
        "data = data || '\\x00'::bytea",
        "data = set_byte(data, 40, 255 - get_byte(data, 40))",
        "size_bytes = size_bytes + 1",
        "crc32 = crc32 + 1",
    ],
)
async def test_a_compressed_part_that_is_damaged_is_said(open_engine: Opener, url: str, damage: str) -> None:
    """The file is damaged, the other one is read; the next write mends a snapshot, and an append goes behind what is lost."""
    engine = await open_engine(url)
    lines = b'{"type": "assistant", "text": "said"}\n' * 200
    await engine.apply([WriteState(ZONE, SNAPSHOT, 1), AppendOutput(ZONE, lines, 1)])
    await execute(url, f"UPDATE zonekeeper.file_parts SET {damage}")
    again = await open_engine(url)
    for name in (SNAPSHOT_FILE, OUTPUT_FILE):
        with pytest.raises(StorageDamagedError, match=f"zone {ZONE}, file {name}"):
            await again.read_bytes(ZONE, name, 0, 1)
    written, appended = await again.apply([WriteState(ZONE, SNAPSHOT, 2), AppendOutput(ZONE, b"more\n", 2)])
    assert isinstance(written, Written)
    assert isinstance(appended, Appended)
    assert await again.read_bytes(ZONE, SNAPSHOT_FILE, 0, 10) == SNAPSHOT[:10]
    page = await again.read_output(ZONE, None, 1, 1_000)
    assert page is not None
    assert page.lines == ["more"]
