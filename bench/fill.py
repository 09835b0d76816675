"""Fills a store through the daemon, as quickly as that goes; none of it is timed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from bench import texts
from bench.client import Client
from bench.scale import KIB, MIB

_APPEND_BYTES: Final = 4 * MIB
_APPEND_LINES: Final = 10_000
_BATCH_MEMBERS: Final = 1_000

Call = tuple[str, dict[str, Any]]


def output_of_size(client: Client, definition_id: str, size_bytes: int) -> None:
    """Give an agent an output of that size, a multiple of 1 KiB, in lines of 1 KiB."""
    text = texts.line(1, KIB)
    for start_byte in range(0, size_bytes, _APPEND_BYTES):
        count = min(_APPEND_BYTES, size_bytes - start_byte) // KIB
        client.call("append_output", definition_id=definition_id, lines=[text] * count)


def output_of_lines(client: Client, definition_id: str, count: int) -> None:
    """Give an agent an output of that many lines of 100 bytes, each of which tells its number."""
    rest = "the rest of a line of the output, which is as short as many lines are, and no shorter"
    for first in range(0, count, _APPEND_LINES):
        numbers = range(first, min(first + _APPEND_LINES, count))
        lines = [f'{{"n": {number}, "text": "{rest}'[:97] + '"}' for number in numbers]
        client.call("append_output", definition_id=definition_id, lines=lines)


def session(definition_id: str, size_bytes: int) -> Iterator[Call]:
    """Make the calls that give an agent a session of about that size: a third of it is its snapshot."""
    snapshot_bytes = max(500, size_bytes // 3)
    text = texts.line(1, min(KIB, size_bytes - snapshot_bytes))
    count = (size_bytes - snapshot_bytes) // (len(text) + 1)
    yield "append_output", {"definition_id": definition_id, "lines": [text] * count}
    yield (
        "write_state",
        {"definition_id": definition_id, "content": texts.snapshot(snapshot_bytes), "covers_line": count},
    )


def in_batches(client: Client, calls: Iterable[Call]) -> None:
    """Make the calls, many to a batch."""
    remaining = iter(calls)
    while batch := list(islice(remaining, _BATCH_MEMBERS)):
        client.call_all(batch)


def wait_for_previews(client: Client, definition_id: str) -> None:
    """Wait until the newest archives of an agent have their previews."""
    while any(row["preview"] is None for row in client.call("list_archives", definition_id=definition_id, limit=100)):
        time.sleep(0.05)
