"""`zonekeeper output`, with a real daemon behind it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from srv.cli import main
from tests.srv.command_line import CommandLine, archives_of
from tests.srv.daemon import ROOT, Daemon, environment_with
from tests.srv.terminal import ZONEKEEPER, Terminal, on_terminal

Capture = pytest.CaptureFixture[str]

EVIL = "\x1b[31m\x9b"


def append(daemon: Daemon, definition_id: str, *lines: str) -> None:
    """Append lines."""
    daemon.call("agent:session:append_output", definition_id=definition_id, lines=list(lines))


def test_all_lines_are_printed_as_they_are(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """More than a page of the wire holds, each with its end, and nothing is escaped where nobody looks."""
    lines = [f'{{"number": {number}, "é": "{EVIL}"}}' for number in range(12_000)]
    for start in range(0, 12_000, 6_000):
        append(daemon, "output-all", *lines[start : start + 6_000])
    assert zonekeeper("output", "output-all").split("\n") == [*lines, ""]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--tail", "2"), "34"),
        (("--tail", "9"), "01234"),
        (("--tail", "0"), ""),
        (("--first-line", "3"), "34"),
        (("--first-line", "5"), ""),
        (("--first-line", "1", "--limit", "2"), "12"),
        (("--tail", "3", "--limit", "1"), "2"),
        (("--limit", "0"), ""),
    ],
)
def test_some_lines_are_chosen(
    daemon: Daemon, zonekeeper: CommandLine, options: tuple[str, ...], expected: str
) -> None:
    """By their number, from 0, or by how many they are at the end."""
    if not zonekeeper("output", "output-some"):
        append(daemon, "output-some", *"01234")
    assert zonekeeper("output", "output-some", *options) == "".join(f"{line}\n" for line in expected)


def test_a_long_tail_is_whole(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """Also where its lines are more bytes than a page of the wire takes."""
    lines = [f"{number}{'x' * 100_000}" for number in range(25)]
    append(daemon, "output-long", *lines)
    assert zonekeeper("output", "output-long", "--tail", "24").splitlines() == lines[1:]


def test_json_prints_pages(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """Each as the wire has it, a line each; one page also where there is no line."""
    append(daemon, "output-json", *(str(number) for number in range(10)), *("x" * 500_000 for _ in range(4)))
    pages = [json.loads(line) for line in zonekeeper("output", "output-json", "--json").splitlines()]
    assert len(pages) > 1
    assert [line for page in pages for line in page["lines"]][:11] == [*"0123456789", "x" * 500_000]
    (page,) = [json.loads(line) for line in zonekeeper("output", "output-json", "--tail", "2", "--json").splitlines()]
    params = {"definition_id": "output-json", "first_line": 12, "limit": 2}
    assert page == daemon.call("agent:session:read_output", **params)
    (page,) = [json.loads(line) for line in zonekeeper("output", "output-nobody", "--json").splitlines()]
    assert (page["lines"], page["total_lines"], page["session_id"]) == ([], 0, None)


def test_an_archive_has_its_output(daemon: Daemon, zonekeeper: CommandLine) -> None:
    """By the time that `list` shows."""
    (archived_at_ms,) = archives_of(daemon, "output-archive", "hello")
    append(daemon, "output-archive", "now")
    assert zonekeeper("output", "output-archive") == "now\n"
    assert zonekeeper("output", "output-archive", "--archive", str(archived_at_ms)) == "{}\n{}\n"
    assert "ZONE_NOT_FOUND" in zonekeeper.fails("output", "output-archive", "--archive", "1")


def test_an_agent_without_a_session_is_told(zonekeeper: CommandLine) -> None:
    """It may be a typing error, and is no failure."""
    assert zonekeeper.noted("output", "output-nobody") == "zonekeeper: agent output-nobody has no session\n"


@pytest.mark.parametrize(
    "options",
    [
        ("--tail", "1", "--first-line", "1"),
        ("--follow", "--archive", "1"),
        ("--follow", "--limit", "1"),
        ("--follow", "--json"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(daemon: Daemon, capsys: Capture, options: tuple[str, ...]) -> None:
    """The sentence names the options."""
    assert main(["output", "maks", *options, "--data-dir", str(daemon.data_dir)]) == 2
    said = capsys.readouterr().err
    assert all(option in said for option in options if option.startswith("--"))


def test_following_prints_each_line_as_it_comes_until_it_is_interrupted(daemon: Daemon) -> None:
    """From the tail on. Ctrl-C is how it ends: nothing is said, and the code is 0."""
    append(daemon, "follow", "a", "b", "c")
    arguments = ("output", "follow", "--tail", "2", "--follow", "--data-dir", str(daemon.data_dir))
    with Terminal(*arguments) as terminal:
        terminal.wait_for("b\nc\n")
        append(daemon, "follow", "d" + EVIL)
        terminal.wait_for("c\nd\\x1b[31m\\x9b\n")
        append(daemon, "follow", "e", "f")
        terminal.wait_for("f\n")
        terminal.interrupt()
        assert terminal.wait() == 0
    assert terminal.shown == "b\nc\nd\\x1b[31m\\x9b\ne\nf\n"


def test_following_ends_with_the_session(daemon: Daemon) -> None:
    """Its last lines are printed, and it is said why no more come."""
    append(daemon, "follow-end", "a")
    arguments = ("output", "follow-end", "--follow", "--data-dir", str(daemon.data_dir))
    with Terminal(*arguments) as terminal:
        terminal.wait_for("a\n")
        append(daemon, "follow-end", "b")
        daemon.call("agent:session:archive", definition_id="follow-end")
        append(daemon, "follow-end", "of the next session")
        assert terminal.wait() == 0
    assert terminal.shown == "a\nb\nzonekeeper: the session was archived\n"


def test_a_session_that_is_archived_meanwhile_is_not_mixed_with_the_next(daemon: Daemon) -> None:
    """What is printed by then is all of the one session, and it is told that the rest is elsewhere."""
    append(daemon, "output-mixed", *("x" * 100_000 for _ in range(40)))
    command = [ZONEKEEPER, "output", "output-mixed", "--data-dir", str(daemon.data_dir)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment_with(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(1)  # the pipe holds less than the first page
        daemon.call("agent:session:archive", definition_id="output-mixed")
        append(daemon, "output-mixed", *("y" * 100_000 for _ in range(40)))
        assert set(first + process.stdout.read()) == set(b"x\n")
        assert process.stderr.read().startswith(b"zonekeeper: STALE_SESSION: ")
        assert process.wait() == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(daemon: Daemon, unbuffered: str) -> None:
    """As `head` does: nothing is said about the pipe, however Python writes to it."""
    append(daemon, "output-head", *(f"{number:0100}" for number in range(10_000)))
    command = [ZONEKEEPER, "output", "output-head", "--data-dir", str(daemon.data_dir)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment_with({"PYTHONUNBUFFERED": unbuffered}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0" * 100 + b"\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads_ends_it_quietly(daemon: Daemon, unbuffered: str) -> None:
    """Also where it is little that cannot be written, which Python would try again at its end."""
    append(daemon, "output-unread", "a")
    reader, writer = os.pipe()
    os.close(reader)
    command = [ZONEKEEPER, "output", "output-unread", "--data-dir", str(daemon.data_dir)]
    environment = environment_with({"PYTHONUNBUFFERED": unbuffered})
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_terminal_is_not_driven_by_output(daemon: Daemon) -> None:
    """Control characters are shown escaped."""
    append(daemon, "output-evil", f"a{EVIL}b")
    code, shown = on_terminal("output", "output-evil", "--data-dir", str(daemon.data_dir))
    assert (code, shown) == (0, "a\\x1b[31m\\x9bb\n")
