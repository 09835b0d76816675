"""Standard output of the commands, which may be a terminal, a full disk or a pipe that nobody reads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from srv.escapes import escaped_but_layout, escaped_json
from srv.exits import Exit, StartFailedError


def write_out(text: str) -> None:
    """Write a text for people and its line end, now.

    Raises:
        BrokenPipeError: whoever read it has seen enough.
        StartFailedError: it cannot be written.
    """
    if sys.stdout is not None:
        # What the encoding of a terminal lacks is shown escaped.
        _write(f"{text}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """Write a value as JSON for scripts, in UTF-8; on a terminal nothing in it drives that. Raises as `write_out` does.

    Args:
        value: JSON, which may hold records of the client: their fields have the names of the wire.
        indent: None for a single line.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_members)
    if is_terminal():
        write_out(escaped_json(text))
    else:
        _write(f"{text}\n".encode())


def _members(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def write_stored(text: str) -> None:
    """Write what is stored, to the byte. Where that is a terminal, nothing in it drives that, and the last line has an end.

    Raises as `write_out` does.
    """
    if is_terminal():
        write_out(escaped_but_layout(text).removesuffix("\n"))
    else:
        _write(text.encode())


def write_lines(lines: Iterable[str]) -> None:
    """Write stored lines, each with its end, as `write_stored` does."""
    write_stored("".join(f"{line}\n" for line in lines))


def is_terminal() -> bool:
    """Tell whether somebody looks at standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def note(text: str) -> None:
    """Tell people, on standard error, what is no part of the result."""
    if sys.stderr is not None:
        sys.stderr.write(f"zonekeeper: {text}\n")


def _write(data: bytes) -> None:
    if sys.stdout is None:
        return
    try:
        left = memoryview(data)
        while left:  # with PYTHONUNBUFFERED a part may be all that is written at once
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        drop_output()
        raise
    except OSError as error:
        drop_output()
        raise StartFailedError(Exit.FAILED, f"standard output cannot be written: {error.strerror}") from error


def drop_output() -> None:
    """Drop what could not be written. Python would try, and complain, once more when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def size_in_words(size_bytes: int) -> str:
    """Write a size for people, in the largest binary unit that it fills."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - binary units
            return f"{size:.1f} {unit}" if unit != "bytes" else f"{size_bytes} bytes"
        size /= 1024
    return f"{size:.1f} GiB"


def counted(number: int, noun: str) -> str:
    """Write a number of things for people, such as `1 line`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
