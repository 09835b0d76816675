"""Starts the servers that are measured, as processes of their own, and looks at what they read and write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_STOP_SECONDS_MAX: Final = 30
_QUIET_SECONDS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Disk:
    """What a process has handed to the kernel so far. None where the system does not tell.

    Attributes:
        read_bytes: bytes it read, from the page cache or from the disk.
        written_bytes: bytes it caused to be written to the disk.
    """

    read_bytes: int | None
    written_bytes: int | None


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens.

    Attributes:
        port: its port on the loopback address.
        pid: its process.
        token: what it wants to be shown, "" for nothing.
    """

    port: int
    pid: int
    token: str = ""

    def disk(self) -> Disk:
        """Look up what it has read and written. Sockets do not count as reads (they are received from)."""
        try:
            text = Path(f"/proc/{self.pid}/io").read_text(encoding="ascii")
        except OSError:
            return Disk(None, None)
        facts = dict(line.split(": ") for line in text.splitlines())
        return Disk(int(facts["rchar"]), int(facts["write_bytes"]))

    def quiet_disk(self, seconds: float) -> Disk:
        """Wait until it has not written for so long, so that what follows a change counts too, and look up again."""
        give_up = time.monotonic() + _QUIET_SECONDS_MAX
        now = self.disk()
        last_change = time.monotonic()
        while time.monotonic() < min(last_change + seconds, give_up):
            time.sleep(seconds / 10)
            before, now = now, self.disk()
            if now.written_bytes != before.written_bytes:
                last_change = time.monotonic()
        return now


@contextmanager
def daemon(directory: Path) -> Iterator[Server]:
    """Run the daemon with its default settings on an empty data directory made there."""
    data_dir = directory / "data"
    command = [sys.executable, "-m", "srv", "serve", "--data-dir", str(data_dir), "--port", "0"]
    with _running(command, directory / "daemon.log") as ready:
        token = Path(ready["token_file"]).read_text(encoding="ascii").strip()
        yield Server(_port(ready), ready["pid"], token)


@contextmanager
def echo(directory: Path) -> Iterator[Server]:
    """Run the bare echo server."""
    with _running([sys.executable, "-m", "bench.echo"], directory / "echo.log") as ready:
        yield Server(_port(ready), ready["pid"])


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[dict[str, Any]]:
    """Run a server and yield the line in which it says that it listens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZONEKEEPER_")}
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
    ):
        try:
            yield _ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def _ready(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    for line in process.stdout or ():
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "listening":
            return event
    raise RuntimeError(f"a server ended before it listened:\n{log.read_text(encoding='utf-8', errors='replace')}")


def _port(ready: dict[str, Any]) -> int:
    return urlsplit(ready["url"]).port or 0
