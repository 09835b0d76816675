"""The command line within our own process, for tests: what a command prints, and what it says where it fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from srv.cli import main
from tests.srv.daemon import Daemon


class CommandLine:
    """Runs commands against one daemon."""

    def __init__(self, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
        """Keep both."""
        self._where = ("--data-dir", str(daemon.data_dir))
        self._capsys = capsys

    def __call__(self, *arguments: str) -> str:
        """Run a command that succeeds; returns what it printed."""
        assert main([*arguments, *self._where]) == 0, self._capsys.readouterr()
        return self._capsys.readouterr().out

    def json(self, *arguments: str) -> Any:
        """Run a command with `--json` and return what it printed, decoded."""
        return json.loads(self(*arguments, "--json"))

    def noted(self, *arguments: str) -> str:
        """Run a command that succeeds and prints nothing; returns what it notes."""
        return self._said(0, *arguments)

    def fails(self, *arguments: str) -> str:
        """Run a command that fails with exit code 1 and prints nothing; returns what it said."""
        return self._said(1, *arguments)

    def _said(self, code: int, *arguments: str) -> str:
        assert main([*arguments, *self._where]) == code
        printed, said = self._capsys.readouterr()
        assert printed == ""
        return said


def archives_of(daemon: Daemon, definition_id: str, *messages: str) -> list[int]:
    """Archive a session for each message; returns their times, newest first."""
    times = []
    for message in messages:
        content = json.dumps({"nodes": [{"type": "user_message", "message": message}]})
        daemon.call("agent:session:write_state", definition_id=definition_id, content=content)
        daemon.call("agent:session:append_output", definition_id=definition_id, lines=["{}", "{}"])
        times.append(daemon.call("agent:session:archive", definition_id=definition_id)["archived_at_ms"])
    return times[::-1]
