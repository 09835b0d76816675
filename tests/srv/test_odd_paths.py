"""Paths that are none: a command says so in a sentence, with its exit code, and never waits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from srv.exits import Exit
from tests.srv.daemon import ROOT

SECONDS_MAX = 30


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command; one that waits for ever fails the test."""
    command = [sys.executable, "-m", "srv", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)


def test_a_pipe_in_the_place_of_the_store_is_named_and_not_waited_for(tmp_path: Path) -> None:
    """Opening one to read waits for somebody who writes."""
    (tmp_path / "db").mkdir()
    os.mkfifo(tmp_path / "db" / "zones.db")
    doctor = run("doctor", "--data-dir", str(tmp_path))
    assert (doctor.returncode, "is not a file" in doctor.stdout) == (Exit.FAILED, True)
    backup = run("backup", "--data-dir", str(tmp_path), str(tmp_path / "copy.db"))
    assert (backup.returncode, "is not a file" in backup.stderr) == (Exit.STORE_REFUSED, True)


@pytest.mark.parametrize("command", [("doctor",), ("migrate",), ("backup", "copy.db")])
def test_a_name_that_is_too_long_is_said_in_a_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    """No traceback, and the code of wrong usage."""
    done = run(*command, "--data-dir", str(tmp_path / ("n" * 300)))
    assert done.returncode == Exit.WRONG_USAGE
    assert done.stderr.startswith("zonekeeper: ")
    assert "Traceback" not in done.stderr
