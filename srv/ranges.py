"""The `Range` header (RFC 9110, section 14), for one range of bytes; pure."""

from __future__ import annotations

import re
from typing import Final

# Python refuses to read a number of more than 4300 digits.
_RANGE: Final = re.compile(r"([0-9]{0,4000})-([0-9]{0,4000})")


class NotSatisfiableError(Exception):
    """There is nothing where the range asks for something; or it asks for several ranges, which we do not send."""


def bytes_wanted(text: str, size_bytes: int) -> tuple[int, int] | None:
    """Tell which bytes of a file are asked for.

    Args:
        text: the header's value: `bytes=a-b`, `bytes=a-` or `bytes=-n`.
        size_bytes: size of the file.

    Returns:
        The first byte, and the one behind the last. None where the header is to be passed over, and the whole file sent: it has
        another unit, or another form than the RFC gives it; or it asks for the end of a file without a byte, which no answer
        can name.

    Raises:
        NotSatisfiableError: to be answered with 416.
    """
    unit, _, places = text.partition("=")
    if unit.lower() != "bytes":
        return None
    ranges = [_range(place) for each in places.split(",") if (place := each.strip(" \t"))]
    if not ranges or None in ranges:
        return None
    if len(ranges) > 1:
        raise NotSatisfiableError
    first, last = ranges[0] or (None, None)
    if first is None:
        return _end(last or 0, size_bytes)
    if first >= size_bytes:
        raise NotSatisfiableError
    return first, size_bytes if last is None else min(last + 1, size_bytes)


def _range(place: str) -> tuple[int | None, int | None] | None:
    """Return the two numbers of a range, None for the one that is left out; None where it is not a range."""
    match = _RANGE.fullmatch(place)
    if match is None:
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if last is None:
        return None if first is None else (first, None)
    return None if first is not None and last < first else (first, last)


def _end(length: int, size_bytes: int) -> tuple[int, int] | None:
    if length == 0:
        raise NotSatisfiableError
    return (max(0, size_bytes - length), size_bytes) if size_bytes else None
