"""Fixtures of the tests of the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.srv.command_line import CommandLine
from tests.srv.daemon import Daemon, environment_with

ORIGIN = "http://localhost:5173"


@pytest.fixture(scope="package")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for all tests that only call: with a Unix socket, an origin, and small limits."""
    folder = tmp_path_factory.mktemp("daemon")
    options = ("--unix-socket", str(folder / "s.sock"), "--allow-origin", ORIGIN, "--log-level", "debug")
    with Daemon.start(folder / "data", *options, "--body-bytes-max", "24MiB") as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Name a data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def zonekeeper(daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Return what runs commands against the daemon of all tests, without the settings of whoever runs these."""
    for name in os.environ.keys() - environment_with().keys():
        monkeypatch.delenv(name)
    return CommandLine(daemon, capsys)
