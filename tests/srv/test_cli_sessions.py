"""The commands that look at sessions, and `archive`, with a real daemon behind them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from srv.cli import main
from tests.srv.command_line import CommandLine, archives_of
from tests.srv.daemon import ROOT, Daemon, environment_with
from tests.srv.terminal import ZONEKEEPER, on_terminal

Capture = pytest.CaptureFixture[str]

EVIL = "\x1b]0;owned\x07\x9b2J"


def test_read_prints_the_snapshot_to_the_byte(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """Nothing is added, no line end either, and nothing is escaped where standard output is no terminal."""
    content = f'{{"é": "{EVIL}"}}\n\n \t'
    daemon.call("agent:session:write_state", definition_id="read-byte", content=content)
    assert zonekeeper("read", "read-byte") == content


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_is_stored_is_printed_in_utf_8(daemon: Daemon, options: tuple[str, ...]) -> None:
    """Whatever the language of the system is."""
    daemon.call("agent:session:write_state", definition_id="read-utf", content='"é漢"')
    command = [ZONEKEEPER, "read", "read-utf", *options, "--data-dir", str(daemon.data_dir)]
    environment = environment_with({"PYTHONIOENCODING": "latin-1"})
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    assert "é漢" in done.stdout.decode()


def test_read_finds_archives_too(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """By the time that `list` shows."""
    newest, oldest = archives_of(daemon, "read-archive", "first", "second")
    assert "first" in zonekeeper("read", "read-archive", "--archive", str(oldest))
    assert "second" in zonekeeper("read", "read-archive", "--archive", str(newest))
    said = zonekeeper.fails("read", "read-archive", "--archive", "7")
    assert said.startswith("zonekeeper: ZONE_NOT_FOUND: ")


def test_read_says_where_there_is_nothing(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """Neither a fresh agent nor one without a snapshot is an error, and neither is left unsaid."""
    daemon.call("agent:session:append_output", definition_id="read-none", line="{}")
    assert zonekeeper.noted("read", "read-nobody") == "zonekeeper: agent read-nobody has no session\n"
    assert zonekeeper.noted("read", "read-none") == "zonekeeper: agent read-none has no snapshot\n"


@pytest.mark.parametrize(
    ("arguments", "method", "params"),
    [
        (("read", "json"), "agent:session:read", {"definition_id": "json"}),
        (("read", "json-nobody"), "agent:session:read", {"definition_id": "json-nobody"}),
        (("list", "json", "--limit", "1"), "agent:session:list_archives", {"definition_id": "json", "limit": 1}),
        (("mount", "json", "--tail", "1"), "agent:session:mount", {"definition_id": "json", "tail_lines": 1}),
        (("mount", "json-nobody"), "agent:session:mount", {"definition_id": "json-nobody"}),
        (("stat", "json", "json-nobody"), "agent:session:stat", {"definition_ids": ["json", "json-nobody"]}),
        (("agents", "--limit", "1"), "agent:session:list_agents", {"limit": 1}),
        (("agents", "--after", "json"), "agent:session:list_agents", {"after": "json", "limit": 1000}),
        (("archive", "json-nobody"), "agent:session:archive", {"definition_id": "json-nobody"}),
    ],
)
def test_json_is_the_result_of_the_method(
    daemon: Daemon, zonekeeper: CommandLine, arguments: tuple[str, ...], method: str, params: dict[str, Any]
) -> None:
    """Member by member, in the shape of the wire."""
    archives_of(daemon, "json", "first", "second")
    daemon.call("agent:session:write_state", definition_id="json", content="{}", covers_line=1)
    daemon.call("agent:session:append_output", definition_id="json", lines=["a", "b", "c"])
    assert zonekeeper.json(*arguments) == daemon.call(method, **params)


def test_list_shows_time_age_size_lines_and_preview(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """A line for each, newest first, below the names of the columns; no line is cut where nobody looks."""
    long = "word " * 40
    newest, oldest = archives_of(daemon, "list", "hello", long)
    header, *lines = zonekeeper("list", "list").splitlines()
    assert header.split() == ["archived", "at", "age", "size", "lines", "preview"]
    assert re.fullmatch(rf"{newest} +\d+ s +\d+ bytes +2  {long.strip()}", lines[0])
    assert re.fullmatch(rf"{oldest} +\d+ s +\d+ bytes +2  hello", lines[1])


def test_list_pages_by_limit_and_before(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """Beyond the most that one answer of the daemon holds as well."""
    times = [str(each) for each in archives_of(daemon, "list-pages", *map(str, range(103)))]

    def listed(*options: str) -> list[str]:
        return [line.split()[0] for line in zonekeeper("list", "list-pages", *options).splitlines()[1:]]

    assert listed() == times[:20]
    assert listed("--limit", "3") == times[:3]
    assert listed("--limit", "102") == times[:102]
    assert listed("--limit", "200") == times
    assert listed("--limit", "2", "--before", times[99]) == times[100:102]
    said = zonekeeper.noted("list", "list-pages", "--before", times[-1])
    assert said == "zonekeeper: agent list-pages has no archives older than that\n"


def test_list_is_cut_to_the_width_of_a_terminal(daemon: Daemon) -> None:
    """By what the letters take there; wide ones take two columns. What is stored cannot drive the terminal."""
    archives_of(daemon, "list-wide", f"{EVIL} " + "x" * 100, "漢字" * 18)
    code, shown = on_terminal("list", "list-wide", "--data-dir", str(daemon.data_dir), columns=80)
    assert code == 0
    _, wide, plain = shown.splitlines()
    assert wide.endswith(("字…", "漢…", "漢 …", "字 …"))
    assert 79 <= len(wide) + len(re.findall("[漢字]", wide)) <= 80
    assert len(plain) == 80
    assert plain.endswith("x…")
    assert shown.replace("\n", "").isprintable()


def test_a_terminal_is_told_how_to_see_more(daemon: Daemon) -> None:
    """Where there may be more archives, or are more agents."""
    times = archives_of(daemon, "more", "a", "b", "c")
    where = ("--data-dir", str(daemon.data_dir))
    assert f"\nolder ones: --before {times[1]}\n" in on_terminal("list", "more", "--limit", "2", *where)[1]
    assert "older ones" not in on_terminal("list", "more", *where)[1]
    daemon.call("agent:session:append_output", definition_id="more-2", line="{}")
    assert re.search(r"\nmore: --after \S+\n", on_terminal("agents", "--limit", "1", *where)[1])


def test_agents_and_stat_show_sizes_and_counts(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """A line for each agent, with dashes where there is nothing."""
    archives_of(daemon, "stat", "first")
    daemon.call("agent:session:write_state", definition_id="stat", content="{}")
    daemon.call("agent:session:append_output", definition_id="stat", line="x" * 2047)
    header, one, none = zonekeeper("stat", "stat", "stat-nobody").splitlines()
    assert header.split() == ["agent", "snapshot", "revision", "output", "lines", "archives", "changed"]
    assert re.fullmatch(r"stat +2 bytes +1 +2.0 KiB +1 +1 +\d+ s", one)
    assert re.fullmatch(r"stat-nobody +- +- +0 bytes +0 +0 +-", none)
    assert re.search(r"^stat +2 bytes +1 +2.0 KiB +1 +1 +\d+ s$", zonekeeper("agents"), re.MULTILINE)


def test_agents_lists_all_of_them(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """Beyond the most that one answer of the daemon holds, unless a limit is given."""
    names = [f"zz-{number:03}" for number in range(203)]
    for name in names:
        daemon.call("agent:session:append_output", definition_id=name, line="{}")
    assert [row["definition_id"] for row in zonekeeper.json("agents", "--after", "zz")["agents"]] == names
    page = zonekeeper.json("agents", "--after", "zz", "--limit", "150")
    assert ([row["definition_id"] for row in page["agents"]], page["next"]) == (names[:150], names[149])


def test_mount_shows_the_facts_and_the_lines_that_are_not_covered(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """What a pane shows when it opens."""
    daemon.call("agent:session:append_output", definition_id="mount", lines=["a", "b", "c", "d"])
    session_id = daemon.call("agent:session:write_state", definition_id="mount", content="é", covers_line=1)[
        "session_id"
    ]
    names, lines = zonekeeper("mount", "mount").split("\n\n")
    facts = dict(re.split(" {2,}", line) for line in names.splitlines())
    assert re.sub(r"\d+ s ago", "0 s ago", facts.pop("snapshot")) == "2 bytes, revision 1, changed 0 s ago"
    assert facts == {
        "session_id": session_id,
        "covers": "1 line",
        "output": "4 lines, 8 bytes",
        "shown": "3 lines, from line 1 on",
    }
    assert lines == "b\nc\nd\n"
    assert zonekeeper("mount", "mount", "--tail", "1").endswith("\n\nd\n")
    assert "snapshot    none" in zonekeeper("mount", "mount-nobody")


def test_archive_says_what_became_of_the_session(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """The time that names the archive, or that there was nothing to archive."""
    session_id = daemon.call("agent:session:append_output", definition_id="archive", line="{}")["session_id"]
    assert zonekeeper.fails("archive", "archive", "--session-id", "another").startswith("zonekeeper: STALE_SESSION: ")
    printed = zonekeeper("archive", "archive", "--session-id", session_id)
    (row,) = daemon.call("agent:session:list_archives", definition_id="archive")
    assert printed == f"archived at {row['archived_at_ms']}\n"
    assert zonekeeper("archive", "archive") == "there is nothing to archive\n"


OF_AN_AGENT = ("read", "mount", "output", "list", "archive", "stat", "write", "append")


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return a file with something in it."""
    (tmp_path / "in").write_text("{}\n", encoding="utf-8")
    return str(tmp_path / "in")


