"""What happens to a store's files or server while a daemon has them, each for as long as a block of a test runs."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.cluster import Cluster
from tests.postgres.foreign import connected
from tests.srv.daemon import Daemon
from tests.store.foreign import meddling


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Fill a disk to its last byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4_096):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    assert os.statvfs(disk).f_bavail == 0
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def not_growing(daemon: Daemon) -> Iterator[None]:
    """Let the daemon's files not grow beyond 64 KiB."""
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (65_536, hard))
    try:
        yield
    finally:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that every change needs, as another program may."""
    with meddling(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def only_reading(cluster: Cluster) -> Iterator[None]:
    """Let a server write nothing, for anybody."""
    with connected(cluster.url) as connection:
        connection.set_for_all("default_transaction_read_only", "on")
        try:
            yield
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.set_for_all("default_transaction_read_only", "off")


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """Take away the right to write."""
    modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & 0o555)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@contextmanager
def flipped(path: Path, at: int, bit: int) -> Iterator[None]:
    """Turn one bit of a file over."""
    with path.open("r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), bytes([byte]), at)
