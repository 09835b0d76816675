"""The log: structured, one form for all, and harmless."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from srv.logs import configure_logs
from tests.srv.daemon import ROOT, Daemon, rpc_body

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    """Undo what configuring the logs changes for the whole process."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    logging.raiseExceptions = raising


@pytest.mark.usefixtures("_logging_as_it_was")
@pytest.mark.parametrize("form", ["console", "json"])
def test_nobody_who_is_quoted_can_forge_a_line_or_drive_a_terminal(capsys: Capture, form: str) -> None:
    """Line ends, escape sequences and direction marks are escaped in what we log and in what libraries log."""
    evil = "a\nb\r\x1b[2J\u202e\x9b\u2028"
    configure_logs("json" if form == "json" else "console", "info")
    structlog.get_logger().info(evil, quoted=evil, inner={"deep": evil})
    logging.getLogger("aiohttp.server").warning("from a library: %s", evil)
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


@pytest.mark.usefixtures("_logging_as_it_was")
def test_ours_and_theirs_have_one_form(capsys: Capture) -> None:
    """Each line is a JSON object with event, level, logger and time, whoever logged it."""
    configure_logs("json", "info")
    structlog.get_logger("srv.app").warning("free_space", left_bytes=1)
    logging.getLogger("asyncio").error("loop trouble")
    logging.getLogger("x").debug("below the level")
    ours, theirs = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (ours["event"], ours["level"], ours["logger"], ours["left_bytes"]) == ("free_space", "warning", "srv.app", 1)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("loop trouble", "error", "asyncio")
    assert ours["timestamp"].endswith("Z")


@pytest.mark.usefixtures("_logging_as_it_was")
@pytest.mark.parametrize("form", ["console", "json"])
def test_a_stack_trace_shows_no_values(capsys: Capture, form: str) -> None:
    """Variables hold tokens and contents; a trace shows where, not what."""
    configure_logs("json" if form == "json" else "console", "info")
    try:
        token = "sesame"
        _ = len(token) / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "sesame" not in shown.replace('token = "sesame"', "")


def test_the_daemon_logs_json_lines_without_token_or_content(data_dir: Path) -> None:
    """At the most talkative level, every line is JSON, and neither the token nor what was sent is in it."""
    with Daemon.start(data_dir, "--log-level", "debug") as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="private words")
        daemon.request("POST", "/rpc", rpc_body("private-method", secret="private words"))
        daemon.request("POST", "/rpc", b"private words")
        daemon.request("GET", "/readyz?token=" + daemon.token, headers={"Authorization": "Bearer private words"})
        assert daemon.stop() == 0
        events = [json.loads(line)["event"] for line in daemon.log().splitlines()]
        assert [events[0], events[-1]] == ["starting", "stopped"]
        assert daemon.token not in daemon.log()
        assert "private" not in daemon.log()


def test_an_unknown_variable_is_warned_of(data_dir: Path) -> None:
    """A typing error in a setting's name is in the log."""
    with Daemon.start(data_dir, environment={"ZONEKEEPER_PROT": "1"}) as daemon:
        daemon.wait_for_log("unknown_setting")
        assert "ZONEKEEPER_PROT" in daemon.log()


def test_a_closed_standard_error_does_not_stop_the_daemon(data_dir: Path) -> None:
    """Nobody has to read the log."""
    script = f"exec {sys.executable} -m srv serve --port 0 --data-dir {data_dir} <&- 2>&-"
    process = subprocess.Popen(["/bin/sh", "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "listening"
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()
