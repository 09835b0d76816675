"""`python -m bench.cost` measures what it says, on a server of this machine."""

from __future__ import annotations

import os

import pytest

from bench import cost, paper
from tests.postgres.server import NAMED, absent, server_url


def test_it_says_what_a_line_costs_and_leaves_no_database(capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure is one, and both tables come from the same run."""
    url = server_url()
    if url is None:
        absent("PostgreSQL is not installed")
    if NAMED in os.environ:
        pytest.skip("the times of a server that was not started here cannot be read")
    assert cost.main([url, "--lines", "5", "--seconds", "0.2"]) == 0
    table, _, second = capsys.readouterr().out.partition("\n\n")
    (measured,) = paper.costs_of(table)
    assert measured.lines_of_call == 5
    assert min(measured.lines_per_second, measured.daemon_us, measured.log_bytes) > 0
    assert second == paper.computed([measured])
