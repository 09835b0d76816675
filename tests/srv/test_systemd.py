"""The units that `zonekeeper systemd` prints: systemd accepts them, they say what they must, and what they start runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from srv.cli import main
from srv.exits import Exit
from srv.stopping import STOP_SECONDS_MAX
from tests.srv.daemon import WAIT_SECONDS, environment_with
from tests.srv.manager import Manager
from tests.srv.outside import needs

Capture = pytest.CaptureFixture[str]
Unit = dict[str, list[str]]

NOBODY: Final = 65_534

HARDENING: Final = {
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateTmp": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "read-only",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
}
SYSTEM_ONLY: Final = {
    "CapabilityBoundingSet": "",
    "PrivateDevices": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectProc": "invisible",
}
"""A user's own systemd cannot take these away: it would not start the service, or not know how."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests, and their data, out of them."""
    for name in os.environ.keys() - environment_with().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of a user who is not root."""
    directory = tmp_path / "theirs"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    return directory


def printed(capsys: Capture, *arguments: str) -> str:
    """Return what `zonekeeper systemd` prints."""
    assert main(["systemd", *arguments]) == 0
    return capsys.readouterr().out


def directives(text: str) -> Unit:
    """Return what a unit says, by name, in the order written."""
    found: Unit = {}
    for line in text.splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def words(value: str) -> list[str]:
    """Return the words of a command line as systemd reads it. The first loses the signs that say how it is started."""
    first, *rest = (word.replace("%%", "%") for word in shlex.split(value))
    return [first.lstrip("+:"), *rest]


def once(text: str) -> dict[str, str]:
    """Return the directives of a unit in which none stands twice."""
    found = directives(text)
    assert [name for name, values in found.items() if len(values) > 1] == []
    return {name: values[0] for name, values in found.items()}


def test_the_user_s_unit_says_what_it_must(capsys: Capture, tmp_path: Path) -> None:
    """Readiness, restarts, the time to stop, the watchdog, and what the daemon cannot do while it runs."""
    unit = once(printed(capsys))
    assert {name: unit[name] for name in HARDENING} == HARDENING
    assert SYSTEM_ONLY.keys() & unit.keys() == set()
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")
    assert (unit["Restart"], unit["WantedBy"]) == ("on-failure", "default.target")
    assert unit["RestartPreventExitStatus"].split() == [str(int(Exit.WRONG_USAGE)), str(int(Exit.STORE_REFUSED))]
    assert int(unit["TimeoutStopSec"]) > STOP_SECONDS_MAX
    assert int(unit["WatchdogSec"]) > 0
    data_dir = tmp_path / "xdg" / "zonekeeper"
    assert unit["ReadWritePaths"] == f'"-{data_dir}"'
    assert unit["ExecStart"].startswith('":/'), "systemd would put variables in"
    assert words(unit["ExecStart"]) == [f"{sys.prefix}/bin/zonekeeper", "serve", "--data-dir", str(data_dir)]


def test_the_system_s_unit_has_a_user_and_a_directory_of_its_own(capsys: Capture) -> None:
    """Systemd makes both; more is taken away than from a user's."""
    unit = once(printed(capsys, "--system"))
    assert {name: unit[name] for name in HARDENING | SYSTEM_ONLY} == HARDENING | SYSTEM_ONLY
    assert (unit["DynamicUser"], unit["WantedBy"]) == ("yes", "multi-user.target")
    assert (unit["StateDirectory"], unit["StateDirectoryMode"]) == ("zonekeeper", "0700")
    assert words(unit["ExecStart"])[-1] == "/var/lib/zonekeeper"
    assert {"User", "ReadWritePaths", "ExecStartPre"} & unit.keys() == set()


