"""What is JSON and what is not, by RFC 8259, whichever of its three ways the decoder takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from rpc.bodies import DIRECT_BYTES_MAX, WHOLE_BYTES_MAX
from tests.fuzz.grammar import DEEP, PRODUCTIONS, Text
from tests.rpc.conftest import Wire

SIZES: Final = {"small": 0, "in another thread": DIRECT_BYTES_MAX + 1, "in slices": WHOLE_BYTES_MAX + 1}
"""The least size of a body that takes each of the ways."""


def alone(body: bytes, size_bytes: int) -> bytes:
    """Make a text the whole body, among white space."""
    room = max(0, size_bytes - len(body))
    return b"\n" * (room // 2) + body + b" " * (room - room // 2)


def in_params(body: bytes, size_bytes: int) -> bytes:
    """Make a text a parameter, behind a long string."""
    filler = b"x" * max(0, size_bytes - len(body))
    return b'{"jsonrpc": "2.0", "id": 1, "method": "srv:status", "params": ["%b", %b]}' % (filler, body)


Place = Callable[[bytes, int], bytes]


def texts(production: str, place: Place, size_bytes: int) -> Iterator[Text]:
    """Yield the texts of a production, but none twice.

    What may stand anywhere need not be the whole of a large body too, and what is deep is read in slices wherever it stands.
    """
    for text in dict.fromkeys(PRODUCTIONS[production]()):
        is_for_here = text.stands_alone or not size_bytes if place is alone else not text.stands_alone
        if is_for_here and (len(text.body) < DEEP or (place is alone and not size_bytes)):
            yield text


def is_parse_error(answer: Any) -> bool:
    """Tell whether an answer says of a body that it is not JSON."""
    error = {"code": -32700, "message": "Parse error"}
    return bool(answer == {"jsonrpc": "2.0", "error": error, "id": None})


@pytest.mark.parametrize("way", SIZES)
@pytest.mark.parametrize("place", [alone, in_params])
@pytest.mark.parametrize("production", PRODUCTIONS)
async def test_the_grammar_decides_what_is_json(wire: Wire, production: str, place: Place, way: str) -> None:
    """What it allows is taken, or refused for its depth; what it does not is -32700 with a null id."""
    wrong = []
    for text in texts(production, place, SIZES[way]):
        answer = await wire.exchange(place(text.body, SIZES[way]))
        if is_parse_error(answer) is text.is_json:
            wrong.append((text.body[:100], answer))
    assert wrong == []


@pytest.mark.parametrize("production", PRODUCTIONS)
def test_another_reader_of_json_agrees_with_the_grammar(production: str) -> None:
    """The table is no invention of ours: Python's own reader, at its strictest, says the same of each text."""
    for text in PRODUCTIONS[production]():
        if len(text.body) < DEEP:  # it is recursive
            assert is_json_to_python(text.body) is text.is_json, text


def is_json_to_python(body: bytes) -> bool:
    """Read a text with Python's `json`, which by itself lets NaN and lone surrogates through."""
    try:
        value = json.loads(body.decode(), parse_constant=refuse, parse_int=str, parse_float=str)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def refuse(constant: str) -> None:
    """Take no NaN and no Infinity."""
    raise ValueError(constant)
