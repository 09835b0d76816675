"""What is stored: output and snapshots that look like those of an agent. The same in every run."""

from __future__ import annotations

import json
import random
from typing import Final

from bench.client import Client
from bench.scale import KIB, MIB

_WORDS: Final = ("read", "the", "file", "then", "edit", "its", "second", "function", "run", "all", "tests")
_APPEND_BYTES: Final = 4 * MIB
_APPEND_LINES: Final = 10_000


def line(number: int, size_bytes: int = 200) -> str:
    """Make one line of output, about that long."""
    chance = random.Random(number)
    text = " ".join(chance.choices(_WORDS, k=max(1, size_bytes // 6 - 12)))
    return json.dumps({"type": "assistant", "n": number, "message": {"role": "assistant", "content": text}})


def snapshot(size_bytes: int, mark: str = "") -> str:
    """Make a snapshot of about that size. Those of different marks differ in every part."""
    message = line(0, 4000)
    node = {"id": "n0000000", "type": "assistant_message", "mark": mark, "message": message}
    count = max(1, size_bytes // (len(json.dumps(node)) + 2))
    first = {"id": "first", "type": "user_message", "message": f"Measure how long this takes {mark}"}
    return json.dumps({"nodes": [first, *({**node, "id": f"n{number:07}"} for number in range(count))]})


def fill(client: Client, definition_id: str, size_bytes: int) -> None:
    """Give an agent an output of that size, a multiple of 1 KiB, in lines of 1 KiB."""
    text = line(1, KIB).ljust(KIB - 1)
    for start_byte in range(0, size_bytes, _APPEND_BYTES):
        count = min(_APPEND_BYTES, size_bytes - start_byte) // KIB
        client.call("append_output", definition_id=definition_id, lines=[text] * count)


def fill_lines(client: Client, definition_id: str, count: int) -> None:
    """Give an agent an output of that many short lines."""
    for first in range(0, count, _APPEND_LINES):
        numbers = range(first, min(first + _APPEND_LINES, count))
        lines = [f'{{"n": {number}, "text": "a line of the output, as short as many are"}}' for number in numbers]
        client.call("append_output", definition_id=definition_id, lines=lines)
