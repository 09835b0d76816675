"""What PostgreSQL does by itself: raw inserts of the same batches, the yardstick of appends; and how large a store is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count

import asyncpg
import uvloop

from bench.machine import SQL


def per_second(url: str, batches: Sequence[Sequence[bytes]], seconds: float) -> float:
    """Count how many blobs are inserted a second: each batch a durable transaction, its rows sent without waiting in between.

    Args:
        url: of a database that may get a further table.
        batches: taken in turn.
        seconds: for how long.
    """
    return uvloop.run(_per_second(url, batches, seconds))


async def _per_second(url: str, batches: Sequence[Sequence[bytes]], seconds: float) -> float:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SQL["forget_lines"])
        await connection.execute(SQL["lines"])
        numbers = count()
        begin = time.perf_counter()
        inserted = 0
        for number in count():
            rows = [(next(numbers), blob) for blob in batches[number % len(batches)]]
            await connection.executemany(SQL["insert_line"], rows)
            inserted += len(rows)
            if (took := time.perf_counter() - begin) >= seconds:
                break
    finally:
        await connection.close()
    return inserted / took


def stored_bytes(url: str) -> int:
    """Bytes of a store's tables with their indexes and what is left of earlier rows."""
    return uvloop.run(_stored_bytes(url))


async def _stored_bytes(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(SQL["stored_bytes"]))
    finally:
        await connection.close()
