"""Starts the servers that are measured, as processes of their own, and looks at what they read, write and keep in memory."""

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

ROOT: Final = Path(__file__).resolve().parent.parent

_STOP_SECONDS_MAX: Final = 30
_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
_QUIET_SECONDS: Final = 0.3
_QUIET_SECONDS_MAX: Final = 30


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens.

    Attributes:
        port: its port on the loopback address.
        pid: its process.
        token: what it wants to be shown, or what it is shown although it does not ask.
        started_seconds: from the start of its process to the line in which it says that it listens.
    """

    port: int
    pid: int
    token: str
    started_seconds: float

    def written_bytes(self) -> int:
        """Bytes it has caused to be written to the disk so far."""
        return _fact(self.pid, "io", "write_bytes")

    def memory_bytes(self) -> int:
        """Its memory at the moment."""
        return _fact(self.pid, "status", "VmRSS") * 1024

    def memory_bytes_max(self) -> int:
        """The most memory it had since `forget_memory_max`."""
        return _fact(self.pid, "status", "VmHWM") * 1024

    def forget_memory_max(self) -> None:
        """Begin anew with the most memory it had."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def wait_until_quiet(self) -> None:
        """Wait until it has written nothing for a while, so that what follows a change is over."""
        give_up = time.monotonic() + _QUIET_SECONDS_MAX
        written, last_change = self.written_bytes(), time.monotonic()
        while time.monotonic() < min(last_change + _QUIET_SECONDS, give_up):
            time.sleep(_QUIET_SECONDS / 10)
            if written != (written := self.written_bytes()):
                last_change = time.monotonic()

    def busy_seconds(self) -> float:
        """Seconds of a core that it has used so far."""
        return sum(map(int, _status(self.pid)[11:13])) * _TICK_SECONDS

    def end(self) -> int:
        """Stop it; returns the bytes it has caused to be written to the disk up to its end."""
        os.kill(self.pid, 15)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # its facts stay until `_running` takes note of its end
        return self.written_bytes()


def parent_of(pid: int) -> int:
    """Return the process that another one was started by."""
    return int(_status(pid)[1])


def family_seconds(parent: int) -> float:
    """Return the seconds of a core that a process, its children and those of them that have ended have used so far."""
    ticks = sum(map(int, _status(parent)[11:15]))
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICK_SECONDS


def daemon_command(*arguments: str) -> list[str]:
    """Return the command line of the daemon's program."""
    return [sys.executable, "-m", "srv", *arguments]


@contextmanager
def daemon(data_dir: Path, store: str = "") -> Iterator[Server]:
    """Run the daemon with its default settings on a data directory, which is made where it is not there.

    Args:
        data_dir: the data directory.
        store: URL of a database that has the sessions instead.
    """
    command = daemon_command(
        "serve", "--data-dir", str(data_dir), "--port", "0", *(["--store", store] if store else [])
    )
    with _running(command, data_dir.with_name(f"{data_dir.name}.log")) as (ready, seconds):
        token = Path(ready["token_file"]).read_text(encoding="ascii").strip()
        yield Server(_port(ready), ready["pid"], token, seconds)


@contextmanager
def echo(directory: Path, token: str, answer: Path | None = None) -> Iterator[Server]:
    """Run the bare server, which answers with a file's bytes where one is given; it is shown a token as the daemon is."""
    command = [sys.executable, "-m", "bench.echo", *(["--answer", str(answer)] if answer else [])]
    with _running(command, directory / "echo.log") as (ready, seconds):
        yield Server(_port(ready), ready["pid"], token, seconds)


@contextmanager
def responder(directory: Path) -> Iterator[Server]:
    """Run the server that does nothing."""
    with _running([sys.executable, "-m", "bench.responder"], directory / "responder.log") as (ready, seconds):
        yield Server(_port(ready), ready["pid"], "", seconds)


def environment() -> dict[str, str]:
    """Return ours, without what would set the daemon up otherwise than its defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ZONEKEEPER_")}


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[tuple[dict[str, Any], float]]:
    """Run a server; yields the line in which it says that it listens, and how long that took."""
    begin = time.perf_counter()
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
        ) as process,
    ):
        try:
            yield _ready(process, log), time.perf_counter() - begin
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


def _status(pid: int) -> list[str]:
    """Return what `/proc/<pid>/stat` has behind the program's name: its parent second, its times from the twelfth on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()


def _fact(pid: int, file: str, name: str) -> int:
    """Look a number up in what the system tells about a process."""
    lines = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
