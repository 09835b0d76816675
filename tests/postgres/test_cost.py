"""`python -m bench.cost` measures what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.cost import cost
from bench.paper import Cost, measured
from tests.postgres.server import NAMED, absent, server_url


def test_it_says_what_a_line_costs(tmp_path: Path) -> None:
    """Every figure is one, and stands in the row from which the rest is computed."""
    url = server_url()
    if url is None:
        absent("PostgreSQL is not installed")
    if NAMED in os.environ:
        pytest.skip("the times of a server that was not started here cannot be read")
    found = cost(url, tmp_path, 5, 0.2)
    assert found.lines_of_call == 5
    assert min(found.lines_per_second, found.daemon_us, found.log_bytes) > 0
    assert Cost.of(measured([found]).splitlines()[2]).lines_per_second == round(found.lines_per_second)
