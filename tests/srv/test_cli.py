"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from rpc.client import Client
from srv.cli import main
from srv.command_table import COMMANDS
from srv.commands import Command, load
from srv.version import VERSION
from tests.legacy_dirs import populate
from tests.srv.daemon import ROOT, Daemon, environment_with

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests, and their data, out of them."""
    for name in os.environ.keys() - environment_with().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))


def run(*arguments: str, input_text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    command = [str(Path(sys.executable).with_name("zonekeeper")), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment_with(), input=input_text, capture_output=True, text=True, check=False
    )


def fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    """Return modification time and content of every file and directory below a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in (folder, *folder.rglob("*"))
    }


def test_without_a_command_it_says_which_there_are() -> None:
    """`zonekeeper` alone is wrong usage, and shows the help where errors go."""
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    for word in ("serve", "migrate", "status", "call", "exit codes:"):
        assert word in done.stderr


@pytest.mark.parametrize("command", [(), *((each.name,) for each in COMMANDS)])
def test_every_command_has_help(capsys: Capture, command: tuple[str, ...]) -> None:
    """`--help` explains each command, shows an example, lists the exit codes, and exits 0."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(" ".join(["usage: zonekeeper", *command]))
    assert "\nexample:\n  " in shown
    assert re.search(r"\nexit codes:\n  0  .*\n  1  .*\n  2  ", shown)


def test_the_help_lists_the_commands_by_group(capsys: Capture) -> None:
    """Each with its line, below what it is about."""
    with pytest.raises(SystemExit):
        main(["--help"])
    paragraphs = capsys.readouterr().out.split("\n\n")
    listed = {each.splitlines()[0]: each.splitlines()[1:] for each in paragraphs}
    for command in COMMANDS:
        assert f"  {command.name:<12}{command.summary}" in listed[f"{command.group}:"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_carried_out_by_a_function_of_ours(command: Command) -> None:
    """The names in the table lead somewhere."""
    assert callable(load(command.run))


def test_what_is_heavy_is_imported_only_where_it_is_used() -> None:
    """A client command does without the daemon, tables and completion, which take longer to import than its call does."""
    modules = (
        "srv.cli, srv.client_commands, srv.session_commands, srv.output_command, srv.input_commands, srv.curl_command"
    )
    script = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    heavy = {"srv.app", "sqlite3", "structlog", "jsonrpcserver", "rich", "shtab", "uvloop", "prometheus_client"}
    assert heavy & set(done.stdout.split()) == set()


def test_the_version(capsys: Capture) -> None:
    """`--version` tells which Zonekeeper this is."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"zonekeeper {VERSION}\n")


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["no-such-command"], ["serve", "--port", "http"]])
def test_wrong_usage_is_exit_code_2(capsys: Capture, arguments: list[str]) -> None:
    """Whether the command line or a setting is wrong."""
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "zonekeeper" in captured.err


def test_a_host_that_others_could_reach_is_refused(capsys: Capture) -> None:
    """Zonekeeper says why it does not listen there."""
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "must be a loopback address" in capsys.readouterr().err


