"""The machine: its facts, without which no figure says anything, and what its disk and SQLite do by themselves."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Final

from bench.rows import rank

Connection = sqlite3.Connection

_PAGE_BYTES: Final = 4096
_PREALLOCATED_BYTES: Final = 4 * 1024 * 1024
_KEPT_IN_MEMORY: Final = {"tmpfs", "ramfs", "devtmpfs"}


def _statements() -> dict[str, str]:
    text = Path(__file__).with_name("yardsticks.sql").read_text(encoding="utf-8")
    pieces = re.split(r"^-- name: ([a-z_]+)\n-- .*\n", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


SQL: Final = _statements()
"""The statements of `yardsticks.sql`, by name."""


def facts(directory: Path) -> dict[str, str]:
    """Describe the machine and the disk that the directory is on."""
    waits_ms = sync_waits_ms(directory, 200)
    return {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **{name: metadata.version(name) for name in ("aiohttp", "uvloop", "orjson")},
        "file system": file_system(directory),
        "4 KiB and fdatasync": f"p50 {rank(waits_ms, 0.5):.2f} ms, p99 {rank(waits_ms, 0.99):.2f} ms",
    }


def sync_waits_ms(directory: Path, count: int) -> list[float]:
    """Time writing 4 KiB and making them durable, on and on in a file that has its place on the disk already.

    That is the least a durable change can cost: a log that is used again costs no more.
    """
    path = directory / "sync"
    waits_ms = []
    with path.open("w+b", buffering=0) as file:
        file.write(bytes(_PREALLOCATED_BYTES))
        os.fsync(file.fileno())
        file.seek(0)
        for _ in range(min(count, _PREALLOCATED_BYTES // _PAGE_BYTES)):
            begin = time.perf_counter()
            file.write(bytes(_PAGE_BYTES))
            _sync(file.fileno())
            waits_ms.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    return waits_ms


def write_wait_ms(directory: Path, content: bytes) -> float:
    """Time writing a new file and making it durable."""
    path = directory / "written"
    with path.open("wb", buffering=0) as file:
        begin = time.perf_counter()
        file.write(content)
        _sync(file.fileno())
        took_ms = (time.perf_counter() - begin) * 1000
    path.unlink()
    return took_ms


def blobs_per_second(directory: Path, blobs: list[bytes], seconds: float) -> float:
    """Count how many blobs raw SQLite stores in this process, each in a durable transaction of its own."""
    path = directory / "blobs.db"
    with durable_database(path) as connection:
        connection.execute(SQL["blobs"])
        count = 0
        begin = time.perf_counter()
        while (took := time.perf_counter() - begin) < seconds:
            connection.execute(SQL["append_blob"], (blobs[count % len(blobs)],))
            count += 1
    path.unlink()
    return count / took


@contextmanager
def durable_database(path: Path) -> Iterator[Connection]:
    """Open a database whose every commit is durable; closing it leaves one file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(SQL["write_ahead_log"])
        connection.execute(SQL["durable_log"])
        yield connection


@contextmanager
def fast_database(path: Path) -> Iterator[Connection]:
    """Open a database to fill it in one transaction, which need not be durable: it is not what is measured."""
    with closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()
    with durable_database(path):
        pass  # it is in WAL mode from now on


@contextmanager
def reading_transaction(path: Path) -> Iterator[None]:
    """Hold a read transaction on a running store, as a program that looks into it might."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(SQL["look"]).fetchone()
        yield


def file_system(directory: Path) -> str:
    """Name the type of the file system; "unknown" where the system does not tell."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    here = directory.resolve()
    found = [(len(place), kind) for _, place, kind, *_ in map(str.split, mounts) if here.is_relative_to(place)]
    return max(found)[1] if found else "unknown"


def is_kept_in_memory(directory: Path) -> bool:
    """Tell whether the directory is on no disk, where durability costs and means nothing."""
    return file_system(directory) in _KEPT_IN_MEMORY


def _sync(descriptor: int) -> None:
    # macOS has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(descriptor)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
