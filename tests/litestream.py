"""Litestream as a process: at its most talkative it says each step, so what it has done need not be waited for by the clock."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PROGRAM: Final = f"{sys.prefix}/bin/litestream"

Wait = Callable[[Callable[[bytes], bool]], None]
"""Waits until something is so, and looks whenever Litestream has done a step and said this line."""


@contextmanager
def replicating(
    command: Sequence[str], environment: Mapping[str, str], end: signal.Signals = signal.SIGKILL
) -> Iterator[Wait]:
    """Run it beside a daemon; ended by that signal at the end of the block."""
    with subprocess.Popen(
        command, env={**environment, "LOG_LEVEL": "debug"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        said = process.stdout
        assert said is not None

        def wait_until(is_so: Callable[[bytes], bool]) -> None:
            assert any(map(is_so, said)), "Litestream has ended"

        try:
            yield wait_until
        finally:
            process.send_signal(end)
            process.communicate()


def copies(replica: Path) -> int:
    """Count the files it has stored in a directory: one each time it looked and there was something new."""
    return len(list((replica / "ltx" / "0").glob("*.ltx")))
