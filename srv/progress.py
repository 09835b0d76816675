"""How far a command is, on standard error where that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Show = Callable[[str, int, int], None]
"""Told what is being done, how much of it, and how much there is; 0 of 0 where nobody knows."""

_SECONDS_BETWEEN: Final = 0.05


@contextmanager
def progress_bar() -> Iterator[Show]:
    """Show progress, a line for each thing that is done, from when there is something to show. It is gone at the end."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    with ExitStack() as shown:
        bar: Progress | None = None
        tasks: dict[str, TaskID] = {}
        shown_at = 0.0

        def show(what: str, done: int, total: int) -> None:
            nonlocal bar, shown_at
            now = time.monotonic()
            if what in tasks and done < total and now - shown_at < _SECONDS_BETWEEN:
                return
            shown_at = now
            if bar is None:
                bar = shown.enter_context(_bar())
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total or None)

        yield show


def _bar() -> Progress:
    from rich.console import Console  # noqa: PLC0415 - takes a while, and the daemon never needs it
    from rich.progress import Progress  # noqa: PLC0415 - the same

    return Progress(console=Console(stderr=True), transient=True)
