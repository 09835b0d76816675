"""A daemon that belongs to a desktop program: it ends with its parent, however that ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from srv.data_dir import DataDir
from tests.legacy_dirs import populate
from tests.srv.daemon import ROOT, Daemon, environment_with

PARENT: Final = """
import subprocess, sys
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
sys.stdin.read()
"""
"""Starts a command with a pipe as its standard input, writes nothing there, and waits."""

ONCE_REMOVED: Final = 'exec 3<&0; "$@" <&3 3<&- &'
"""Starts a command with our standard input, and ends before it."""


@contextmanager
def started_by(*starter: str, data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Have somebody else start a daemon that is to end with its parent; yields who does. Output is that of both."""
    daemon = [sys.executable, "-m", "srv", "serve", "--data-dir", str(data_dir), "--port", "0", "--exit-with-parent"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*starter, *daemon], cwd=ROOT, env=environment_with(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def listening_pid(process: subprocess.Popen[str]) -> int:
    """Wait until the daemon listens, and return its pid."""
    assert process.stdout is not None
    pid: int = json.loads(process.stdout.readline())["pid"]
    return pid


def log_to_its_end(process: subprocess.Popen[str]) -> str:
    """Return what the daemon logs until it has ended, together with whoever started it."""
    assert process.stderr is not None
    return process.stderr.read()


def test_a_killed_parent_takes_the_daemon_with_it(data_dir: Path) -> None:
    """After `kill -9` of the parent the daemon stops in order, and nothing is left of it."""
    with started_by(sys.executable, "-c", PARENT, data_dir=data_dir) as parent:
        assert listening_pid(parent) != parent.pid
        parent.kill()
        log = log_to_its_end(parent)
    assert "standard input ended" in log
    assert '"event": "stopped"' in log
    assert DataDir(data_dir).holder() is None
    assert not (data_dir / "run" / "srv.json").exists()


def test_it_is_the_pipe_that_counts_and_not_who_has_started_it(data_dir: Path) -> None:
    """A launcher in between may end: the daemon stays for as long as somebody holds the other end of the pipe."""
    with started_by("bash", "-c", ONCE_REMOVED, "bash", data_dir=data_dir) as launcher:
        pid = listening_pid(launcher)
        assert launcher.wait() == 0
        os.kill(pid, 0)
        assert DataDir(data_dir).holder() is not None
        assert launcher.stdin is not None
        launcher.stdin.close()
        assert "standard input ended" in log_to_its_end(launcher)


def test_a_pair_of_sockets_is_a_pipe(data_dir: Path) -> None:
    """Node, for one, gives its children sockets for pipes."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        theirs.makefile("rb") as stdin,
        Daemon.start(data_dir, "--exit-with-parent", stdin=stdin) as daemon,
    ):
        theirs.close()
        assert daemon.request("GET", "/healthz")[0] == 200
        ours.close()
        stdin.close()
        assert daemon.wait() == 0
        assert "standard input ended" in daemon.log()


def test_a_parent_that_goes_while_old_data_is_migrated_is_not_missed(data_dir: Path) -> None:
    """The daemon leaves the rest for the next start, and never listens."""
    populate(data_dir, blocks=400, agents=100)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin:
        daemon = Daemon(data_dir, "--exit-with-parent", stdin=stdin)
    assert daemon.next_line()["event"] == "migrating"
    os.close(writing)
    assert daemon.wait() == 0
    assert {line["event"] for line in daemon.said} == {"migrating"}
    assert '"event": "migration_interrupted"' in daemon.log()


def test_control_c_in_the_parent_s_terminal_is_one_reason_to_stop_not_two(data_dir: Path) -> None:
    """The signal reaches both, and the end of the parent after it does not cut the stop short."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, Daemon.start(data_dir, "--exit-with-parent", stdin=stdin) as daemon:
        daemon.signal(signal.SIGINT)
        daemon.wait_for_log("stopping")
        os.close(writing)
        assert daemon.wait() == 0
        assert '"event": "stopped"' in daemon.log()
        assert "stopped_at_once" not in daemon.log()


@pytest.mark.parametrize("kind", ["a device such as /dev/null", "a file", "a terminal"])
def test_a_standard_input_that_tells_nothing_of_a_parent_is_wrong_usage(
    data_dir: Path, tmp_path: Path, kind: str
) -> None:
    """Its end would be that of no parent, or come at once: the daemon says what it needs instead of ending without a word."""
    (tmp_path / "file").touch()
    control, terminal = pty.openpty()
    handles = {"a terminal": terminal, "a file": os.open(tmp_path / "file", os.O_RDONLY)}
    daemon = Daemon(data_dir, "--exit-with-parent", stdin=handles.get(kind, subprocess.DEVNULL))
    assert daemon.wait() == 2
    assert f"needs a pipe as standard input, whose other end the parent holds open; it is {kind}" in daemon.log()
    assert not data_dir.exists()
    for handle in (control, *handles.values()):
        os.close(handle)
