"""`zonekeeper curl`: a line that is pasted into a shell, against a real daemon."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from srv.cli import main
from tests.srv.command_line import CommandLine
from tests.srv.daemon import Daemon, environment_with

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")

QUOTES = 'it\'s "quoted" `id` $HOME \\ é\n\t! %s {{}} \x9b'


def pasted(line: str, environment: dict[str, str] | None = None) -> Any:
    """Paste a line into a shell and return the result that it prints."""
    done = subprocess.run(
        ["sh", "-c", line], env=environment_with(environment), capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return json.loads(done.stdout)["result"]


def test_over_a_unix_socket_the_line_needs_no_token(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """Whatever is in the parameters reaches the daemon as it was typed."""
    params = json.dumps({"definition_id": "curl", "line": QUOTES}, ensure_ascii=False)
    line = zonekeeper("curl", "agent:session:append_output", params)
    assert line.startswith("curl -sS --unix-socket ")
    assert daemon.token not in line
    assert pasted(line)["total_lines"] == 2
    lines = daemon.call("agent:session:read_output", definition_id="curl")["lines"]
    assert "\n".join(lines) == QUOTES


def test_over_tcp_the_token_stays_off_the_command_line(
    capsys: Capture, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line reads it where it is kept; the directory may have any name."""
    odd = data_dir.with_name('it\'s a "directory" $HOME')
    with Daemon.start(odd) as daemon:
        assert main(["curl", "srv:status", "--data-dir", str(odd)]) == 0
        line = capsys.readouterr().out
        assert daemon.token not in line
        assert pasted(line)["pid"] == daemon.process.pid
        daemon.kill()
    assert main(["curl", "srv:status", "--data-dir", str(odd)]) == 1
    assert "no daemon runs" in capsys.readouterr().err


def test_a_token_of_the_parent_is_read_from_its_variable(capsys: Capture, data_dir: Path) -> None:
    """Since it is in no file; whatever it consists of."""
    token = 'parent\'s-"secret"-$HOME-%s\\'
    with Daemon.start(data_dir, environment={"ZONEKEEPER_TOKEN": token}) as daemon:
        assert main(["curl", "srv:status", "--data-dir", str(data_dir)]) == 0
        line = capsys.readouterr().out
        assert pasted(line, {"ZONEKEEPER_TOKEN": token})["pid"] == daemon.process.pid


def test_over_tls_the_line_trusts_the_daemon_s_certificate(capsys: Capture, data_dir: Path, tmp_path: Path) -> None:
    """And no other."""
    certificate, key = tmp_path / "it's a cert.pem", tmp_path / "key.pem"
    leaf = trustme.CA().issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(key)
    with Daemon.start(data_dir, "--tls-cert", str(certificate), "--tls-key", str(key)) as daemon:
        assert main(["curl", "srv:status", "--data-dir", str(data_dir)]) == 0
        line = capsys.readouterr().out
        assert "https://127.0.0.1:" in line
        assert pasted(line)["pid"] == daemon.process.pid


def test_a_path_that_would_drive_the_terminal_is_not_printed(capsys: Capture, data_dir: Path) -> None:
    """Neither as it is nor in a form that means something else: the error shows it escaped."""
    odd = data_dir.with_name("odd\x1b[2J")
    with Daemon.start(odd):
        assert main(["curl", "srv:status", "--data-dir", str(odd)]) == 1
        shown = capsys.readouterr()
        assert (shown.out, "odd\\x1b[2J" in shown.err) == ("", True)


def test_nothing_is_printed_for_what_is_no_call(zonekeeper: CommandLine, capsys: Capture) -> None:
    """Parameters that are no JSON are wrong usage."""
    assert main(["curl", "srv:status", "{"]) == 2
    assert capsys.readouterr().out == ""
