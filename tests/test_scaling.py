"""docs/scaling.md computes from what was measured, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from bench import paper

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def between(mark: str) -> str:
    """Return what stands between two marks of the page."""
    return PAGE.partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]


def test_what_the_agents_need_follows_from_what_was_measured() -> None:
    """The second table is computed from the first, which is as `python -m bench.cost` prints it."""
    costs = paper.costs_of(between("cost"))
    assert between("cost") == paper.measured(costs)
    assert between("paper") == paper.computed(costs)


def test_the_arithmetic_is_that_of_the_page() -> None:
    """Lines of all agents, times what a line costs, over what a daemon, a server and a day have."""
    (row,) = paper.computed([paper.Cost(10, 1.0, 6.0, 3.0, 100.0, 50.0)]).splitlines()[2:]
    assert row == "| 10 | 4,000,000 | 400 | 120 | 4.0 | 20 | 100 | 173 | 96,768 | 0.008 |"


def test_the_assumptions_are_those_of_the_code() -> None:
    """Each stands on the page with its name; the figures beside them are tested as the table's."""
    named = set(re.findall(r"`([A-Z_]{2,})`", PAGE))
    assert {"DAEMON_LOAD", "SERVER_LOG_BYTES_PER_SECOND", "DAYS_KEPT", "DOLLARS_PER_GB_MONTH"} <= named
    assert all(hasattr(paper, name) for name in named if "_" in name)


def test_its_links_lead_to_files() -> None:
    """Relative to the page."""
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
