"""The bench measures what it says. How long anything takes is no matter of tests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from bench import __main__ as program
from bench import load, machine, processes, readme, texts
from bench.client import Client, body
from bench.rows import Row, alternate, at_least, at_most, rank, size, value_at_most
from bench.scale import FULL, QUICK
from bench.table import HEADER, aligned

ROOT: Final = Path(__file__).resolve().parent.parent
BODIES: Final = [body("append_output", definition_id=f"a{number}", line="text") for number in range(3)]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the bench as from a terminal."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def kind(name: str) -> str:
    """Return a row's name without its sizes and counts, which differ between a quick run and a whole one."""
    return re.sub(r"[\d,.]+\d( [KMG]iB)?|\d( [KMG]iB)?", "#", name)


def taken(names: Sequence[str], data: Path, numbers: Path) -> subprocess.Popen[str]:
    """Begin a quick run of these measurements, whose numbers go into a file."""
    command = [sys.executable, "-m", "bench", "--quick", "--json", "--directory", str(data), "--only", *names]
    with numbers.open("w", encoding="utf-8") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.PIPE, text=True)


def test_every_measurement_is_taken_shown_and_in_the_readme(tmp_path: Path) -> None:
    """A quick run takes every row and leaves nothing behind; its numbers make the table again; the README has the same rows."""
    data = tmp_path / "data"
    data.mkdir()
    names = list(program.MEASUREMENTS)
    shares = {tmp_path / "one.json": names[::2], tmp_path / "other.json": names[1::2]}  # a core each
    processes_of = {numbers: taken(share, data, numbers) for numbers, share in shares.items()}
    kinds: set[tuple[str, str]] = set()
    for numbers, process in processes_of.items():
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert re.findall(r"s  (\w+)\n", said) == shares[numbers]
        rows = json.loads(numbers.read_text(encoding="utf-8"))["rows"]
        assert [row for row in rows if not row["ours"] or row["our_value"] < 0] == []
        shown = bench("--from", str(numbers)).stdout.splitlines()
        first = next(number for number, line in enumerate(shown) if line.startswith(HEADER[0])) + 2
        table = [tuple(re.split(r"  +", line)[:2]) for line in shown[first : first + len(rows)]]
        assert table == [(row["name"], row["engine"]) for row in rows]
        kinds |= {(kind(name), engine) for name, engine in table}
    assert list(data.iterdir()) == []
    part = (ROOT / "README.md").read_text(encoding="utf-8").partition(readme.BEGIN)[2].partition(readme.END)[0]
    in_readme = [line.removeprefix("| ").split(" | ")[:2] for line in part.splitlines() if line.startswith("| ")]
    assert {(kind(name), engine) for name, engine in in_readme[1:]} == kinds


@pytest.mark.parametrize(
    "arguments", [["--only", "append"], ["--quick", "--write-readme"], ["--only", "list", "--write-readme"]]
)
def test_what_makes_no_sense_is_refused(arguments: Sequence[str]) -> None:
    """A typing error must not look like a run, and the README shows whole runs only."""
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="no file system in memory there")
def test_a_directory_kept_in_memory_is_refused() -> None:
    """What is stored there is not durable, so its figures would mislead."""
    done = bench("--only", "single", "--directory", "/dev/shm")
    assert done.returncode == 2
    assert "memory" in done.stderr


def test_a_measurement_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Minutes of figures are not lost to one that could not be taken, and the program does not end as if all were well."""

    def fail(*_: object) -> list[Row]:
        raise RuntimeError("the server answered nonsense")

    row = Row("row", "ms", [1.0])
    monkeypatch.setattr(program, "MEASUREMENTS", {"bad": fail, "good": lambda *_: [row]})
    report = program.run(QUICK, ["bad", "good"], tmp_path)
    assert (report["failed"], report["rows"]) == (["bad"], [row.facts()])
    assert "nonsense" in capsys.readouterr().err
    numbers = tmp_path / "numbers.json"
    numbers.write_text(json.dumps(report), encoding="utf-8")
    done = bench("--from", str(numbers))
    assert (done.returncode, done.stderr) == (1, "not measured: bad\n")


GENERATORS: Final = [
    pytest.param("wrk", marks=pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")),
    "bench/sender.py",
]


@pytest.fixture(params=GENERATORS)
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the load sent by one of the generators."""
    if request.param != "wrk":
        monkeypatch.setenv("PATH", "")
    assert load.generator() == request.param
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Server]:
    """Run a daemon for all tests that do not end it."""
    with processes.daemon(tmp_path_factory.mktemp("bench") / "data") as server:
        yield server


