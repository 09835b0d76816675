"""Makes backups in a process of its own, and ends each with a signal: `python -m tests.srv.backup_victim DATA_DIR DEST SIGNAL`.

One child for each step that a backup takes with files or tells as progress: the first is ended at its first step, the next at
its second, and so on, until one comes through. A line of JSON tells what each has left.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srv import backup
from srv.cli import main
from srv.progress import Show

_EVENTS = ("open", "os.link", "os.remove", "os.rename", "fcntl.flock", "sqlite3.connect")


def end_at(step: int, signal_number: int, directory: str) -> None:
    """Send ourselves a signal at a step from now: a file of that directory is touched, or progress told."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal_number)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_EVENTS) and (event.startswith("fcntl") or directory in str(arguments[0])):
            count()

    @contextmanager
    def progress() -> Iterator[Show]:
        yield lambda _what, _done, _total: count()

    setattr(backup, "progress_bar", progress)  # noqa: B010 - mypy knows that it is only imported there
    sys.addaudithook(hook)


def run(data_dir: str, destination: str, step: int, signal_number: int) -> int:
    """Make a backup in a child that is ended at that step; returns what the system says of its end."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        end_at(step, signal_number, str(Path(destination).parent))
        os._exit(main(["backup", destination, "--data-dir", data_dir]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def report(data_dir: str, destination: str, signal_number: int) -> None:
    """Go through all steps."""
    step = 0
    code = -1
    while code != 0:
        step += 1
        Path(destination).unlink(missing_ok=True)
        code = run(data_dir, destination, step, signal_number)
        names = sorted(path.name for path in Path(destination).parent.iterdir())
        there = Path(destination)
        size_bytes = there.stat().st_size if there.exists() else None
        print(json.dumps({"step": step, "code": code, "names": names, "size_bytes": size_bytes}), flush=True)  # noqa: T201 - that is how it tells


if __name__ == "__main__":
    report(sys.argv[1], sys.argv[2], int(sys.argv[3]))
