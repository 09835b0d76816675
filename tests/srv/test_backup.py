"""`zonekeeper backup`: the copy is whole and of one instant, or it is not there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from srv import app, backup, backup_file
from srv.backup import destination_of
from srv.backup_file import PartialFile
from srv.cli import main
from srv.exits import StartFailedError
from store.sqlite.backup import copy_store
from store.sqlite.check import check_store
from tests.srv.daemon import ROOT, Daemon, environment_with
from tests.store.foreign import looking, meddling

Capture = pytest.CaptureFixture[str]

SNAPSHOT = "snapshot " * 30_000


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - environment_with().keys():
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory of a daemon that was used and stopped."""
    data_dir = tmp_path_factory.mktemp("stopped") / "data"
    with Daemon.start(data_dir) as daemon:
        for number in range(20):
            daemon.call("agent:session:write_state", definition_id=f"agent-{number}", content=SNAPSHOT)
            daemon.call("agent:session:append_output", definition_id=f"agent-{number}", lines=["x" * 999] * 400)
        daemon.call("agent:session:archive", definition_id="agent-0")
    return data_dir


@pytest.fixture
def data_dir(stopped: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "data"))


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Return an empty directory for backups."""
    directory = tmp_path / "backups"
    directory.mkdir()
    return directory


def names(directory: Path) -> list[str]:
    """Name what is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def made(capsys: Capture, data_dir: Path, destination: Path) -> dict[str, Any]:
    """Make a backup; returns what was said of it, as JSON."""
    code = main(["backup", str(destination), "--json", "--data-dir", str(data_dir)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    done: dict[str, Any] = json.loads(captured.out)
    return done


def refused(capsys: Capture, data_dir: Path, destination: Path | str) -> tuple[int, str]:
    """Ask for a backup that is not made; returns the exit code and what was said."""
    code = main(["backup", str(destination), "--data-dir", str(data_dir)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def test_a_backup_is_one_private_file_that_can_be_read_anywhere(capsys: Capture, data_dir: Path, there: Path) -> None:
    """It needs no log beside it, and nothing else is left; what was done is said."""
    before = names(data_dir / "db")
    done = made(capsys, data_dir, there / "copy.db")
    copy = there / "copy.db"
    assert list(done) == ["path", "size_bytes", "sessions", "archives", "seconds"]
    assert (done["path"], done["size_bytes"]) == (str(copy), copy.stat().st_size)
    assert (done["sessions"], done["archives"]) == (20, 1)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert (names(there), names(data_dir / "db")) == (["copy.db"], before)
    found = check_store(copy)
    assert (found.findings, found.sessions, found.files) == ([], 20, 40)


def test_for_people_it_is_a_line(capsys: Capture, data_dir: Path, there: Path) -> None:
    """Where, how much, and how long it took."""
    assert main(["backup", str(there / "copy.db"), "--data-dir", str(data_dir)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{there / 'copy.db'}: 20 sessions, ")
    assert "copied and checked in " in said


def test_in_a_directory_it_is_named_by_the_time(capsys: Capture, data_dir: Path, there: Path) -> None:
    """UTC, so that the names sort as they were made, wherever that was."""
    done = made(capsys, data_dir, there)
    assert [done["path"]] == [str(path) for path in there.iterdir()]
    assert destination_of(str(there), data_dir, 1_795_442_400).name == "zonekeeper-20261123T140000Z.db"


def test_while_the_daemon_is_written_to_a_backup_is_of_one_instant(
    capsys: Capture, data_dir: Path, there: Path
) -> None:
    """One client appends a number to one agent after the other: the copy has the numbers up to one, and none beyond."""
    stop = threading.Event()
    acknowledged = 0

    def count(daemon: Daemon) -> None:
        nonlocal acknowledged
        while not stop.is_set():
            number = acknowledged + 1
            daemon.call("agent:session:append_output", definition_id=f"count-{number % 5}", line=f"{number}")
            acknowledged = number

    with Daemon.start(data_dir) as daemon:
        client = threading.Thread(target=count, args=(daemon,))
        client.start()
        try:
            bounds = []
            for number in range(3):
                before = acknowledged
                made(capsys, data_dir, there / f"{number}.db")
                bounds.append((before, acknowledged))
        finally:
            stop.set()
            client.join()
    for number, (before, after) in enumerate(bounds):
        with looking(there / f"{number}.db") as connection:
            rows = connection.execute(
                "SELECT data FROM file_parts JOIN zones ON zone_id = zones.id WHERE definition_id LIKE 'count-%'"
            )
            numbers = sorted(int(line) for (data,) in rows for line in data.split())
        assert numbers == list(range(1, len(numbers) + 1))
        assert before <= len(numbers) <= after + 1
        assert after > before


def test_commits_between_the_steps_neither_get_in_nor_begin_it_anew(data_dir: Path, there: Path) -> None:
    """The read transaction fixes what is copied, however many steps it takes and however much is written meanwhile."""
    store, copy = data_dir / "db" / "zones.db", there / "copy.db"
    copy.touch()
    done: list[int] = []
    with meddling(store) as writer:
        writer.execute("UPDATE zones SET preview = 'before'")  # now there is a log: the store is in use

        def write(done_bytes: int, total_bytes: int) -> None:
            assert total_bytes == store.stat().st_size
            done.append(done_bytes)
            writer.execute("UPDATE zones SET preview = 'after', node_count = node_count + 1")
            writer.execute("UPDATE file_parts SET data = zeroblob(size_bytes) WHERE zone_id = ?", (len(done),))

        copied = copy_store(store, copy, write)
        assert writer.execute("SELECT DISTINCT preview FROM zones").fetchall() == [("after",)]
    assert done == sorted(set(done))
    assert len(done) > 3
    assert copied.size_bytes == done[-1] == copy.stat().st_size
    with looking(copy) as connection:
        assert connection.execute("SELECT DISTINCT preview FROM zones").fetchall() == [("before",)]
    assert check_store(copy).findings == []


def ended(data_dir: Path, destination: Path, number: int) -> list[dict[str, Any]]:
    """End a backup at each of its steps in turn; returns what each has left."""
    command = [sys.executable, "-m", "tests.srv.backup_victim", str(data_dir), str(destination), str(int(number))]
    done = subprocess.run(command, cwd=ROOT, env=environment_with(), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return the data directory of a store with a session, so that a backup has few steps."""
    data_dir = tmp_path / "small"
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:write_state", definition_id="maks", content=SNAPSHOT)
    return data_dir


def test_killed_at_any_step_it_leaves_nothing_under_its_name_that_is_not_whole(small: Path, there: Path) -> None:
    """What it has left bears a name that tells, and the next backup removes it."""
    tries = ended(small, there / "copy.db", signal.SIGKILL)
    assert len(tries) > 15
    whole = tries[-1]["size_bytes"]
    for each in tries[:-1]:
        assert each["code"] == -signal.SIGKILL
        assert each["size_bytes"] in {None, whole}
        assert {name.partition(".partial")[0][:19] for name in each["names"]} <= {".zonekeeper-backup-", "copy.db"}
        assert len([name for name in each["names"] if name.endswith(".partial")]) <= 1
    assert any(each["size_bytes"] is None and each["names"] for each in tries)
    assert tries[-1]["names"] == ["copy.db"]
    assert check_store(there / "copy.db").findings == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_any_step_it_leaves_nothing_behind(small: Path, there: Path, number: int) -> None:
    """Ctrl-C and SIGTERM: exit code 1, and a copy that is whole or none at all."""
    tries = ended(small, there / "copy.db", number)
    assert len(tries) > 15
    for each in tries[:-1]:
        assert each["code"] == 1
        assert each["names"] in ([], ["copy.db"])
        assert each["size_bytes"] in {None, tries[-1]["size_bytes"]}


def test_what_a_killed_backup_left_is_removed_and_what_is_anybody_else_s_is_not(
    capsys: Capture, data_dir: Path, there: Path
) -> None:
    """Only files that bear our name, are ours, and that nobody works on."""
    left = there / ".zonekeeper-backup-0123456789abcdef.partial"
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{left}{suffix}").write_bytes(b"left")
    (there / ".zonekeeper-backup-x.partial-note").touch()
    (there / "zonekeeper-backup.partial").touch()
    (there / "aim").touch()
    (there / ".zonekeeper-backup-link.partial").symlink_to(there / "aim")
    held = there / ".zonekeeper-backup-held.partial"
    with held.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept = sorted({*names(there)} - {left.name + suffix for suffix in ("", "-journal", "-wal", "-shm")})
        made(capsys, data_dir, there / "copy.db")
        assert names(there) == sorted([*kept, "copy.db"])


def test_two_at_once_do_not_meet(small: Path, there: Path) -> None:
    """Each has a file of its own; of two that want one name, one gets it and the other says so."""
    command = [sys.executable, "-m", "srv", "backup", str(there / "copy.db"), "--data-dir", str(small)]
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment_with(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for each in both:
        each.communicate()
    assert sorted(each.returncode for each in both) == [0, 2]
    assert names(there) == ["copy.db"]
    assert check_store(there / "copy.db").findings == []


@pytest.mark.parametrize("kind", ["file", "link", "socket directory"])
def test_what_is_there_is_never_replaced(capsys: Capture, data_dir: Path, there: Path, kind: str) -> None:
    """Exit code 2, and it is as it was."""
    taken = there / "taken.db"
    if kind == "file":
        taken.write_text("mine")
    elif kind == "link":
        taken.symlink_to(there / "nowhere")
    else:
        os.mkfifo(taken)
    before = taken.lstat()
    code, said = refused(capsys, data_dir, taken)
    assert (code, f"{taken} is there already" in said) == (2, True)
    assert (taken.lstat(), names(there)) == (before, ["taken.db"])


@pytest.mark.parametrize(
    "name",
    ["db/zones.db-wal", "db/ZONES.db-shm", "db/zones.db-journal", "zones.db", "objects.db", "db/filestore.db",
     "auth.token", ".auth.token.17", "run/lock", "run/backup.db", "migration_agent_zones_v1.flag",
     "db/../db/zones.db-wal"],
)  # fmt: skip
def test_a_name_that_belongs_to_the_data_directory_is_refused(capsys: Capture, data_dir: Path, name: str) -> None:
    """There or not: SQLite would take the one for a log, and a migration the other for old data."""
    before = sorted(data_dir.rglob("*"))
    code, said = refused(capsys, data_dir, data_dir / name)
    assert (code, "belongs to the data directory" in said) == (2, True)
    assert sorted(data_dir.rglob("*")) == before


def test_a_backup_may_lie_in_the_data_directory(capsys: Capture, data_dir: Path) -> None:
    """Under any other name."""
    assert Path(made(capsys, data_dir, data_dir)["path"]).parent == data_dir
    made(capsys, data_dir, data_dir / "db" / "backup.db")


@pytest.mark.parametrize("name", ["", "missing/copy.db", "missing/", "nul\0.db"])
def test_a_destination_that_cannot_be_is_wrong_usage(capsys: Capture, data_dir: Path, there: Path, name: str) -> None:
    """A directory is not made, since it was mistyped perhaps."""
    code, said = refused(capsys, data_dir, f"{there}/{name}" if name else "")
    assert code == 2
    assert said.startswith("zonekeeper: ")
    assert names(there) == []


def test_without_a_store_there_is_nothing_to_copy(capsys: Capture, tmp_path: Path, there: Path) -> None:
    """A missing directory is wrong usage; one without a store is not, and gets none."""
    assert refused(capsys, tmp_path / "missing", there)[0] == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    code, said = refused(capsys, empty, there)
    assert (code, "nothing to copy" in said) == (1, True)
    assert names(empty) == names(there) == []


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 999", "PRAGMA application_id = 1"])
def test_a_store_that_is_none_of_ours_is_not_copied(
    capsys: Capture, data_dir: Path, there: Path, statement: str
) -> None:
    """Exit code 4, as for the daemon that would not open it."""
    with meddling(data_dir / "db" / "zones.db") as connection:
        connection.execute(statement)
    code, said = refused(capsys, data_dir, there)
    assert (code, str(data_dir / "db" / "zones.db") in said) == (4, True)
    assert names(there) == []


def test_a_copy_that_is_not_sound_gets_no_name(capsys: Capture, data_dir: Path, there: Path) -> None:
    """What is wrong is said, and who tells more."""
    with meddling(data_dir / "db" / "zones.db") as connection:
        connection.execute("UPDATE file_parts SET crc32 = crc32 + 1 WHERE zone_id = 2 AND start_byte = 0")
    code, said = refused(capsys, data_dir, there)
    assert code == 4
    assert "zonekeeper doctor --data-dir" in said
    assert "zone agent:agent-1:current, file output: the part at byte 0 fails its checksum" in said
    assert names(there) == []


def test_a_copy_that_went_wrong_gets_no_name(
    capsys: Capture, data_dir: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the copy that is checked, not the store."""
    copy_whole = app.copy_store

    def copy_badly(data_dir: Path, copy: Path, progress: Any) -> Any:
        copied = copy_whole(data_dir, copy, progress)
        with copy.open("r+b") as file:
            file.seek(copied.size_bytes // 2)
            file.write(b"\0" * 10_000)
        return copied

    monkeypatch.setattr(app, "copy_store", copy_badly)
    assert refused(capsys, data_dir, there)[0] == 4
    assert names(there) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 3 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_too_small_is_said_and_left_empty(
    capsys: Capture, data_dir: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written where that can be known; else when it is full, and then nothing stays on it."""
    code, said = refused(capsys, data_dir, small_disk)
    assert (code, "3.0 MiB free" in said) == (1, True)
    monkeypatch.setattr(backup, "_check_room", lambda _data_dir, _directory: None)
    code, said = refused(capsys, data_dir, small_disk)
    assert code == 1
    assert said == f"zonekeeper: the disk of {small_disk} is full: nothing was left there\n"
    assert names(small_disk) == []
    assert shutil.disk_usage(small_disk).used == 0


def test_a_directory_that_cannot_be_written_is_said(
    capsys: Capture, data_dir: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the system's own words, and exit code 1."""

    def fail(_directory: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(backup_file, "_made", fail)
    assert refused(capsys, data_dir, there) == (1, f"zonekeeper: no backup can be made in {there}: Permission denied\n")


def test_on_a_file_system_without_links_it_is_renamed_and_replaces_nothing(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on many a memory stick."""

    def no_links(_source: Path, _name: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    with PartialFile(there) as partial:
        partial.path.write_text("whole")
        partial.publish(there / "copy")
    assert ((there / "copy").read_text(), names(there)) == ("whole", ["copy"])
    with PartialFile(there) as partial, pytest.raises(FileExistsError):
        partial.publish(there / "copy")
    assert ((there / "copy").read_text(), names(there)) == ("whole", ["copy"])


def test_a_name_that_was_taken_meanwhile_is_not_replaced(there: Path) -> None:
    """The last instant decides."""
    with PartialFile(there) as partial:
        (there / "copy").write_text("somebody was quicker")
        with pytest.raises(FileExistsError):
            partial.publish(there / "copy")
    assert ((there / "copy").read_text(), names(there)) == ("somebody was quicker", ["copy"])


def test_a_restored_backup_is_the_store_it_was(capsys: Capture, data_dir: Path, there: Path) -> None:
    """Made beside a running daemon, put in the place of what came later: the sessions are read as they were."""
    with Daemon.start(data_dir) as daemon:
        made(capsys, data_dir, there / "copy.db")
        daemon.call("agent:session:write_state", definition_id="agent-1", content="later")
        daemon.call("agent:session:archive", definition_id="agent-2")
        daemon.call("agent:session:append_output", definition_id="new", line="later")
        daemon.kill()
    assert names(data_dir / "db") == ["zones.db", "zones.db-shm", "zones.db-wal"]
    for path in (data_dir / "db").iterdir():
        path.unlink()
    shutil.copy(there / "copy.db", data_dir / "db" / "zones.db")
    with Daemon.start(data_dir) as daemon:
        stats = daemon.call("agent:session:stat", definition_ids=["agent-0", "agent-1", "agent-2", "new"])
        assert [each["archives"] for each in stats] == [1, 0, 0, 0]
        assert [each["output_bytes"] for each in stats] == [0, 400_000, 400_000, 0]
        assert daemon.call("agent:session:read", definition_id="agent-1")["content"] == SNAPSHOT
        daemon.call("agent:session:append_output", definition_id="agent-1", line="goes on")
        page = daemon.call("agent:session:read_output", definition_id="agent-1", limit=2)
        assert page["lines"] == ["x" * 999, "goes on"]
        assert daemon.stop() == 0


def test_a_destination_has_no_room_for_doubt(data_dir: Path, there: Path) -> None:
    """A directory that is meant and not there is not taken for a file."""
    with pytest.raises(StartFailedError, match="make it first"):
        destination_of(f"{there}/new/", data_dir, 0)
    assert destination_of(f"{there}/", data_dir, 0).parent == there