def test_a_load_reaches_the_server_and_every_body_counts(daemon: processes.Server, generator: str) -> None:
    """Each answer that counts is a line that is stored; the bodies go round robin."""
    agents = [f"{generator.partition('/')[0]}-{number}" for number in range(3)]
    bodies = [body("append_output", definition_id=agent, line="text") for agent in agents]
    answers = load.send(load.Load(daemon, bodies, connections=4, seconds=1))
    with Client(daemon) as client:
        lines = [agent["total_lines"] for agent in client.call("stat", definition_ids=agents)]
    assert answers.total <= sum(lines) <= answers.total + 4
    assert max(lines) - min(lines) <= 4
    assert 0 < answers.p50_ms <= answers.p99_ms <= answers.max_ms
    assert answers.seconds == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("wrong", ["id", "token"])
def test_a_load_that_is_answered_with_errors_ends_the_run(daemon: processes.Server, generator: str, wrong: str) -> None:
    """Errors of JSON-RPC come with 200 and refusals without a result; neither may pass for a quick answer."""
    shown = replace(daemon, token="wrong") if wrong == "token" else daemon
    bodies = [*BODIES, body("append_output", definition_id="a b", line="text")] if wrong == "id" else BODIES
    with pytest.raises(RuntimeError, match=r"\d+ of \d+ answers were not results"):
        load.send(load.Load(shown, bodies, connections=2, seconds=1 if generator == "wrk" else 0.2))


def test_a_load_may_have_a_count_or_a_pace(tmp_path: Path) -> None:
    """A counted load ends with its last answer; a paced one sends no more than its pace, and until it is stopped."""
    with processes.echo(tmp_path, "") as server:
        assert load.send(load.Load(server, BODIES, connections=4, count=50)).total == 50
        paced = load.send(load.Load(server, BODIES, connections=4, seconds=0.5, per_second=100))
        assert 10 <= paced.total <= 51
        with load.going_on(load.Load(server, BODIES, connections=1)) as answers:
            pass
        assert answers().total


def test_the_client_does_not_take_an_error_for_an_answer(daemon: processes.Server) -> None:
    """Neither where it times, nor where it fills, alone or in a batch."""
    bad = {"definition_id": "a b", "line": "text"}
    with Client(daemon) as client:
        for attempt in (
            lambda: client.timed(body("append_output", **bad)),
            lambda: client.call("append_output", **bad),
            lambda: client.call_all([("append_output", {**bad, "definition_id": "a"}), ("append_output", bad)]),
        ):
            with pytest.raises(RuntimeError, match="INVALID_DEFINITION_ID"):
                attempt()


def test_a_server_that_does_not_start_ends_the_run_with_what_it_said(tmp_path: Path) -> None:
    """The reason is in the message, not in a file that is removed."""
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(RuntimeError, match="data directory"), processes.daemon(tmp_path / "data"):
        pass


def test_what_a_daemon_writes_counts_to_its_end(tmp_path: Path) -> None:
    """A snapshot is written twice over: into the log, and at the end into the database."""
    with processes.daemon(tmp_path / "data") as daemon, Client(daemon) as client:
        before = daemon.written_bytes()
        client.call("write_state", definition_id="agent", content=texts.snapshot(2**20))
        logged = daemon.written_bytes() - before
        assert 2**20 < logged < 1.2 * 2**20
        assert 2 * 2**20 < daemon.end() - before < 2.4 * 2**20


