"""Results to JSON, in pieces: a snapshot of 50 MiB is answered without ever being one string.

What is large stands in the result as a `StoredText` or `Lines`. The rest is encoded at once with a mark in each of their
places, and their own pieces, made in another thread, are put between. The mark is a byte that no UTF-8 text contains, so stored
content cannot forge it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

import orjson

from rpc.bodies import OffLoop
from rpc.memory import SMALL_ANSWER_BYTES
from store.limits import KIB
from store.records import Content
from store.trace import spent_on

PIECE_CHARACTERS: Final = 64 * KIB
"""Text encoded in one step."""

_MARK: Final = b"\xff"


# No dataclasses, these two: orjson would encode them by itself instead of asking.
class StoredText:
    """Stored bytes that become one JSON string. Old data may hold invalid UTF-8: each bad sequence becomes U+FFFD."""

    __slots__ = ("_content",)

    def __init__(self, content: Content) -> None:
        self._content = content

    def pieces(self) -> Iterator[bytes]:
        """Give the JSON string in pieces."""
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        yield b'"'
        for stored in self._content:
            for start in range(0, len(stored), PIECE_CHARACTERS):
                yield orjson.dumps(decode(stored[start : start + PIECE_CHARACTERS]))[1:-1]
        yield orjson.dumps(decode(b"", final=True))[1:]


class Encoded:
    """A value that is JSON already. Not an `orjson.Fragment`, which would be copied twice on its way into an answer."""

    __slots__ = ("_json",)

    def __init__(self, json: bytes) -> None:
        self._json = json

    def pieces(self) -> Iterator[bytes]:
        """Give the JSON, as it is."""
        yield self._json


class Lines:
    """Many or long texts that become one JSON array of strings."""

    __slots__ = ("_texts",)

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def pieces(self) -> Iterator[bytes]:
        """Give the JSON array in pieces."""
        yield b"["
        separator = b""
        for text in self._texts:
            for start in range(0, len(text) or 1, PIECE_CHARACTERS):
                encoded = orjson.dumps(text[start : start + PIECE_CHARACTERS])
                yield encoded[1:-1] if start else separator + encoded[:-1]
            yield b'"'
            separator = b","
        yield b"]"


def stored_text(content: Content) -> str | StoredText:
    """Return stored bytes in the form that suits their size."""
    if sum(map(len, content)) > SMALL_ANSWER_BYTES:
        return StoredText(content)
    return b"".join(content).decode("utf-8", "replace")


def lines(texts: list[str]) -> list[str] | Lines:
    """Return texts in the form that suits their size."""
    return Lines(texts) if sum(map(len, texts)) > SMALL_ANSWER_BYTES else texts


async def encode(result: Any, off_loop: OffLoop) -> tuple[bytes, ...]:
    """Encode a result.

    Args:
        result: what `orjson` takes, dataclasses too, with `StoredText` and `Lines` in it.
        off_loop: does what takes long.

    Returns:
        JSON in pieces.
    """
    large: list[StoredText | Lines | Encoded] = []

    def mark(value: Any) -> orjson.Fragment:
        if not isinstance(value, (StoredText, Lines, Encoded)):
            raise TypeError(f"a result holds a {type(value).__name__}")
        large.append(value)
        return orjson.Fragment(_MARK)

    encoded = orjson.dumps(result, default=mark)
    if not large:
        return (encoded,)
    if len(large) == 1 and isinstance(large[0], Encoded):
        before, after = encoded.split(_MARK)
        return (before, *large[0].pieces(), after)
    with spent_on("encode_seconds"):
        return await off_loop.run(_weave, encoded.split(_MARK), large)


def _weave(between: list[bytes], large: list[StoredText | Lines | Encoded]) -> tuple[bytes, ...]:
    pieces: list[bytes] = []
    for text, value in zip_longest(between, large):
        pieces.append(text)
        if value is not None:
            pieces.extend(_gathered(value.pieces()))
    return tuple(pieces)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces, so that thousands of short lines do not become thousands of writes to a socket."""
    waiting: list[bytes] = []
    waiting_bytes = 0
    for piece in pieces:
        waiting.append(piece)
        waiting_bytes += len(piece)
        if waiting_bytes >= PIECE_CHARACTERS:
            yield b"".join(waiting)
            waiting.clear()
            waiting_bytes = 0
    yield b"".join(waiting)
