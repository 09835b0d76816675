"""Commands as processes of their own: on pipes, or on a terminal, for tests."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.srv.daemon import ROOT, WAIT_SECONDS, environment_with

ZONEKEEPER: Final = str(Path(sys.executable).with_name("zonekeeper"))


class Terminal:
    """A command whose standard streams are a terminal; also a context manager that ends it.

    Attributes:
        process: the process.
        shown: what the terminal has shown so far.
    """

    def __init__(self, *arguments: str, columns: int = 80, stdin: int | None = None) -> None:
        """Start `zonekeeper` with these arguments; `stdin` is its standard input instead of the terminal."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.shown = ""
        self.process = subprocess.Popen(
            [ZONEKEEPER, *arguments],
            cwd=ROOT,
            env=environment_with({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}),
            stdin=slave if stdin is None else stdin,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def wait_for(self, text: str) -> None:
        """Wait until the terminal has shown a text."""
        while text not in self.shown:
            assert self._read(), f"it ended and had shown {self.shown!r}"

    def wait(self) -> int:
        """Wait for its end and return its exit code; all that it showed is in `shown`."""
        while self._read():
            pass
        return self.process.wait(WAIT_SECONDS)

    def _read(self) -> bool:
        assert select.select([self._master], [], [], WAIT_SECONDS)[0], f"nothing more comes after {self.shown!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # what Linux says once nobody has the other end any more
                raise
            return False
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)


def on_terminal(*arguments: str, columns: int = 80) -> tuple[int, str]:
    """Run a command on a terminal; returns its exit code and what was shown."""
    with Terminal(*arguments, columns=columns) as terminal:
        return terminal.wait(), terminal.shown
