"""What others wrote, made harmless for a terminal or a log: it can neither forge a line nor drive whoever shows it."""

from __future__ import annotations

import re
from typing import Final

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROL_BUT_LAYOUT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    """Escape control and direction characters in a text for people; it is a single line afterwards."""
    return _CONTROL.sub(_escape, text)


def escaped_but_layout(text: str) -> str:
    """Escape the same, but for line ends and tabs: what has several lines keeps them."""
    return _CONTROL_BUT_LAYOUT.sub(_escape, text)


def escaped_json(text: str) -> str:
    """Escape the same in JSON, which means what it meant: there they stand in strings only, but for the layout."""
    return _CONTROL_BUT_LAYOUT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
