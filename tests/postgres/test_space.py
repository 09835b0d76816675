"""How much room a snapshot takes on PostgreSQL that is rewritten again and again: what a vacuum leaves the next ones use."""

from __future__ import annotations

import random

import asyncpg
import pytest

from bench.cluster import execute
from store.engine import WriteState
from store.limits import KIB, PART_BYTES
from store.zones import agent_current_zone
from tests.postgres.conftest import Opener

ZONE = agent_current_zone("maks")
WORDS = [b"read", b"the", b"file", b"then", b"run", b"its", b"tests", b"again"]
CONTENT = b" ".join(random.Random(6).choices(WORDS, k=80_000))[: 256 * KIB]
REWRITES, ROUNDS = 20, 3


def turned(number: int) -> bytes:
    """Return a snapshot of which no part is that of another number."""
    return CONTENT[1_001 * number :] + CONTENT[: 1_001 * number]


@pytest.mark.parametrize("changes_all", [False, True])
async def test_a_snapshot_rewritten_at_once_takes_bounded_room(
    open_engine: Opener, url: str, changes_all: bool
) -> None:
    """Rounds of rewrites, a vacuum after each as autovacuum has it: later rounds need no more room than the first one took."""
    engine = await open_engine(url)
    await execute(
        url,
        "TRUNCATE zonekeeper.file_parts",  # the database may have served another test
        # The server's own vacuum comes when it likes: here it is told when.
        "ALTER TABLE zonekeeper.file_parts SET (autovacuum_enabled = off, toast.autovacuum_enabled = off)",
    )
    connection = await asyncpg.connect(url)
    room: list[int] = []
    snapshot = bytearray(CONTENT)
    for number in range(REWRITES * ROUNDS):
        snapshot = bytearray(turned(number)) if changes_all else snapshot
        snapshot[number * 1_000 : number * 1_000 + 1_000] = turned(number)[:1_000]
        (outcome,) = await engine.apply([WriteState(ZONE, bytes(snapshot), number)])
        assert not isinstance(outcome, Exception)
        if number % REWRITES == REWRITES - 1:
            room.append(await connection.fetchval("SELECT pg_table_size('zonekeeper.file_parts')"))
            await connection.execute("VACUUM zonekeeper.file_parts")
    await connection.close()
    await execute(url, "ALTER TABLE zonekeeper.file_parts RESET (autovacuum_enabled, toast.autovacuum_enabled)")
    assert max(room) < room[0] * 1.3
    changed_bytes = len(CONTENT) if changes_all else PART_BYTES
    assert room[0] < (len(CONTENT) + REWRITES * changed_bytes) // 3