@pytest.mark.parametrize("command", [*OF_AN_AGENT, "agents"])
def test_every_command_says_where_no_daemon_runs(capsys: Capture, command: str, file: str, data_dir: Path) -> None:
    """And how to start one."""
    agent = ["maks"] if command != "agents" else []
    files = [file] if command in {"write", "append"} else []
    assert main([command, *agent, *files, "--data-dir", str(data_dir)]) == 1
    expected = f"zonekeeper: no daemon runs on {data_dir}; start one with: zonekeeper serve --data-dir {data_dir}\n"
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize("command", OF_AN_AGENT)
def test_a_wrong_id_is_told_by_every_command(zonekeeper: CommandLine, command: str, file: str) -> None:
    """With the word once, the sentence, and what an id is."""
    files = [file] if command in {"write", "append"} else []
    first, second, *rest = zonekeeper.fails(command, "a b", *files).splitlines()
    assert first == 'zonekeeper: INVALID_DEFINITION_ID: must match [A-Za-z0-9_-]+, got "a b"'
    assert second.startswith("Use the id of the agent definition")
    assert rest == []


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "٣", "9007199254740992"])
def test_a_number_that_is_none_is_wrong_usage(zonekeeper: CommandLine, capsys: Capture, value: str) -> None:
    """The error names the option."""
    with pytest.raises(SystemExit) as ended:
        zonekeeper("list", "maks", f"--limit={value}")
    assert ended.value.code == 2
    assert "--limit: must be a whole number from 0 to 9007199254740991" in capsys.readouterr().err


def test_a_terminal_shows_a_snapshot_without_being_driven_by_it(daemon: Daemon) -> None:
    """Control characters are shown escaped, but for line ends and tabs; the prompt comes on a line of its own."""
    daemon.call("agent:session:write_state", definition_id="read-evil", content=f"a\tb\n{EVIL}\u202e")
    code, shown = on_terminal("read", "read-evil", "--data-dir", str(daemon.data_dir))
    assert code == 0
    assert shown.expandtabs() == "a       b\n\\x1b]0;owned\\x07\\x9b2J\\u202e\n"
    code, shown = on_terminal("read", "read-evil", "--json", "--data-dir", str(daemon.data_dir))
    assert json.loads(shown)["content"] == f"a\tb\n{EVIL}\u202e"
    assert shown.replace("\n", "").isprintable()