def test_status_shows_the_running_daemon(daemon: Daemon, capsys: Capture) -> None:
    """`status` finds the daemon by its data directory, and shows `srv:status` in words or as JSON."""
    assert main(["status", "--data-dir", str(daemon.data_dir)]) == 0
    words = capsys.readouterr().out
    assert f"{daemon.process.pid}" in words
    first, *groups = words.split("\n\n")
    assert re.search(r"^pid +\d+$", first, re.MULTILINE)
    assert any(re.search(r"^store.wal_bytes +\d.* KiB$", group, re.MULTILINE) for group in groups)
    assert re.search(r"^uptime_ms +(\d+ min )?\d+ m?s$", first, re.MULTILINE)
    assert main(["status", "--json", "--data-dir", str(daemon.data_dir)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pid"] == daemon.process.pid
    assert result.keys() == daemon.call("srv:status").keys()


def test_call_prints_the_result(daemon: Daemon, capsys: Capture) -> None:
    """`call` takes parameters by name and by position."""
    where = ["--data-dir", str(daemon.data_dir)]
    assert main(["call", "agent:session:append_output", '{"definition_id": "cli", "line": "é"}', *where]) == 0
    assert json.loads(capsys.readouterr().out)["bytes_written"] == 3
    assert main(["call", "agent:session:read_output", '["cli"]', *where]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["lines"] == ["é"]
    assert "é" in printed
    assert main(["call", "srv:status", *where]) == 0


def test_call_reads_parameters_from_standard_input(
    daemon: Daemon, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` stands for standard input, for parameters too large for a command line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"definition_id": "stdin"}')))
    assert main(["call", "agent:session:read", "-", "--data-dir", str(daemon.data_dir)]) == 0
    assert json.loads(capsys.readouterr().out)["session_id"] is None


def test_an_error_of_a_call_is_told_with_its_hint(daemon: Daemon, capsys: Capture) -> None:
    """The word, the sentence and what to do go to standard error; the exit code is 1."""
    arguments = ["call", "agent:session:read_archive", '["maks", 1]', "--data-dir", str(daemon.data_dir)]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("zonekeeper: ZONE_NOT_FOUND: agent maks has no archive of 1\n")
    assert "list_archives" in captured.err


def test_a_method_that_is_none_is_told_with_where_they_are_described(daemon: Daemon, capsys: Capture) -> None:
    """The protocol's own errors have a number and no hint."""
    assert main(["call", "agent:session:reed", "--data-dir", str(daemon.data_dir)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "zonekeeper: -32601: Method not found"
    assert "rpc.discover" in second


def test_numbers_are_sent_with_their_digits(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is JSON leaves as it was typed."""
    sent: list[object] = []

    async def call(_client: Client, method: str, params: orjson.Fragment | None) -> None:
        sent.append((method, orjson.dumps(params)))

    monkeypatch.setattr(Client, "call", call)
    typed = '[ 1.50, 123456789012345678901234567890, "\\u00e9" ]'
    assert main(["call", "srv:status", typed, "--data-dir", str(daemon.data_dir)]) == 0
    assert sent == [("srv:status", typed.encode())]


def test_what_is_no_text_is_wrong_usage(daemon: Daemon, capsys: Capture) -> None:
    """A command line may hold any bytes."""
    for command in (["read", "\udcff"], ["stat", "a", "\udcff"], ["archive", "a", "--session-id", "\udcff"]):
        with pytest.raises(SystemExit, match="2"):
            main(command)
        assert "must be UTF-8\n" in capsys.readouterr().err
    assert main(["call", "\udcff", "--data-dir", str(daemon.data_dir)]) == 2
    assert capsys.readouterr().err == "zonekeeper: METHOD is not UTF-8\n"


def test_output_that_cannot_be_written_is_told(daemon: Daemon) -> None:
    """A full disk below standard output is a sentence and exit code 1."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "srv", "status", "--data-dir", str(daemon.data_dir)],
            cwd=ROOT,
            env=environment_with(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "zonekeeper: standard output cannot be written: No space left on device\n"


def test_a_word_is_not_said_twice(daemon: Daemon, capsys: Capture) -> None:
    """Some messages begin with their word already."""
    assert main(["call", "agent:session:read", '["a/b"]', "--data-dir", str(daemon.data_dir)]) == 1
    assert capsys.readouterr().err.count("INVALID_DEFINITION_ID") == 1


def test_status_groups_the_migrations(daemon: Daemon, capsys: Capture) -> None:
    """Each migration has its own lines, and no name is cut."""
    assert main(["status", "--data-dir", str(daemon.data_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("migrate_promote_template_sessions_v1: nothing to migrate")
    assert lines[place - 1] == ""
    assert lines[place + 1].split() == ["templates_scanned", "0"]


def test_a_missing_token_file_is_not_a_missing_daemon(capsys: Capture, data_dir: Path) -> None:
    """Whoever removed the token is told so, and not to start a second daemon."""
    with Daemon.start(data_dir) as running:
        (data_dir / "auth.token").unlink()
        assert main(["status", "--data-dir", str(data_dir)]) == 1
        said = capsys.readouterr().err
        assert f"token file {data_dir / 'auth.token'} is missing" in said
        assert "no daemon runs" not in said
        running.kill()
    assert main(["status", "--data-dir", str(data_dir)]) == 1
    assert "no daemon runs" in capsys.readouterr().err


def test_a_migration_that_finds_nothing_says_where_it_looked(capsys: Capture, data_dir: Path) -> None:
    """A mistyped directory that happens to be there is recognised."""
    data_dir.mkdir()
    assert main(["migrate", "--data-dir", str(data_dir)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"looked for the data of an AgentMux installation in {data_dir / 'db'} and in {data_dir}"


@pytest.mark.parametrize(
    "params", ["{", "1", '"x"', "[NaN]", "[1e400]", '["\\ud800"]', '["\udcff"]', "[" * 2000 + "]" * 2000]
)
def test_parameters_that_are_none_are_wrong_usage(daemon: Daemon, capsys: Capture, params: str) -> None:
    """Nothing is called with what is neither object nor array."""
    assert main(["call", "srv:status", params, "--data-dir", str(daemon.data_dir)]) == 2
    assert "PARAMS" in capsys.readouterr().err


def test_without_a_daemon_it_says_so_and_how_to_start_one(capsys: Capture, data_dir: Path) -> None:
    """The client commands need a running daemon."""
    assert main(["status", "--data-dir", str(data_dir)]) == 1
    expected = f"zonekeeper: no daemon runs on {data_dir}; start one with: zonekeeper serve --data-dir {data_dir}\n"
    assert capsys.readouterr().err == expected


def test_a_killed_daemon_is_not_mistaken_for_a_running_one(capsys: Capture, data_dir: Path) -> None:
    """The file that a killed daemon leaves behind leads nowhere, and that is what is said."""
    Daemon.start(data_dir).kill()
    assert (data_dir / "run" / "srv.json").exists()
    assert main(["status", "--data-dir", str(data_dir)]) == 1
    assert "no daemon runs" in capsys.readouterr().err


def test_the_parent_s_token_is_honoured(capsys: Capture, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the parent has set the token, a client needs it in the same variable, and says so."""
    with Daemon.start(data_dir, environment={"ZONEKEEPER_TOKEN": "parents-secret"}):
        assert main(["status", "--data-dir", str(data_dir)]) == 1
        assert "ZONEKEEPER_TOKEN" in capsys.readouterr().err
        monkeypatch.setenv("ZONEKEEPER_TOKEN", "another")
        assert main(["status", "--data-dir", str(data_dir)]) == 1
        assert "401" in capsys.readouterr().err
        monkeypatch.setenv("ZONEKEEPER_TOKEN", "parents-secret")
        assert main(["status", "--data-dir", str(data_dir)]) == 0


def test_a_token_that_only_reads_is_enough_to_look(
    capsys: Capture, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has set that alone can look at everything, and is told why a change is refused."""
    tokens = {"ZONEKEEPER_TOKEN": "t" * 22, "ZONEKEEPER_READ_TOKEN": "r" * 22}
    monkeypatch.setenv("ZONEKEEPER_READ_TOKEN", "r" * 22)
    with Daemon.start(data_dir, environment=tokens):
        assert main(["status", "--data-dir", str(data_dir)]) == 0
        assert main(["archive", "maks", "--data-dir", str(data_dir)]) == 1
    assert "READ_ONLY" in capsys.readouterr().err


def test_a_dry_run_tells_all_and_writes_nothing(data_dir: Path) -> None:
    """`migrate --dry-run` reports what `migrate` then does, and until then no file has changed."""
    populate(data_dir, blocks=20, agents=4)
    before = fingerprint(data_dir)
    planned = run("migrate", "--dry-run", "--json", "--data-dir", str(data_dir))
    assert planned.returncode == 0, planned.stderr
    assert fingerprint(data_dir) == before
    done = run("migrate", "--json", "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert json.loads(planned.stdout) == {name: {**facts, "dry_run": True} for name, facts in reported.items()}
    assert reported["migrate_block_zones_v1"]["blocks_scanned"] == 20


def test_a_dry_run_leaves_an_existing_store_as_it_is(data_dir: Path) -> None:
    """With a store there, even one that a killed daemon left open, a dry run changes no file of it."""
    populate(data_dir, blocks=20, agents=4)
    with Daemon.start(data_dir) as daemon:
        daemon.kill()
    before = fingerprint(data_dir)
    planned = run("migrate", "--dry-run", "--force", "--data-dir", str(data_dir))
    assert planned.returncode == 0, planned.stderr
    assert "dry run: nothing was written" in planned.stdout
    assert "archives already present" in planned.stdout
    assert fingerprint(data_dir) == before


def test_migrating_again_does_nothing_unless_forced(data_dir: Path) -> None:
    """The marker ends the second run early; `--force` looks again and finds nothing to do."""
    populate(data_dir, blocks=8, agents=2)
    outcomes = []
    for options in ((), (), ("--force",)):
        done = run("migrate", *options, "--data-dir", str(data_dir))
        assert done.returncode == 0, done.stderr
        outcomes.append(done.stdout.splitlines()[0])
    name = "migrate_block_zones_v1"
    assert outcomes == [f"{name}: done", f"{name}: already done", f"{name}: done"]


def test_migrate_does_not_make_a_directory(data_dir: Path, capsys: Capture) -> None:
    """A directory that is not there was mistyped."""
    for options in ([], ["--dry-run"]):
        assert main(["migrate", *options, "--data-dir", str(data_dir)]) == 2
        assert "does not exist" in capsys.readouterr().err
    assert not data_dir.exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_migrate_beside_a_running_daemon_is_exit_code_3(daemon: Daemon, options: tuple[str, ...]) -> None:
    """There is one writer, always; the message names it."""
    done = run("migrate", *options, "--data-dir", str(daemon.data_dir))
    assert done.returncode == 3
    assert f"process {daemon.process.pid}" in done.stderr


def test_migrate_tells_what_cannot_be_read(data_dir: Path) -> None:
    """Where a migration cannot run, `migrate` exits 5 with the reason."""
    data_dir.mkdir()
    (data_dir / "objects.db").write_bytes(b"no database, but long enough to look at" * 100)
    done = run("migrate", "--data-dir", str(data_dir))
    assert done.returncode == 5
    assert "objects.db" in done.stderr


def test_an_interrupt_amid_the_imports_leaves_no_traceback(tmp_path: Path) -> None:
    """Ctrl-C right after the start ends the process by that signal, and nothing is said."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'srv.cli':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    command = [sys.executable, "-m", "srv", "status"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment_with({"PYTHONPATH": str(tmp_path)}), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
