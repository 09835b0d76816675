"""The data directory as a process holds it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from srv.app import open_store
from srv.data_dir import DataDir, DataDirError, DataDirInUseError
from tests.srv.daemon import Daemon


def test_a_directory_is_held_by_one_and_free_again_after_it(data_dir: Path) -> None:
    """While one holds it nobody else can, not even to look at it undisturbed."""
    first, second = DataDir(data_dir), DataDir(data_dir)
    first.lock()
    with first:
        with pytest.raises(DataDirInUseError, match="in use by process"):
            second.lock()
        with pytest.raises(DataDirInUseError, match="in use by process"):
            second.lock_without_a_trace()
    second.lock()
    second.release()


def test_whoever_looks_undisturbed_keeps_a_daemon_out(data_dir: Path) -> None:
    """A daemon does not start amid a dry run; the dry run leaves no name, so it is told of another process."""
    watcher, daemon = DataDir(data_dir), DataDir(data_dir)
    daemon.lock()
    daemon.release()
    watcher.lock_without_a_trace()
    with watcher, pytest.raises(DataDirInUseError, match="in use by another process"):
        daemon.lock()
    daemon.lock()
    daemon.release()


def test_what_a_link_in_the_place_of_the_lock_leads_to_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    """The lock is emptied when it is taken; in a directory that others can write to, one of them may have put a link there."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (data_dir / "run").mkdir(parents=True)
    (data_dir / "run" / "lock").symlink_to(precious)
    with pytest.raises(DataDirError, match="cannot be used: Too many levels of symbolic links"):
        DataDir(data_dir).lock()
    assert precious.read_text() == "precious"


def test_files_of_another_are_left_alone(data_dir: Path) -> None:
    """A process that could not get the directory does not clean up in it."""
    holder, other = DataDir(data_dir), DataDir(data_dir)
    holder.lock()
    with holder:
        holder.new_tokens(None, None)
        holder.write_run_file({})
        other.remove_run_files()
        assert holder.token_file.exists()
        assert holder.read_token_file.exists()
        assert holder.run_file.exists()
        holder.remove_run_files()
        assert not holder.token_file.exists()
        assert not holder.read_token_file.exists()


@pytest.mark.parametrize(("mode", "expected"), [(0o777, True), (0o770, True), (0o755, False), (0o700, False)])
def test_a_directory_that_others_may_write_to_is_warned_of(data_dir: Path, mode: int, expected: bool) -> None:
    """The daemon starts on it, and its log says what to do."""
    data_dir.mkdir()
    data_dir.chmod(mode)
    with Daemon.start(data_dir) as daemon:
        daemon.stop()
    assert ('"event": "data_directory_open"' in daemon.log()) == expected


async def test_directories_that_are_made_are_made_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is synced into the one above it, from the first that was missing to the store's; what is there costs no sync."""
    synced: dict[int, list[str]] = {}

    def note(handle: int) -> None:
        synced[os.fstat(handle).st_ino] = os.listdir(handle)

    monkeypatch.setattr(os, "fsync", note)
    data_dir = tmp_path / "above" / "further" / "data"
    for is_there in (False, True):
        holder = DataDir(data_dir)
        holder.lock()
        with holder:
            engine = await open_store(data_dir)
            await engine.close()
        for directory in (*data_dir.parents[1::-1], data_dir, data_dir / "db"):
            assert (directory.name in synced.get(directory.parent.stat().st_ino, [])) != is_there
        synced.clear()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (data_dir, data_dir / "db")] == [0o700, 0o700]


def failing_sync(code: int) -> Callable[[int], None]:
    """Return an `fsync` that fails."""

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_where_directories_cannot_be_synced_they_are_made_all_the_same(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems do not do that."""
    monkeypatch.setattr(os, "fsync", failing_sync(errno.EINVAL))
    holder = DataDir(data_dir)
    holder.lock()
    holder.release()


def test_a_disk_that_does_not_take_a_new_directory_ends_the_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error is said as what it is."""
    monkeypatch.setattr(os, "fsync", failing_sync(errno.EIO))
    with pytest.raises(DataDirError, match="cannot be used: Input/output error"):
        DataDir(data_dir).lock()


def test_the_name_of_the_holder_is_no_condition(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the directory is held all the same; only who holds it is not written down."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    first, second = DataDir(data_dir), DataDir(data_dir)
    first.lock()
    with first, pytest.raises(DataDirInUseError, match="in use by another process"):
        second.lock()


def test_a_token_that_cannot_be_written_is_told_with_its_file(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token nobody could call."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    holder = DataDir(data_dir)
    holder.lock()
    monkeypatch.setattr(os, "open", full)
    with holder, pytest.raises(DataDirError, match=r"auth\.token cannot be written: No space left"):
        holder.new_tokens(None, None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_start_on_a_full_disk_ends_with_a_sentence(small_disk: Path) -> None:
    """Not a byte is free: the daemon says what it cannot write, and exits without a stack trace."""
    (small_disk / "data" / "run").mkdir(parents=True)
    (small_disk / "data" / "run" / "lock").touch()
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 4096):
            pass
    assert os.statvfs(small_disk).f_bavail == 0
    daemon = Daemon(small_disk / "data")
    assert daemon.wait() in {2, 4}
    assert str(small_disk / "data") in daemon.log()
    assert "start_failed" in daemon.log()
    assert "Traceback" not in daemon.log()
