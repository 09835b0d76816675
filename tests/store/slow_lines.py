"""The line rule of DESIGN.md section 1, read slowly: what the product and the models of it are held to."""

from __future__ import annotations

from typing import Final

WHITE_SPACE: Final = frozenset(
    map(
        chr,
        (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000),
    )
)
"""Unicode 15 PropList.txt, White_Space: 25 characters."""


def blank(line: bytes) -> bool:
    """Tell slowly whether a line is blank: decoded, every character is White_Space."""
    try:
        return all(character in WHITE_SPACE for character in line.decode())
    except UnicodeDecodeError:
        return False


def lines_of(data: bytes) -> list[bytes]:
    """Split slowly."""
    pieces = data.split(b"\n")
    ended, last = pieces[:-1], pieces[-1]
    lines = [piece[:-1] if piece.endswith(b"\r") else piece for piece in ended if not blank(piece)]
    return lines if blank(last) else [*lines, last]
