r"""The line rule of DESIGN.md section 1; pure.

A line is the bytes between `\n`; a last piece without `\n` counts; a line that is blank after trimming Unicode
White_Space is not counted. Nothing here uses `str.splitlines`, `str.strip` or `str.isspace`: the first splits on U+2028
and others, the latter two take U+001C to U+001F for blank, which are not White_Space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# Unicode 15 PropList.txt, White_Space, but for `\n`: the separator itself never stands inside a line.
_BLANK: Final = (
    rb"(?:[\t\x0b\x0c\r ]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)"
)
_BLANK_LINE: Final = re.compile(_BLANK + rb"*+")
_BLANK_LINE_ENDED: Final = re.compile(rb"\n" + _BLANK + rb"*+(?=\n)")


def is_blank(line: bytes) -> bool:
    r"""Tell whether a line (without its `\n`) is nothing but Unicode White_Space."""
    return _BLANK_LINE.fullmatch(line) is not None


def count_lines(data: bytes) -> int:
    r"""Count the lines of `data` that are not blank, the last piece without `\n` included.

    Works on the whole buffer at once: an append of 100 lines is counted in microseconds.
    """
    if not data:
        return 0
    if b" " < data[:1] < b"\x7f" and data.find(b"\n") in {-1, len(data) - 1}:
        return 1  # one line that begins with what is not blank: nearly every append
    ended = data.count(b"\n")
    blank = len(_BLANK_LINE_ENDED.findall(b"\n" + data))
    last = data[data.rfind(b"\n") + 1 :]
    return ended - blank + (not is_blank(last))


def split_lines(data: bytes) -> list[bytes]:
    r"""Return the lines of `data` that are not blank, without `\n` and without the one `\r` before it."""
    pieces = data.split(b"\n")
    last = pieces.pop()
    lines = [piece.removesuffix(b"\r") for piece in pieces if not is_blank(piece)]
    if not is_blank(last):
        lines.append(last)
    return lines


def longest_line_bytes(data: bytes) -> int:
    r"""Return the size of the longest line of `data`, blank ones included, without its `\n`."""
    return max(map(len, data.split(b"\n")))


def line_text(line: bytes) -> str:
    """Return a line as text. Output from old data may hold invalid UTF-8: each bad sequence becomes U+FFFD."""
    return line.decode("utf-8", "replace")


def joined(texts: Sequence[str]) -> bytes:
    r"""Return the bytes an append stores for texts, one or more: each gets one `\n` only where it does not end with one."""
    text = "\n".join(texts)
    if text.count("\n") != len(texts) - 1:
        text = "".join(each if each.endswith("\n") else each + "\n" for each in texts)
        return text.encode()
    return (text + "\n").encode()


def shift_of_duplicate(sent: bytes, stored: bytes, before: int) -> int | None:
    r"""Tell whether an append of `sent` at some offset is stored there already.

    Args:
        sent: what was to be appended.
        stored: what is stored from `before` bytes before the offset on.
        before: 1, or 0 where the offset is 0.

    Returns:
        How far behind the offset it begins: 0, or 1 where an unterminated tail had to be closed with `\n` first. None where it
        is not there.
    """
    if stored.startswith(sent, before):
        return 0
    closed = before and not stored.startswith(b"\n") and stored.startswith(b"\n" + sent, before)
    return 1 if closed else None
