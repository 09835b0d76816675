"""`zonekeeper write` and `zonekeeper append`, with a real daemon behind them."""

from __future__ import annotations

import json
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from srv import input_commands
from srv.cli import main
from tests.srv.command_line import CommandLine
from tests.srv.daemon import ROOT, Daemon, environment_with
from tests.srv.terminal import ZONEKEEPER, Terminal

Capture = pytest.CaptureFixture[str]


def with_input(daemon: Daemon, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a process of its own that reads this."""
    command = [ZONEKEEPER, *arguments, "--data-dir", str(daemon.data_dir)]
    return subprocess.run(command, cwd=ROOT, env=environment_with(), input=data, capture_output=True, check=False)


def output_of(daemon: Daemon, definition_id: str) -> list[str]:
    """Return the lines that are stored."""
    lines: list[str] = daemon.call("agent:session:read_output", definition_id=definition_id, first_line=0)["lines"]
    return lines


def test_write_stores_a_file_or_standard_input_as_it_is(
    daemon: Daemon, zonekeeper: CommandLine, tmp_path: Path
) -> None:
    """To the byte, a last line without its end as well."""
    (tmp_path / "state").write_bytes('{"é": 1}\r\n\n '.encode())
    assert zonekeeper("write", "write", str(tmp_path / "state")).startswith("wrote 13 bytes; revision 1 of session ")
    assert daemon.call("agent:session:read", definition_id="write")["content"] == '{"é": 1}\r\n\n '
    done = with_input(daemon, b"from a pipe", "write", "write", "--json")
    state = daemon.call("agent:session:read", definition_id="write")
    assert state.pop("content") == "from a pipe"
    assert json.loads(done.stdout) == {"bytes_written": 11, **state}


def test_write_is_bound_to_session_and_revision(daemon: Daemon, zonekeeper: CommandLine, tmp_path: Path) -> None:
    """Where another is stored, nothing is written, and what is stored is told."""
    file = tmp_path / "state"
    file.write_text("{}", encoding="utf-8")
    daemon.call("agent:session:append_output", definition_id="write-bound", lines=["a", "b"])
    zonekeeper("write", "write-bound", str(file), "--expect-revision", "0", "--covers-line", "1")
    assert daemon.call("agent:session:mount", definition_id="write-bound")["output"]["lines"] == ["b"]
    said = zonekeeper.fails("write", "write-bound", str(file), "--expect-revision", "0")
    assert said.startswith("zonekeeper: REVISION_MISMATCH: expect_revision is 0, but the stored revision is 1\n")
    assert "STALE_SESSION" in zonekeeper.fails("write", "write-bound", str(file), "--session-id", "another")


def test_nothing_is_no_snapshot(daemon: Daemon) -> None:
    """What should have made it has failed most likely, and must not take away what is there."""
    daemon.call("agent:session:write_state", definition_id="write-nothing", content="{}")
    done = with_input(daemon, b"", "write", "write-nothing")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"zonekeeper: nothing was read, so nothing was written\n"
    assert daemon.call("agent:session:read", definition_id="write-nothing")["content"] == "{}"


@pytest.mark.parametrize(
    ("content", "word"),
    [(b'{"a": "\xff"}', "INVALID_"), (b"x" * (64 * 2**20 + 1), "TOO_LARGE: ")],
    ids=["bytes", "large"],
)
def test_a_snapshot_that_is_no_text_or_too_large_is_refused_by_the_daemon(
    daemon: Daemon, zonekeeper: CommandLine, tmp_path: Path, content: bytes, word: str
) -> None:
    """In its words, whatever the size; nothing is stored."""
    (tmp_path / "state").write_bytes(content)
    assert zonekeeper.fails("write", "write-refused", str(tmp_path / "state")).startswith(f"zonekeeper: {word}")
    assert daemon.call("agent:session:read", definition_id="write-refused")["session_id"] is None


def test_a_large_snapshot_is_streamed(daemon: Daemon, zonekeeper: CommandLine, tmp_path: Path) -> None:
    """More than a request of JSON may hold at this daemon; and never much of it is in memory, but in pieces."""
    (tmp_path / "state").write_bytes(b"x" * (60 * 2**20))
    tracemalloc.start()
    try:
        assert zonekeeper("write", "write-large", str(tmp_path / "state")).startswith("wrote 60.0 MiB; ")
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()
    assert daemon.call("agent:session:stat", definition_ids=["write-large"])[0]["snapshot_bytes"] == 60 * 2**20


@pytest.mark.parametrize("command", ["write", "append"])
def test_a_file_that_cannot_be_read_is_named(daemon: Daemon, capsys: Capture, command: str, tmp_path: Path) -> None:
    """Exit code 2; a directory is none either."""
    where = ("--data-dir", str(daemon.data_dir))
    assert main([command, "maks", str(tmp_path / "none"), *where]) == 2
    assert capsys.readouterr().err == f"zonekeeper: {tmp_path / 'none'} cannot be read: No such file or directory\n"
    assert main([command, "maks", str(tmp_path), *where]) == 2
    assert capsys.readouterr().err == f"zonekeeper: {tmp_path} cannot be read: Is a directory\n"


@pytest.mark.parametrize(
    ("data", "stored", "size_bytes"),
    [
        (b"a\nb\n", ["a", "b"], 4),
        (b"a\nb", ["a", "b"], 4),
        ("é\u2028\x85x\x0cy\n".encode(), ["é\u2028\x85x\x0cy"], 11),
        (b"a\r\n\n \nb\n", ["a", "b"], 8),
        (b"\n", [], 1),
    ],
)
def test_append_stores_each_line_as_it_is(
    daemon: Daemon, zonekeeper: CommandLine, tmp_path: Path, data: bytes, stored: list[str], size_bytes: int
) -> None:
    r"""Lines end at `\n` only; a last one that lacks it gets it, blank ones are stored, and nothing else changes."""
    definition_id = f"append-{data.hex()}"
    (tmp_path / "lines").write_bytes(data)
    printed = zonekeeper.json("append", definition_id, str(tmp_path / "lines"))
    stat = daemon.call("agent:session:stat", definition_ids=[definition_id])[0]
    assert stat["output_bytes"] == size_bytes
    assert output_of(daemon, definition_id) == stored
    assert printed == {
        "bytes_written": size_bytes,
        "offset": 0,
        "size_bytes": size_bytes,
        "total_lines": len(stored),
        "session_id": stat["session_id"],
        "duplicate": False,
    }


def test_append_tells_how_much_there_is_now(daemon: Daemon, zonekeeper: CommandLine, tmp_path: Path) -> None:
    """And says of nothing that it was nothing."""
    (tmp_path / "lines").write_bytes(b"a\nb\n")
    assert (
        zonekeeper("append", "append-told", str(tmp_path / "lines"))
        == "appended 4 bytes; the output has 2 lines, 4 bytes\n"
    )
    (tmp_path / "lines").write_bytes(b"")
    said = zonekeeper.noted("append", "append-told", str(tmp_path / "lines"))
    assert said == "zonekeeper: nothing was read, so nothing was appended\n"
    assert zonekeeper.json("append", "append-told", str(tmp_path / "lines")) is None


def test_append_sends_much_in_many_calls(daemon: Daemon, tmp_path: Path, zonekeeper: CommandLine) -> None:
    """Lines and bytes of more calls than one are stored once each, in their order, and are told as one."""
    lines = [f"{number:05} {'x' * (number % 700)}" for number in range(12_000)]
    data = "".join(f"{line}\n" for line in lines)
    (tmp_path / "lines").write_text(data, encoding="utf-8")
    result = zonekeeper.json("append", "append-much", str(tmp_path / "lines"))
    assert (result["offset"], result["bytes_written"], result["total_lines"]) == (0, len(data), 12_000)
    assert zonekeeper("output", "append-much") == data


def test_a_daemon_that_takes_less_at_once_gets_less_at_once(
    daemon: Daemon, tmp_path: Path, zonekeeper: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is over a limit is sent in halves; a line that alone is over it is refused, and it is told which."""
    monkeypatch.setattr(input_commands, "CALL_LINES_MAX", 30_000)
    lines = [str(number) for number in range(25_000)]
    (tmp_path / "lines").write_text("\n".join(lines), encoding="utf-8")
    zonekeeper("append", "append-halves", str(tmp_path / "lines"))
    assert zonekeeper("output", "append-halves").splitlines() == lines
    (tmp_path / "lines").write_text(f"a\n{'x' * (9 * 2**20)}\nb\n", encoding="utf-8")
    first, second, *_ = zonekeeper.fails("append", "append-large", str(tmp_path / "lines")).splitlines()
    assert first == "zonekeeper: stored 1 line of the input before this:"
    assert second.startswith("zonekeeper: TOO_LARGE: over the limit append_bytes_max")
    assert output_of(daemon, "append-large") == ["a"]


def test_a_line_that_is_no_text_is_named(daemon: Daemon, tmp_path: Path, zonekeeper: CommandLine) -> None:
    """Those before it are stored, it and those after it are not."""
    (tmp_path / "lines").write_bytes(b"a\nb\nc\xff\nd\n")
    said = zonekeeper.fails("append", "append-text", str(tmp_path / "lines"))
    assert said == (
        "zonekeeper: stored 2 lines of the input before this:\nzonekeeper: line 3 of the input is not UTF-8\n"
    )
    assert output_of(daemon, "append-text") == ["a", "b"]


def test_a_line_without_an_end_is_not_kept_in_memory_for_ever(
    tmp_path: Path, zonekeeper: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a bound to it."""
    monkeypatch.setattr(input_commands, "LINE_BYTES_MAX", 2**20)
    (tmp_path / "lines").write_bytes(b"x" * 3 * 2**20)
    said = zonekeeper.fails("append", "append-endless", str(tmp_path / "lines"))
    assert said == "zonekeeper: line 1 of the input is longer than 1.0 MiB\n"


def test_append_stores_each_line_soon_after_it_comes(daemon: Daemon) -> None:
    """While the pipe stays open and half a line waits for its end."""
    command = [ZONEKEEPER, "append", "append-soon", "--data-dir", str(daemon.data_dir)]
    follow = ["output", "append-soon", "--follow", "--data-dir", str(daemon.data_dir)]
    with (
        subprocess.Popen(
            command, cwd=ROOT, env=environment_with(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
        Terminal(*follow) as terminal,
    ):
        assert process.stdin is not None
        for piece, shown in ((b"one\ntw", "one\n"), (b"o\nthree\nfour", "two\nthree\n")):
            process.stdin.write(piece)
            process.stdin.flush()
            terminal.wait_for(shown)
            assert "four" not in terminal.shown
        process.stdin.close()
        terminal.wait_for("four\n")
        assert process.wait() == 0


def test_a_terminal_is_read_line_by_line_and_ctrl_c_ends_it(daemon: Daemon) -> None:
    """What was typed before is stored, and it is told how much that was."""
    with Terminal("append", "append-typed", "--data-dir", str(daemon.data_dir)) as terminal:
        terminal.wait_for("Ctrl-D")
        terminal.type("one\n")
        with Terminal("output", "append-typed", "--follow", "--data-dir", str(daemon.data_dir)) as other:
            other.wait_for("one\n")
        terminal.interrupt()
        assert terminal.wait() == 1
    assert "zonekeeper: stored 1 line of the input before this:\nzonekeeper: interrupted\n" in terminal.shown


def test_large_input_has_a_progress_bar_on_a_terminal(daemon: Daemon, tmp_path: Path) -> None:
    """Small input has none, and it is gone at the end."""
    for size, has_bar in ((5 * 2**20, True), (2**20, False)):
        (tmp_path / "lines").write_bytes((b"x" * 1023 + b"\n") * (size // 1024))
        with Terminal("append", "append-bar", str(tmp_path / "lines"), "--data-dir", str(daemon.data_dir)) as terminal:
            assert terminal.wait() == 0
        assert ("100%" in terminal.shown) == has_bar


def test_standard_input_that_cannot_be_read_is_told(daemon: Daemon, tmp_path: Path) -> None:
    """With the system's reason, and exit code 2."""
    command = [ZONEKEEPER, "write", "maks", "--data-dir", str(daemon.data_dir)]
    with (tmp_path / "only-written").open("wb") as handle:
        done = subprocess.run(
            command, cwd=ROOT, env=environment_with(), stdin=handle, capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "zonekeeper: standard input cannot be read: Bad file descriptor\n"
