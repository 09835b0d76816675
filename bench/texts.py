"""What is stored: output and snapshots that look like those of an agent. The same in every run."""

from __future__ import annotations

import json
import random
from typing import Final

_WORDS: Final = ("read", "the", "file", "then", "edit", "its", "second", "function", "run", "all", "tests")
_NODE_BYTES: Final = 600


def line(number: int, size_bytes: int = 500) -> str:
    """Make one line of output whose bytes, the line end that is added to it included, are that many (at least 100)."""
    return _padded({"type": "assistant", "n": number, "message": {"role": "assistant"}}, number, size_bytes - 1)


def lines(first: int, count: int, size_bytes: int = 500) -> list[str]:
    """Make that many lines, the first of that number."""
    return [line(number, size_bytes) for number in range(first, first + count)]


def snapshot(size_bytes: int, mark: str = "") -> str:
    """Make a snapshot of that very size (at least 500 bytes). Those of different marks differ in every part."""
    first = {"type": "user_message", "id": "first", "message": f"Measure how long this takes {mark}"}
    head = f'{{"schemaVersion": 1, "historyOffset": 0, "nodes": [{json.dumps(first)}'
    node = _padded({"type": "markdown", "mark": mark, "id": "n%07d"}, 0, _NODE_BYTES)
    count = max(0, size_bytes - len(head)) // (len(node % 0) + 2) - 1
    nodes = "".join(f", {node % number}" for number in range(count))
    last = _padded({"type": "markdown", "id": "last"}, 1, size_bytes - len(head) - len(nodes) - len(", ]}"))
    return f"{head}{nodes}, {last}]}}"


def changed(content: str, from_end_bytes: int, mark: str, size_bytes: int = 1_000) -> str:
    """Replace a passage of a snapshot by another of the same length, that many bytes before its end."""
    begin = len(content) - from_end_bytes
    passage = content[begin : begin + size_bytes]
    # Letters change into others; what is JSON stays, so that the snapshot remains one.
    table = str.maketrans("aeiou", (mark * 5)[:5])
    return content[:begin] + passage.translate(table) + content[begin + size_bytes :]


def _padded(members: dict[str, object], seed: int, size_bytes: int) -> str:
    """Write an object as JSON of that size, with a text of words as its last member."""
    bare = len(json.dumps({**members, "content": ""}))
    chance = random.Random(seed)
    text = ""
    while len(text) < size_bytes - bare:
        text += " ".join(chance.choices(_WORDS, k=200)) + " "
    return json.dumps({**members, "content": text[: size_bytes - bare]})
