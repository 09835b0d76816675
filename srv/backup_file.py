"""The file of a backup while it is being made: under a name of its own, until it is whole.

`.zonekeeper-backup-<random>.partial`, beside where it is to be, locked as long as somebody works on it. One that nobody
holds was left behind by a process that was killed, and is removed by the next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from srv.data_dir import PRIVATE_FILE

_PREFIX: Final = ".zonekeeper-backup-"
_SUFFIX: Final = ".partial"
_COMPANIONS: Final = ("-journal", "-wal", "-shm")


class PartialFile:
    """A file that is not whole yet; gone at the end of the `with` block, unless it was published.

    Attributes:
        path: its name meanwhile.
    """

    def __init__(self, directory: Path) -> None:
        """Make it, empty and private.

        Raises:
            OSError: it cannot be made there.
        """
        self.path, self._handle = _made(directory)

    def __enter__(self) -> Self:
        """Hold it as long as the block runs."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it, or what publishing it has left of it."""
        _remove(self.path)
        os.close(self._handle)

    def publish(self, name: Path) -> None:
        """Put it on the disk, and give it its name. Whatever has that name already stays.

        Raises:
            FileExistsError: something has that name.
            OSError: it cannot be done.
        """
        _sync(self._handle)
        try:
            os.link(self.path, name)
        except FileExistsError:
            raise
        except OSError:
            # A file system without links, such as that of many a memory stick: then there is an instant in between.
            if os.path.lexists(name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(name)) from None
            self.path.rename(name)
        else:
            self.path.unlink()
        _sync_directory(name.parent)


def remove_leftovers(directory: Path) -> None:
    """Remove the partial files of earlier tries that nobody works on any more."""
    for path in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
    finally:
        os.close(handle)


def _made(directory: Path) -> tuple[Path, int]:
    """Make a file and lock it; again where somebody took it for a leftover in between."""
    while True:
        path = directory / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(handle).st_ino:
                return path, handle
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(handle)
            _remove(path)
            raise
        os.close(handle)


def _remove(path: Path) -> None:
    """Remove a file and what SQLite keeps beside it; itself last, since it is what shows the others."""
    for suffix in (*_COMPANIONS, ""):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(handle: int) -> None:
    os.fsync(handle)
    if full_sync := getattr(fcntl, "F_FULLFSYNC", None):  # macOS: fsync alone does not reach the disk there
        fcntl.fcntl(handle, full_sync)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some file systems know no such thing
            raise
    finally:
        os.close(handle)
