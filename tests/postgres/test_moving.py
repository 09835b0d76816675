"""Moving from one store to another, as people do it: by a command that is killed and run again, beside daemons that serve."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from srv import process
from srv.app import open_store
from srv.cli import main
from srv.copy_command import end_of
from srv.exits import Exit, StartFailedError
from tests.srv.daemon import ROOT, Daemon
from tests.test_readme import blocks

LINE = "x" * 1_000_000
AGENTS = ["agent-0", "agent-1", "agent-2"]


class Copies:
    """Runs the command, within our own process where nobody kills it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Read what it prints."""
        self._capsys = capsys

    def json(self, *ends: Path | str) -> Any:
        """Copy, and return what it says of that as JSON; what it notes for people is in `noted`."""
        assert main(["copy", *map(str, ends), "--json"]) == Exit.STOPPED, self._capsys.readouterr()
        printed, noted = self._capsys.readouterr()
        return json.loads(printed) | {"noted": noted}

    def refused(self, code: Exit, *ends: Path | str) -> str:
        """Fail to copy with a code, and return what it says."""
        assert main(["copy", *map(str, ends)]) == code
        return self._capsys.readouterr().err


@pytest.fixture
def copies(capsys: pytest.CaptureFixture[str]) -> Copies:
    """Return the command."""
    return Copies(capsys)


def archives_of(daemon: Daemon) -> list[dict[str, Any]]:
    """List the archives of an agent, but for the previews, which are worked out when there is time."""
    rows = daemon.call("agent:session:list_archives", definition_id="agent-2")
    return [{**row, "preview": None} for row in rows]


async def killed_midway(url: str, *words: str) -> None:
    """Run a command, and kill it once the database has its first sessions."""
    process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=subprocess.DEVNULL)
    connection = await asyncpg.connect(url)
    while not await connection.fetchval("SELECT to_regclass('zonekeeper.turn') IS NOT NULL"):
        assert process.returncode is None
    while not await connection.fetchval("SELECT count(*) FROM zonekeeper.zones"):
        assert process.returncode is None
    process.kill()
    await connection.close()
    assert await process.wait() == -signal.SIGKILL


def test_moving_to_postgresql_and_back(tmp_path: Path, empty_url: str, copies: Copies) -> None:
    """A copy that is killed is not served, and goes on; then a short run, and clients go on where they were."""
    url = empty_url
    (block,) = blocks("Moving to another store")
    words = [url if "://" in word else str(tmp_path / "a") if "/" in word else word for word in shlex.split(block)[1:]]
    with Daemon.start(tmp_path / "a") as daemon:
        for agent in AGENTS:
            daemon.call("agent:session:append_output", definition_id=agent, lines=[LINE] * 7)
            daemon.call("agent:session:append_output", definition_id=agent, lines=[LINE] * 7)
        asyncio.run(killed_midway(url, sys.executable, "-m", "srv", *words))
        with pytest.raises(StartFailedError, match="a copy that is not whole"):
            process.run(open_store(tmp_path / "b", url))
        assert "not whole" in copies.refused(Exit.STORE_REFUSED, url, tmp_path / "back.db")
        rest = copies.json(tmp_path / "a", url)
        assert 0 < rest["bytes_copied"] < 3 * 14_000_000
        assert "FROM is being served" in rest["noted"]
        written = daemon.call("agent:session:write_state", definition_id="agent-1", content="{}")
        daemon.call("agent:session:archive", definition_id="agent-2")
        seen = daemon.call("agent:session:stat", definition_ids=AGENTS)
        archives = archives_of(daemon)
    short = copies.json(tmp_path / "a", url)
    assert (short["bytes_copied"], short["sessions_changed"], short["source_is_served"]) == (2, 2, False)
    assert [path.name for path in (tmp_path / "a" / "db").iterdir()] == ["zones.db"]
    there = copies.json(tmp_path / "a", url, "--verify-all")
    back = copies.json(url, tmp_path / "back.db", "--verify-all")
    assert there["digest"] == back["digest"] is not None
    with Daemon.start(tmp_path / "b", environment={"ZONEKEEPER_STORE": url}) as daemon:
        assert daemon.call("agent:session:stat", definition_ids=AGENTS) == seen
        assert archives_of(daemon) == archives
        mine = {"session_id": written["session_id"], "expect_revision": written["revision"]}
        daemon.call("agent:session:write_state", definition_id="agent-1", content="[]", **mine)
        served = copies.json(url, tmp_path / "back.db")
        assert (served["sessions_changed"], served["source_is_served"]) == (1, True)
        assert "has sessions of its own" in copies.refused(Exit.STORE_REFUSED, tmp_path / "a", url)


def test_what_is_served_is_no_target(tmp_path: Path, empty_url: str, copies: Copies) -> None:
    """Neither a data directory, nor a database that daemons are connected to, even where nothing is in it yet."""
    with Daemon.start(tmp_path / "a"):
        assert "in use" in copies.refused(Exit.DATA_DIR_IN_USE, tmp_path / "nothing.db", tmp_path / "a")
        with Daemon.start(tmp_path / "b", environment={"ZONEKEEPER_STORE": empty_url}):
            assert "daemons have" in copies.refused(Exit.STORE_REFUSED, tmp_path / "a", empty_url)
    process.run(_opened_and_closed(tmp_path / "b", empty_url))


async def _opened_and_closed(data_dir: Path, url: str) -> None:
    await (await open_store(data_dir, url)).close()


def test_the_ends_of_a_copy(tmp_path: Path) -> None:
    """A directory is a data directory, also by the file in it; what ends in `.db` is one. Refused: a password, another URL."""
    data_dir = tmp_path / "data"
    (data_dir / "db").mkdir(parents=True)
    store = data_dir / "db" / "zones.db"
    assert end_of("FROM", str(data_dir)) == end_of("FROM", str(store))
    assert end_of("FROM", str(store)).data_dir == data_dir
    assert end_of("TO", str(tmp_path / "new")).where == tmp_path / "new" / "db" / "zones.db"
    assert (end_of("TO", str(tmp_path / "x.db")).where, end_of("TO", str(tmp_path / "x.db")).data_dir) == (
        tmp_path / "x.db",
        None,
    )
    with pytest.raises(StartFailedError, match="must not hold a password"):
        end_of("TO", "postgresql://me:secret@host/database")
    with pytest.raises(StartFailedError, match="TO must be a URL such as postgresql://"):
        end_of("TO", "postgre://host/database")
