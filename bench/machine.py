"""The facts of the machine without which no figure says anything."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from importlib import metadata
from pathlib import Path
from typing import Final

from bench.table import Table, decimal, rank

_SYNCS: Final = 200


def facts(directory: Path) -> Table:
    """Describe the machine and the disk that the directory is on."""
    waits_ms = _sync_waits_ms(directory / "sync")
    rows = [
        ("cores", str(os.cpu_count())),
        ("processor", _processor()),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        *((name, metadata.version(name)) for name in ("aiohttp", "uvloop")),
        ("file system", _file_system(directory)),
        ("4 KiB write + fsync", f"p50 {decimal(rank(waits_ms, 0.5))} ms, p99 {decimal(rank(waits_ms, 0.99))} ms"),
    ]
    return Table("The machine", ("what", "value"), rows)


def _sync_waits_ms(path: Path) -> list[float]:
    """Time appending 4 KiB to a file and making them durable, which is the least a durable change can cost."""
    waits_ms = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            waits_ms.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    return waits_ms


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _file_system(directory: Path) -> str:
    """Name the type of the file system; on one kept in memory, such as tmpfs, durability costs and means nothing."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    here = directory.resolve()
    found = [(len(place), kind) for _, place, kind, *_ in map(str.split, mounts) if here.is_relative_to(place)]
    return max(found)[1] if found else "unknown"