def test_the_system_s_unit_of_a_directory_runs_as_its_owner(capsys: Capture, theirs: Path) -> None:
    """Nobody has to say who that is."""
    unit = once(printed(capsys, "--system", "--data-dir", str(theirs)))
    owner = theirs.owner()
    assert (unit["User"], unit["ReadWritePaths"]) == (owner, f'"{theirs}"')
    assert words(unit["ExecStart"])[-1] == str(theirs)
    assert {"DynamicUser", "StateDirectory"} & unit.keys() == set()
    sockets = directives(printed(capsys, "--system", "--socket", "--data-dir", str(theirs)))
    assert sockets["SocketUser"] == [owner]


def test_the_sockets_are_private_and_on_the_loopback_address(capsys: Capture) -> None:
    """The port is the one that clients look for; a Unix socket only where somebody can be of the daemon's user."""
    port = "127.0.0.1:8377"
    user = directives(printed(capsys, "--socket"))
    assert user["ListenStream"] == [port, "%t/zonekeeper.sock"]
    assert user["SocketMode"] == ["0600"]
    assert user["WantedBy"] == ["sockets.target"]
    assert directives(printed(capsys, "--socket", "--system"))["ListenStream"] == [port]


@pytest.mark.parametrize("options", [(), ("--system",)])
def test_systemd_finds_nothing_wrong_with_the_units(capsys: Capture, tmp_path: Path, options: tuple[str, ...]) -> None:
    """`systemd-analyze verify` says nothing of the service, nor of its sockets."""
    needs("systemd-analyze")
    for kind, more in (("service", ()), ("socket", ("--socket",))):
        (tmp_path / f"zonekeeper.{kind}").write_text(printed(capsys, *options, *more))
    of_user = () if options else ("--user",)
    files = [str(tmp_path / f"zonekeeper.{kind}") for kind in ("service", "socket")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *of_user, *files],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, _about_ours(done.stderr)) == (0, [])


def _about_ours(said: str) -> list[str]:
    """Return the lines that speak of our units: systemd complains of others on some machines, too."""
    return [line for line in said.splitlines() if "zonekeeper" in line]


def test_what_the_unit_starts_runs(capsys: Capture, tmp_path: Path) -> None:
    """Its commands, taken as systemd takes them, make the directory and the daemon; it becomes ready, and stops in time."""
    data_dir = tmp_path / "10 %d of $HOME" / "data"
    unit = once(printed(capsys, "--data-dir", str(data_dir)))
    subprocess.run(words(unit["ExecStartPre"]), check=True)
    assert data_dir.stat().st_mode & 0o777 == 0o700
    with Manager(tmp_path / "notify", WATCHDOG_USEC=str(int(unit["WatchdogSec"]) * 1_000_000)) as manager:
        environment = environment_with({**manager.environment, "ZONEKEEPER_PORT": "0"})
        with subprocess.Popen(
            words(unit["ExecStart"]), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                assert manager.heard_until("READY")[-1]["STATUS"].startswith("listening on http://127.0.0.1:")
                assert manager.next() == {"WATCHDOG": "1"}
                assert (data_dir / "run" / "srv.json").exists()
                process.terminate()
                process.communicate(timeout=int(unit["TimeoutStopSec"]))
            finally:
                process.kill()
        assert process.wait(WAIT_SECONDS) == 0


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_a_path_that_a_unit_cannot_hold_is_wrong_usage(capsys: Capture, tmp_path: Path, name: str) -> None:
    """Better no unit than one that means something else."""
    assert main(["systemd", "--data-dir", str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cannot stand in a unit" in captured.err


def test_a_system_s_unit_needs_a_directory_that_belongs_to_somebody(capsys: Capture, tmp_path: Path) -> None:
    """One that is missing, and one of root's, say nothing of whom the daemon is to run as."""
    assert main(["systemd", "--system", "--data-dir", str(tmp_path / "none")]) == 2
    assert "it must be there" in capsys.readouterr().err
    assert main(["systemd", "--system", "--data-dir", "/"]) == 2
    assert "belongs to root" in capsys.readouterr().err


def test_without_the_installed_command_there_is_no_unit(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What would not start is not printed."""
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    assert main(["systemd"]) == 1
    assert f"there is no command zonekeeper in {tmp_path}" in capsys.readouterr().err
