"""The data directory as a process holds it: made, locked, and the small files in it that say who is there.

<data_dir>/auth.token      the token of this start, 0600
<data_dir>/auth.read.token the one that only reads, 0600
<data_dir>/run/lock        held with flock as long as the process lives; tells a second one who holds it
<data_dir>/run/srv.json    where the daemon listens, for its clients
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Any, Final, Self

from rpc.discovery import LOCK_FILE, RUN_FILE
from srv.tokens import Tokens

STORE_FILE: Final = "db/zones.db"
"""The store, in the data directory."""

PRIVATE_DIRECTORY: Final = 0o700
PRIVATE_FILE: Final = 0o600
TOKEN_BYTES: Final = 32

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH

_DIRECTORY: Final = 0o777
"""Of others' directories: less what the process's umask takes away."""

_NO_DIRECTORY_SYNC: Final = {errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP}
"""What is said where directories cannot be synced: by some file systems, and of one that we may enter and not read."""


class DataDirError(Exception):
    """The data directory cannot be made or written."""


class DataDirInUseError(Exception):
    """Another process holds the data directory."""

    def __init__(self, path: Path, holder: str) -> None:
        """Say which, as far as it is known."""
        super().__init__(f"the data directory {path} is in use by {holder}")
        self.holder = holder


class DataDir:
    """A data directory that this process holds alone, from `lock` to `release`."""

    def __init__(self, path: Path) -> None:
        """Name the directory; nothing is touched before `lock`."""
        self.path = path
        self.token_file = path / "auth.token"
        self.read_token_file = path / "auth.read.token"
        self.run_file = path / RUN_FILE
        self._lock_file = path / LOCK_FILE
        self._lock_handle: int | None = None
        self._is_writable = True

    def __enter__(self) -> Self:
        """Hold it as long as the block runs, once it is locked."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()

    def lock(self) -> None:
        """Make the directory where it is missing, and hold it. The lock ends with the process, however that ends.

        Raises:
            DataDirInUseError: another process holds it; the sentence says which.
            DataDirError: it cannot be made or written.
        """
        try:
            make_directory(self.path)
            self._lock_file.parent.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
            # It is emptied: what a link leads to may be something else.
            handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        except OSError as error:
            raise DataDirError(f"the data directory {self.path} cannot be used: {error.strerror}") from error
        self._take(handle, fcntl.LOCK_EX)
        self._lock_handle = handle
        self._is_writable = True
        # The lock counts, not the name: on a full disk a daemon that only reads is better than none.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(
                handle, json.dumps({"pid": os.getpid(), "started_at_ms": time.time_ns() // 1_000_000}).encode(), 0
            )

    @property
    def is_open_to_others(self) -> bool:
        """Tell whether others may put files of their own in the place of ours."""
        return bool(self.path.stat().st_mode & _OTHERS_WRITE)

    def lock_without_a_trace(self) -> None:
        """Hold the directory as it is: nothing is made or written, so that others see only that it is in use.

        Where no daemon has ever been there is nothing to hold, and nobody to keep out.

        Raises:
            DataDirInUseError, DataDirError: as `lock`.
        """
        try:
            handle = os.open(self._lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataDirError(f"{self._lock_file} cannot be read: {error.strerror}") from error
        self._take(handle, fcntl.LOCK_SH)
        self._lock_handle = handle
        self._is_writable = False

    def holder(self) -> str | None:
        """Say who holds the directory; None where nobody does, or that cannot be found out."""
        try:
            self.lock_without_a_trace()
        except DataDirInUseError as error:
            return error.holder
        except DataDirError:
            return None
        self.release()
        return None

    def release(self) -> None:
        """Let go. The lock file stays: removing it would let two processes lock two files of one name."""
        if self._lock_handle is None:
            return
        if self._is_writable:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock_handle, 0)
        os.close(self._lock_handle)
        self._lock_handle = None

    def _take(self, handle: int, kind: int) -> None:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(handle)
            os.close(handle)
            raise DataDirInUseError(self.path, holder) from error
        except OSError as error:
            os.close(handle)
            raise DataDirError(f"the data directory {self.path} cannot be locked: {error.strerror}") from error

    def new_tokens(self, token: str | None, read_token: str | None) -> Tokens:
        """Return the tokens of this start, and leave in their files those that the parent has not given.

        A parent that gives a token keeps its tokens itself: then there is a read-only one only if it gives that as well.

        Raises:
            DataDirError: a file cannot be written.
        """
        full = self._new_token(self.token_file, token)
        if token is not None and read_token is None:
            self._remove(self.read_token_file)
            return Tokens(full)
        return Tokens(full, self._new_token(self.read_token_file, read_token))

    def _new_token(self, path: Path, given: str | None) -> str:
        self._remove(path)
        if given is not None:
            return given
        token = secrets.token_urlsafe(TOKEN_BYTES)
        try:
            _write_atomically(path, token + "\n")
        except OSError as error:
            raise DataDirError(f"{path} cannot be written: {error.strerror}") from error
        return token

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DataDirError(f"{path} cannot be removed: {error.strerror}") from error

    def write_run_file(self, facts: dict[str, Any]) -> None:
        """Say where the daemon listens.

        Raises:
            DataDirError: the file cannot be written.
        """
        try:
            _write_atomically(self.run_file, json.dumps(facts) + "\n")
        except OSError as error:
            raise DataDirError(f"{self.run_file} cannot be written: {error.strerror}") from error

    def remove_run_files(self) -> None:
        """Take back what `new_tokens` and `write_run_file` have left, since nobody answers there any more.

        Only where this process holds the directory: they may be another's.
        """
        if self._lock_handle is None or not self._is_writable:
            return
        for path in (self.token_file, self.read_token_file, self.run_file):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make a private directory where it is missing, and those above it; no power cut takes away what was made.

    Raises:
        OSError: it cannot be made, or not be made sure of; or something else is there.
    """
    _make_directory(path, PRIVATE_DIRECTORY)


def _make_directory(path: Path, mode: int) -> None:
    if not path.parent.exists():
        _make_directory(path.parent, _DIRECTORY)
    try:
        path.mkdir(mode)
    except OSError:  # of a directory that is there some systems say that it cannot be written
        if not path.is_dir():
            raise
        return
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """Have the names in a directory on disk, as far as its file system does that at all."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise


def _holder(handle: int) -> str:
    """Describe who holds a lock; it may not have written its name yet."""
    try:
        facts = json.loads(os.pread(handle, 1000, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts["started_at_ms"] / 1000))
        return f"process {int(facts['pid'])}, started {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _write_atomically(path: Path, text: str) -> None:
    """Put a private file in place, so that a reader finds the old one, or the new one whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
