"""What snapshots and options say in JSON that need not be quite right; nothing here raises."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from store.limits import TIME_MS_MAX

_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class _Marks(msgspec.Struct):
    highWaterMark: Any = None  # noqa: N815 - the name in the snapshot


def high_water_mark(snapshot: bytes) -> int | None:
    """Return how many lines of the output a snapshot says it contains, None where it does not say, or is not JSON.

    Only this member is built; the rest is skipped over.
    """
    # JavaScript writes half of a cut emoji as `\ud83d`, which the decoder refuses. Any other escape will do instead.
    for candidate in (snapshot, _SURROGATE_ESCAPE.sub(rb"\\u0020", snapshot)):
        try:
            mark = whole_number(msgspec.json.decode(candidate, type=_Marks).highWaterMark)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        return mark if mark is not None and 0 <= mark <= TIME_MS_MAX else None
    return None


def whole_number(value: object) -> int | None:
    """Take a number as a whole one where it is: JSON does not tell 2 from 2.0. None for anything else, `true` too."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
