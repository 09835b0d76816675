"""The bench measures what it says. How long anything takes is no matter of tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from bench import load, processes
from bench.client import body
from bench.table import Table, rank, size

ROOT: Final = Path(__file__).resolve().parent.parent


def test_every_measurement_runs_and_prints_its_table(tmp_path: Path) -> None:
    """A quick run of everything prints the machine and one table per measurement, and leaves nothing behind."""
    command = [sys.executable, "-m", "bench", "--quick", "--directory", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    titles = [
        before
        for before, line in zip(printed.splitlines(), printed.splitlines()[1:], strict=False)
        if before and not line
    ]
    for title in (
        "The machine",
        "Durable appends",
        "Archiving",
        "Listing",
        "A page",
        "Writing a snapshot",
        "/healthz while",
    ):
        assert any(each.startswith(title) for each in titles), title
    assert list(tmp_path.iterdir()) == []


def test_a_measurement_that_does_not_exist_is_refused() -> None:
    """A typing error must not look like a run."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "append"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "append" in done.stderr


@pytest.mark.parametrize(("expected", "is_failure"), [(b'"jsonrpc"', False), (b'"result"', True)])
def test_the_load_counts_every_answer_and_every_failure(tmp_path: Path, expected: bytes, *, is_failure: bool) -> None:
    """Each connection sends its own request; an answer without the expected word is a failure."""
    with processes.echo(tmp_path) as server:
        requests = tuple(load.post(server.port, body("read", definition_id=f"a{n}")) for n in range(3))
        answers = load.send(load.Load(server.port, requests, expected, seconds=0.1))
    assert answers.total >= len(requests)
    assert answers.failures == (answers.total if is_failure else 0)
    assert 0 < answers.p50_ms <= answers.p99_ms <= answers.max_ms


def test_a_server_that_does_not_start_ends_the_run_with_what_it_said(tmp_path: Path) -> None:
    """The reason is in the message, not in a file that is removed."""
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(RuntimeError, match="data directory"), processes.daemon(tmp_path):
        pass


def test_the_ranks_and_sizes_of_a_table_are_right() -> None:
    """A share of the values lies at or below its rank; sizes are in binary units; columns are as wide as their widest cell."""
    values = [float(each) for each in range(1, 101)]
    assert (rank(values, 0.5), rank(values, 0.99), rank([], 0.5)) == (50.0, 99.0, 0.0)
    assert [size(each) for each in (None, 1, 1024, 3 * 2**20)] == ["-", "1 B", "1.0 KiB", "3.0 MiB"]
    lines = str(Table("title", ("name", "ms"), [["a", "1,000"], ["long name", "2"]])).splitlines()
    assert lines[2:6] == ["name          ms", "---------  -----", "a          1,000", "long name      2"]
