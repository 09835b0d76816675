"""An AgentMux installation of 200 agent blocks becomes Zonekeeper's at the first start."""

from __future__ import annotations

import hashlib
import json
import os
import selectors
from pathlib import Path
from typing import Any

import pytest

from rpc import shapes
from tests.legacy_dirs import identifier, lacks_snapshot, populate
from tests.rpc.conftest import Schema
from tests.srv.daemon import WAIT_SECONDS, Daemon

BLOCKS, AGENTS = 200, 20
WITHOUT_SNAPSHOT = sum(lacks_snapshot(number, AGENTS) for number in range(BLOCKS))
STATISTICS = {
    "zones_adopted": 0,
    "files_damaged": 0,
    "blocks_scanned": BLOCKS,
    "archives_written": BLOCKS - WITHOUT_SNAPSHOT,
    "archives_already_present": 0,
    "current_zones_seeded": AGENTS,
    "skipped_no_snapshot": WITHOUT_SNAPSHOT,
    "failures": 0,
}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Make an installation's data directory."""
    path = tmp_path / "agentmux"
    populate(path, BLOCKS, AGENTS)
    return path


def statistics(daemon: Daemon) -> dict[str, Any]:
    """Return what the daemon says of the first migration, but for its outcome."""
    report = dict(daemon.call("srv:status")["migrations"]["migrate_block_zones_v1"])
    report.pop("outcome")
    return report


def sessions(daemon: Daemon) -> dict[str, Any]:
    """Return every session there is, by agent; session ids are minted, so they are left out."""
    everything: dict[str, Any] = {}
    for agent in daemon.call("agent:session:list_agents", limit=1_000)["agents"]:
        definition_id = agent["definition_id"]
        mounted = daemon.call("agent:session:mount", definition_id=definition_id)
        mounted.pop("session_id")
        archives = daemon.call("agent:session:list_archives", definition_id=definition_id, limit=100)
        for row in archives:
            row.pop("session_id")
            at = {"definition_id": definition_id, "archived_at_ms": row["archived_at_ms"]}
            row["content"] = daemon.call("agent:session:read_archive", **at)["content"]
            row["lines"] = daemon.call("agent:session:read_output", **at)["lines"]
        everything[definition_id] = {"current": mounted, "archives": archives}
    return everything


def legacy_bytes(data_dir: Path) -> dict[str, str]:
    """Return the checksums of the old files."""
    return {
        name: hashlib.sha256((data_dir / "db" / name).read_bytes()).hexdigest()
        for name in ("filestore.db", "objects.db")
    }


def test_an_installation_is_migrated_reported_listed_and_mounted_and_a_second_start_changes_nothing(
    data_dir: Path,
) -> None:
    """The first start moves everything and says so; archives are listed newest first; the second finds all done."""
    before = legacy_bytes(data_dir)
    with Daemon.start(data_dir) as daemon:
        Schema(shapes.STATUS).check(daemon.call("srv:status"))
        assert {line["event"] for line in daemon.said} == {"migrating", "listening"}
        assert statistics(daemon) == STATISTICS
        assert '"archives_written": 1' in daemon.log()
        moved = sessions(daemon)
    assert len(moved) == AGENTS
    for agent in range(AGENTS):
        numbers = [number for number in range(agent, BLOCKS, AGENTS) if not lacks_snapshot(number, AGENTS)]
        mine = moved[identifier("agent", agent)]
        previews = [row["preview"] for row in mine["archives"]]
        assert previews == [f"question {number} of agent {agent}" for number in reversed(numbers)]
        times = [row["archived_at_ms"] for row in mine["archives"]]
        assert times == sorted(times, reverse=True)
        assert mine["current"]["snapshot"]["content"] == mine["archives"][0]["content"]
        assert f"question {numbers[-1]} of" in json.dumps(mine["current"])
    with Daemon.start(data_dir) as daemon:
        assert [line["event"] for line in daemon.said] == ["listening"]
        assert sessions(daemon) == moved
    assert legacy_bytes(data_dir) == before


@pytest.mark.parametrize("lines_heard", [1, 2, 3])
def test_a_migration_that_is_killed_is_completed_by_the_next_start(
    data_dir: Path, tmp_path: Path, lines_heard: int
) -> None:
    """Whatever instant the power goes at, the next start ends where an undisturbed one does."""
    undisturbed = tmp_path / "undisturbed"
    populate(undisturbed, BLOCKS, AGENTS)
    with Daemon.start(undisturbed) as daemon:
        expected = sessions(daemon)
    cut_off = Daemon(data_dir)
    for _ in range(lines_heard):
        if cut_off.next_line()["event"] == "listening":
            break
    cut_off.kill()
    with Daemon.start(data_dir) as daemon:
        assert sessions(daemon) == expected


def test_of_two_daemons_started_at_once_one_migrates_and_runs(data_dir: Path) -> None:
    """The other one exits with the code for a directory in use, and nothing is migrated twice."""
    rivals = [Daemon(data_dir), Daemon(data_dir)]
    try:
        loser = wait_for_one(rivals)
        assert loser.wait() == 3
        assert "in use" in loser.log()
        (winner,) = (daemon for daemon in rivals if daemon is not loser)
        while winner.next_line()["event"] != "listening":
            pass
        winner.ready = winner.said[-1]
        winner.token = Path(winner.ready["token_file"]).read_text(encoding="utf-8").strip()
        assert statistics(winner) == STATISTICS
        assert winner.stop() == 0
    finally:
        for daemon in rivals:
            if daemon.process.poll() is None:
                daemon.kill()


def wait_for_one(daemons: list[Daemon]) -> Daemon:
    """Wait until one of the processes has ended, whichever it is."""
    with selectors.DefaultSelector() as ends:
        for daemon in daemons:
            ends.register(os.pidfd_open(daemon.process.pid), selectors.EVENT_READ, daemon)
        found = ends.select(WAIT_SECONDS)
        for key in list(ends.get_map().values()):
            os.close(key.fd)
    assert found, "both run, or hang"
    ended: Daemon = found[0][0].data
    return ended