def test_the_yardsticks_of_the_machine_do_what_they_are_named_for(tmp_path: Path) -> None:
    """Each of them takes time, and leaves no file behind."""
    assert len(machine.sync_waits_ms(tmp_path, 5)) == 5
    assert machine.write_wait_ms(tmp_path, b"content") > 0
    assert machine.blobs_per_second(tmp_path, [b"blob"], 0.05) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_ratio_is_that_of_the_medians_and_holds_on_its_side_of_the_limit() -> None:
    """An outlier changes nothing; more is better for rates, less for waits, and of durations the quotient is turned round."""
    rate = Row("rate", "/s", [50, 60, 1], [100, 100, 9_999], "echo", at_least(0.5, aim=0.65))
    assert (rate.our_value, rate.yardstick_value, rate.ratio, rate.holds) == (50, 100, 0.5, True)
    assert rate.cells() == ("rate", "SQLite", "50/s", "100/s echo", "0.50", "≥ 0.50, aim 0.65", "yes")
    assert Row("rate", "/s", [49], [100], "echo", at_least(0.5)).holds is False
    assert Row("wait", "ms", [1.6], [1.0], "echo", at_most(1.5)).cells()[-2:] == ("≤ 1.50", "NO")
    assert Row("value", "bytes", [2**20], wanted=value_at_most(2**20), engine="PostgreSQL").cells()[1:] == (
        "PostgreSQL",
        "1 MiB",
        "-",
        "-",
        "≤ 1 MiB",
        "yes",
    )
    assert Row("copy", "s", [2.0], [1.0], "copy", at_least(0.5), faster_is_larger=True).ratio == 0.5
    assert Row("shown", "s", [2.0], [1.0], "copy").holds is None
    for row in (rate, Row("value", "bytes", [1], wanted=value_at_most(2))):
        assert Row.of(json.loads(json.dumps(row.facts()))).facts() == row.facts()


def test_ours_and_the_yardstick_take_turns() -> None:
    """What changes in the course of a run changes for both."""
    turns: list[str] = []

    def taker(name: str) -> float:
        turns.append(name)
        return float(len(turns))

    assert alternate(3, lambda: taker("ours"), lambda: taker("yardstick")) == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    assert turns == ["ours", "yardstick"] * 3


def test_a_whole_run_takes_five_rounds_or_more_and_loads_wrk_can_send() -> None:
    """The medians are of five rounds, and the long loads last whole seconds, as wrk knows no others."""
    assert FULL.rounds >= 5
    assert FULL.load_seconds == int(FULL.load_seconds)
    assert FULL.single_seconds == int(FULL.single_seconds)


def test_texts_have_the_sizes_they_are_asked_for() -> None:
    """Lines and snapshots are as large as the rows say, and a change leaves a snapshot of JSON as long as it was."""
    for size_bytes in (100, 500, 1024):
        assert len(texts.line(7, size_bytes)) + 1 == size_bytes
        assert json.loads(texts.line(7, size_bytes))["n"] == 7
    for size_bytes in (500, 1_300, 2**20):
        content = texts.snapshot(size_bytes, "one")
        assert len(content) == size_bytes
        assert json.loads(content)["nodes"]
    changed = texts.changed(content, 4_000, "x")
    differing = [place for place, (one, other) in enumerate(zip(content, changed, strict=True)) if one != other]
    assert len(content) - 4_000 <= differing[0] < differing[-1] < len(content) - 3_000
    assert json.loads(changed)


def test_the_readme_is_written_between_its_markers(tmp_path: Path) -> None:
    """What stands before and after them stays; without them nothing is written."""
    path = tmp_path / "README.md"
    row = Row("row", "ms", [1.0], [2.0], "echo", at_most(1))
    path.write_text(f"before\n{readme.BEGIN}old\n{readme.END}\nafter\n", encoding="utf-8")
    readme.write(path, {"cores": "2"}, [row])
    readme.write(path, {"cores": "2"}, [row])
    written = path.read_text(encoding="utf-8")
    assert written == f"before\n{readme.BEGIN}{readme.part({'cores': '2'}, [row])}{readme.END}\nafter\n"
    assert "| row | SQLite | 1.00 ms | 2.00 ms echo | 0.50 | ≤ 1.00 | yes |" in written
    path.write_text("no markers\n", encoding="utf-8")
    with pytest.raises(ValueError, match="bench"):
        readme.write(path, {}, [row])


def test_the_ranks_and_sizes_of_a_table_are_right() -> None:
    """A share of the values lies at or below its rank; sizes are in binary units; columns are as wide as their widest cell."""
    values = [float(each) for each in range(1, 101)]
    assert (rank(values, 0.5), rank(values, 0.99), rank([], 0.5)) == (50.0, 99.0, 0.0)
    assert [size(each) for each in (1, 1024, 3 * 2**20)] == ["1 B", "1 KiB", "3 MiB"]
    lines = aligned(("name", "of", "ms"), [["a", "x", "1,000"], ["long name", "y", "2"]]).splitlines()
    assert lines == ["name       of     ms", "---------  --  -----", "a          x   1,000", "long name  y       2"]
