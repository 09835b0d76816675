"""Standard output of the commands, which may be a full disk or a pipe that nobody reads."""

from __future__ import annotations

import os
import sys

from srv.exits import Exit, StartFailedError


def write_out(text: str) -> None:
    """Write a text and its line end, now.

    Raises:
        BrokenPipeError: whoever read it has seen enough.
        StartFailedError: it cannot be written.
    """
    if sys.stdout is None:
        return
    # What the encoding of a terminal lacks is shown escaped.
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
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
