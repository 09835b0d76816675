"""JSON for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.bodies import OffLoop
from rpc.pretty import STEP_BYTES, Indenter, indented, indented_in_steps

TEXTS = st.text(st.sampled_from('ab"\\\n\t\x00{}[],: é😀\u2028'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXTS, values, max_size=4),
    max_leaves=20,
)


@given(value=VALUES)
def test_a_text_is_indented_as_everybody_does_it(value: Any) -> None:
    """By two spaces, a member a line, what is empty on one line."""
    assert indented(orjson.dumps(value)) == orjson.dumps(value, option=orjson.OPT_INDENT_2)


@given(value=VALUES, places=st.lists(st.integers(0, 200), max_size=6), ascii_only=st.booleans())
def test_it_does_not_matter_where_a_text_is_cut(value: Any, places: list[int], ascii_only: bool) -> None:
    """Within strings, escapes, numbers and characters too; and space that was there before does not count."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=None if len(places) % 2 else 1).encode()
    indenter = Indenter()
    cuts = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    assert b"".join(indenter.feed(text[start:end]) for start, end in pairwise(cuts)) == indented(text)
    assert json.loads(indented(text)) == value


@pytest.mark.parametrize("number", ["1.50", "-0", "1e999", "123456789012345678901234567890"])
def test_numbers_leave_as_they_came(number: str) -> None:
    """Nothing is decoded, so nothing is lost."""
    assert indented(f'{{"id":{number}}}'.encode()) == f'{{\n  "id": {number}\n}}'.encode()


def test_what_lies_within_a_string_is_not_copied() -> None:
    """A snapshot of 50 MiB takes no more memory for being looked at."""
    indenter = Indenter()
    assert indenter.feed(b'{"content":"') == b'{\n  "content": "'
    piece = b'{\\"nodes\\": [1, 2]}' * 1_000
    assert indenter.feed(piece) is piece


class Recorded(OffLoop):
    """Remembers how much each step was given."""

    def __init__(self) -> None:
        super().__init__()
        self.step_bytes: list[int] = []

    async def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do the work."""
        self.step_bytes += map(len, args)
        return await super().run(work, *args, **kwargs)


async def test_steps_make_the_same_of_a_large_text_and_none_is_empty() -> None:
    """With a line end behind it, whatever the pieces are. None of the steps is long, so nobody waits for one."""
    value = [{"text": "é" * 50_000, "numbers": list(range(1_000)), "none": []}] * 5
    text = orjson.dumps(value)
    for piece_bytes in (7_001, STEP_BYTES, 3 * STEP_BYTES + 1):
        pieces = [text[start : start + piece_bytes] for start in range(0, len(text), piece_bytes)]
        off_loop = Recorded()
        done = [each async for each in indented_in_steps([b"", b" ", *pieces], off_loop)]
        assert all(done)
        assert max(off_loop.step_bytes) <= STEP_BYTES
        assert b"".join(done) == orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
