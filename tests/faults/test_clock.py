"""The clock stands still, jumps, and goes back: an agent's archives stay distinct and in their order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.stored import sessions_in, store_of
from tests.srv.daemon import ROOT, Daemon

NOON_MS: Final = 1_750_000_000_000
HOUR_MS: Final = 3_600_000
AGENTS: Final = ("ada", "ben")

SetClock = Callable[[int], None]


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """Name the file that the daemon takes the time from; it is noon."""
    path = tmp_path / "clock"
    path.write_text(str(NOON_MS))
    return path


def start(data_dir: Path, clock: Path) -> Daemon:
    """Start a daemon with the clock of that file."""
    environment = {"PYTHONPATH": str(ROOT / "tests" / "faults" / "clock"), "TEST_CLOCK": str(clock)}
    return Daemon.start(data_dir, environment=environment)


def set_to(clock: Path, now_ms: int) -> None:
    """Set the clock; whoever reads it meanwhile sees one time or the other."""
    new = clock.with_suffix(".new")
    new.write_text(str(now_ms))
    new.replace(clock)


def archive(daemon: Daemon, agent: str, line: str) -> dict[str, Any]:
    """Append a line and archive."""
    daemon.call("agent:session:append_output", definition_id=agent, line=line)
    archived: dict[str, Any] = daemon.call("agent:session:archive", definition_id=agent)
    return archived


def check_order(daemon: Daemon, agent: str, lines: list[str]) -> None:
    """Check that the archives are those of these lines, in this order, by their ids, in the list and in the file."""
    rows = daemon.call("agent:session:list_archives", definition_id=agent, limit=100)[::-1]
    times = [row["archived_at_ms"] for row in rows]
    assert all(earlier < later for earlier, later in pairwise(times))
    assert [row["archive_zoneid"] for row in rows] == [f"agent:{agent}:archive:{at_ms}" for at_ms in times]
    pages = [daemon.call("agent:session:read_output", definition_id=agent, archived_at_ms=at_ms) for at_ms in times]
    assert [page["lines"] for page in pages] == [[line] for line in lines]
    stored = [each for each in sessions_in(store_of(daemon.data_dir)) if each.agent == agent]
    assert [each.output.decode() for each in stored] == [f"{line}\n" for line in lines]


def test_archives_stay_in_order_whatever_the_clock_does(data_dir: Path, clock: Path) -> None:
    """Standing still, an hour forth, two back, and back beyond a restart: each archive comes after the one before it."""
    lines = []
    last_ms = NOON_MS - 1
    daemon = start(data_dir, clock)
    for number, (now_ms, restarts) in enumerate(
        [*[(NOON_MS, False)] * 5, (NOON_MS + HOUR_MS, False), (NOON_MS - HOUR_MS, False), (NOON_MS, True), (0, False)]
    ):
        set_to(clock, now_ms)
        if restarts:
            daemon.kill()
            daemon = start(data_dir, clock)
        lines.append(f"line {number}")
        archived_at_ms = archive(daemon, "ada", lines[-1])["archived_at_ms"]
        assert archived_at_ms == max(now_ms, last_ms + 1)
        last_ms = archived_at_ms
    with daemon:
        check_order(daemon, "ada", lines)


def test_many_who_archive_at_one_instant_get_archives_of_their_own(data_dir: Path, clock: Path) -> None:
    """The clock stands still, and two agents' sessions are archived at once, again and again: no two archives are one."""
    with start(data_dir, clock) as daemon, ThreadPoolExecutor(8) as threads:
        for agent in AGENTS:
            daemon.call("agent:session:append_output", definition_id=agent, line="0")

        def append_and_archive(number: int) -> tuple[str, int | None]:
            agent = AGENTS[number % 2]
            return agent, archive(daemon, agent, str(number))["archived_at_ms"]

        archived = [each for each in threads.map(append_and_archive, range(1, 81)) if each[1] is not None]
        assert len(set(archived)) == len(archived) > 20
        for agent in AGENTS:
            times = sorted(at_ms for name, at_ms in archived if name == agent and at_ms is not None)
            assert times == list(range(NOON_MS, NOON_MS + len(times)))
            rows = daemon.call("agent:session:list_archives", definition_id=agent, limit=100)
            assert [row["archived_at_ms"] for row in rows] == times[::-1]
