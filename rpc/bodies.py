"""Request bodies to values: the quick way for small ones, and the choice of the patient way for large ones.

`orjson.loads` is the judge of what is JSON: it refuses bad UTF-8, lone surrogates, NaN and a byte order mark. It is asked at
once where that takes a moment; a body that is large, or that it refuses, is read in slices by another thread (`rpc/slices.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

import orjson

from rpc import slices
from store.errors import TooLargeError
from store.limits import KIB, MIB
from store.trace import spent_on

DIRECT_BYTES_MAX: Final = 256 * KIB
"""Up to this size a body is decoded, and an answer encoded, on the event loop: a few milliseconds at worst."""

WHOLE_BYTES_MAX: Final = 1 * MIB
"""Up to this size a body is decoded in one call, which holds the interpreter's lock to its end."""

_CONTAINERS: Final = frozenset({list, dict})

_Arguments = ParamSpec("_Arguments")
_Value = TypeVar("_Value")


class OffLoop:
    """Runs long work in another thread, one piece of it at a time.

    Threads share the interpreter's lock, so a second one would not finish the work sooner, but the event loop would have to
    wait for both.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def run(
        self, work: Callable[_Arguments, _Value], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Value:
        """Do the work in its turn and return what it returns."""
        async with self._turn:
            return await asyncio.to_thread(work, *args, **kwargs)


async def decode(body: bytes | bytearray, nesting_max: int, off_loop: OffLoop, *, numbers_as_sent: bool = False) -> Any:
    """Decode a body.

    Args:
        body: JSON in UTF-8.
        nesting_max: how deep arrays and objects may be nested.
        off_loop: does what takes long.
        numbers_as_sent: give each number as a `slices.Number`, its very characters.

    Returns:
        What `orjson.loads` would. Strings too long to be decoded in one go are `slices.LongText`, numbers beyond a double are
        `slices.Number`.

    Raises:
        slices.ParseError: not JSON, or not Unicode.
        TooLargeError: nested too deep, or of too many arrays and objects.
    """
    if len(body) > DIRECT_BYTES_MAX or numbers_as_sent:
        with spent_on("decode_seconds"):
            return await off_loop.run(_decode_patiently, body, nesting_max, numbers_as_sent)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        with spent_on("decode_seconds"):
            return await off_loop.run(slices.decode, body, nesting_max)
    _check_nesting(value, nesting_max)
    return value


def _decode_patiently(body: bytes | bytearray, nesting_max: int, numbers_as_sent: bool) -> Any:  # noqa: FBT001 - passed on
    if len(body) <= WHOLE_BYTES_MAX and not numbers_as_sent:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
        else:
            _check_nesting(value, nesting_max)
            return value
    return slices.decode(body, nesting_max, numbers_as_sent=numbers_as_sent)


def _check_nesting(value: Any, nesting_max: int) -> None:
    """Refuse what is nested too deep."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(nesting_max):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) in _CONTAINERS
        ]
        if not level:
            return
    raise TooLargeError("json_nesting_max", nesting_max)
