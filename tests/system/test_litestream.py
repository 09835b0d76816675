"""The store copied as it grows by Litestream, which writes to it and moves its log beside the daemon, as the README has it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

from store.sqlite.check import check_store
from tests.litestream import PROGRAM, copies, replicating
from tests.srv.daemon import Daemon

COPIES_OF_TWO_ROUNDS: Final = 8
"""One round is under way when it is asked for; each may come to four, before and after the log is moved."""

CLIENTS: Final = 4
LINES_OF_CALL: Final = 100
LINE_BYTES: Final = 1_000
MOVED_TIMES: Final = 2
"""So often Litestream moves the log, and it is begun anew."""

WRITTEN_BYTES: Final = 40 << 20
"""And so much is written, so that the daemon finds it time to move the log as well."""


def command_for(data_dir: Path, replica: Path) -> list[str]:
    """Have it look ten times as often as it does by itself."""
    place = {"url": f"file://{replica}", "sync-interval": "100ms"}
    database = {"path": str(data_dir / "db" / "zones.db"), "monitor-interval": "100ms", "replica": place}
    settings = data_dir.parent / "litestream.yml"
    settings.write_text(json.dumps({"dbs": [database]}))  # JSON is YAML
    return [PROGRAM, "replicate", "-config", str(settings)]


def restored(replica: Path, target: Path) -> Path:
    """Restore what there is into a directory of data."""
    (target / "db").mkdir(parents=True)
    command = [PROGRAM, "restore", "-o", str(target / "db" / "zones.db"), f"file://{replica}"]
    subprocess.run(command, check=True, umask=0o077, stderr=subprocess.DEVNULL)
    return target


class Writers:
    """Clients that append numbered lines, each to an agent of its own.

    Attributes:
        acknowledged: lines, by agent.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.acknowledged = dict.fromkeys((f"agent-{number}" for number in range(CLIENTS)), 0)
        self._threads = [threading.Thread(target=self._append, args=(agent,)) for agent in self.acknowledged]
        for thread in self._threads:
            thread.start()

    def _append(self, agent: str) -> None:
        while self._daemon.process.poll() is None:
            first = self.acknowledged[agent]
            lines = [line(number) for number in range(first, first + LINES_OF_CALL)]
            try:
                self._daemon.call("agent:session:append_output", definition_id=agent, lines=lines)
            except OSError:
                return
            self.acknowledged[agent] += LINES_OF_CALL

    def join(self) -> None:
        """Wait for their end, which is the daemon's."""
        for thread in self._threads:
            thread.join()


def line(number: int) -> str:
    """Return the line of that number."""
    return f"{number} ".ljust(LINE_BYTES, "x")


def salts(data_dir: Path) -> bytes:
    """Return what tells one log from the next."""
    with (data_dir / "db" / "zones.db-wal").open("rb") as log:
        return log.read(24)[16:]


def test_what_is_restored_after_a_crash_under_load_is_a_state_that_was(tmp_path: Path) -> None:
    """Litestream and daemon are killed while lines come and both move the log: all but the last moments are there, in order."""
    replica = tmp_path / "replica"
    with Daemon.start(tmp_path / "data") as daemon:
        daemon.call("agent:session:write_state", definition_id="agent-0", content="{}")
        with replicating(command_for(daemon.data_dir, replica), os.environ) as wait_until:
            wait_until(lambda _: copies(replica) > 0)
            writers = Writers(daemon)
            seen = {salts(daemon.data_dir)}

            def have_both_moved_the_log(_: bytes) -> bool:
                seen.add(salts(daemon.data_dir))
                return len(seen) > MOVED_TIMES and sum(writers.acknowledged.values()) * LINE_BYTES > WRITTEN_BYTES

            wait_until(have_both_moved_the_log)
            by_then = dict(writers.acknowledged)
            enough = copies(replica) + COPIES_OF_TWO_ROUNDS
            wait_until(lambda _: copies(replica) >= enough)
        daemon.process.kill()
        writers.join()
        daemon.kill()
    home = restored(replica, tmp_path / "new")
    assert check_store(home / "db" / "zones.db").findings == []
    with Daemon.start(home) as daemon:
        for agent, least in by_then.items():
            (found,) = daemon.call("agent:session:stat", definition_ids=[agent])
            count = found["total_lines"]
            assert least <= count <= writers.acknowledged[agent] + LINES_OF_CALL
            _, _, body = daemon.request("GET", f"/zones/{agent}/current/output")
            assert body.decode().splitlines() == [line(number) for number in range(count)]
        assert json.loads(daemon.call("agent:session:read", definition_id="agent-0")["content"]) == {}


def test_a_copy_that_is_begun_anew_forgets_a_commit_that_never_was(tmp_path: Path) -> None:
    """What a killed daemon left half done was copied, and something else was written since: the new copy is as the store is."""
    replica = tmp_path / "replica"
    data_dir = tmp_path / "data"
    with Daemon.start(data_dir) as daemon, replicating(command_for(data_dir, replica), os.environ) as wait_until:
        wait_until(lambda _: copies(replica) >= 1)
        daemon.call("agent:session:append_output", definition_id="maks", line="before")
        wait_until(lambda _: copies(replica) >= 2)
        daemon.kill()
        leave_half_done(data_dir / "db" / "zones.db", tmp_path / "scratch")
        wait_until(lambda _: copies(replica) >= 3)
        with Daemon.start(data_dir) as other:
            other.call("agent:session:append_output", definition_id="maks", line="after")
            other.kill()
    shutil.rmtree(data_dir / "db" / ".zones.db-litestream")
    anew = tmp_path / "anew"
    with replicating(command_for(data_dir, anew), os.environ) as wait_until:
        wait_until(lambda _: copies(anew) >= 1)
    home = restored(anew, tmp_path / "new")
    assert check_store(home / "db" / "zones.db").findings == []
    with Daemon.start(home) as daemon:
        assert daemon.call("agent:session:read_output", definition_id="maks")["lines"] == ["before", "after"]


def leave_half_done(store: Path, scratch: Path) -> None:
    """Leave a commit in the log that is whole, and that the index of the log, kept alive by Litestream, knows nothing of.

    That is what a daemon leaves which is killed between the two: SQLite writes over it with the next commit.
    """
    scratch.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{store}{suffix}", f"{scratch}/zones.db{suffix}")
    with closing(sqlite3.connect(scratch / "zones.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE half_done AS SELECT randomblob(400000)")
        log = Path(f"{scratch}/zones.db-wal").read_bytes()
    with Path(f"{store}-wal").open("r+b") as file:
        file.write(log)
