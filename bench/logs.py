"""How large the write-ahead log grows while a reader holds it, and whether it becomes small again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import machine, processes, texts
from bench.appends import CONNECTIONS, bodies
from bench.busy import busy
from bench.client import Client, body
from bench.load import Load, send
from bench.rows import Row, size, value_at_most
from bench.scale import MIB, Scale

_LOOK_SECONDS: Final = 0.02
_LOG_BYTES_MAX: Final = 64 * MIB
_SMALL_LOG_BYTES_MAX: Final = 32 * MIB
"""Twice what it holds when the daemon moves it into the database."""

_LOG: Final = "db/zones.db-wal"


def logs(scale: Scale, directory: Path) -> list[Row]:
    """Append with a foreign reader for a tenth of the appends, and again while we read the largest snapshot ourselves."""
    return [*_foreign_reader(scale, directory / "foreign"), _own_readers(scale, directory / "own")]


def _foreign_reader(scale: Scale, data_dir: Path) -> list[Row]:
    """Hold a read transaction from four tenths of the appends to five tenths."""
    log = data_dir / _LOG
    with processes.daemon(data_dir) as daemon:
        requests = bodies(scale)

        def append(tenths: int) -> None:
            send(Load(daemon, requests, CONNECTIONS, count=scale.log_appends * tenths // 10))

        with _largest(log) as before:
            append(4)
        with _largest(log) as largest:
            with machine.reading_transaction(data_dir / "db" / "zones.db"):
                append(1)
            append(5)
        after = _size_of(log)
    name = f"log, {scale.log_appends:,} appends, a foreign reader for a tenth:"
    return [
        Row(f"{name} largest", "bytes", largest, before, "before it", value_at_most(_LOG_BYTES_MAX)),
        Row(f"{name} after", "bytes", [after], before, "before it", value_at_most(_SMALL_LOG_BYTES_MAX)),
    ]


def _own_readers(scale: Scale, data_dir: Path) -> Row:
    """Read the largest snapshot again and again meanwhile, the longest that a reader of ours takes."""
    size_bytes = max(scale.health_snapshot_bytes)
    with processes.daemon(data_dir) as daemon, Client(daemon) as client:
        client.call("write_state", definition_id="large", content=texts.snapshot(size_bytes))
    read = [body("read", definition_id="large")]
    # Started anew, as a write of that size makes a log of its size by itself.
    with processes.daemon(data_dir) as daemon, _largest(data_dir / _LOG) as largest, busy(daemon, read):
        send(Load(daemon, bodies(scale), CONNECTIONS, count=scale.log_appends // 5))
    name = f"log, {scale.log_appends // 5:,} appends, {size(size_bytes)} read all the time: largest"
    return Row(name, "bytes", largest, wanted=value_at_most(_LOG_BYTES_MAX))


@contextmanager
def _largest(log: Path) -> Iterator[list[float]]:
    """Watch the log during the block; what is yielded then holds the largest size it had."""
    over = threading.Event()

    def watch() -> int:
        largest = 0
        while not over.wait(_LOOK_SECONDS):
            largest = max(largest, _size_of(log))
        return max(largest, _size_of(log))

    found: list[float] = []
    with ThreadPoolExecutor(1) as thread:
        watcher = thread.submit(watch)
        try:
            yield found
        finally:
            over.set()
        found.append(watcher.result())


def _size_of(log: Path) -> int:
    """Look up a size; a log that is not there yet has none."""
    return log.stat().st_size if log.exists() else 0
