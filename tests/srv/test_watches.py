"""What the daemon watches: the free space of its disk, and how late its event loop is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from srv import free_space, loop_lag
from srv.free_space import FreeSpace, Level
from srv.loop_lag import LoopLag
from tests.srv.daemon import Daemon
from tests.waiting import until


class Disk:
    """A disk with as much room as a test says."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self.looks = 0
        self.error: OSError | None = None

    def free_bytes_of(self, _path: Path) -> int:
        """Tell how much is free."""
        self.looks += 1
        if self.error:
            raise self.error
        return self.free_bytes


def watched(disk: Disk, full: asyncio.Event | None = None) -> FreeSpace:
    """Watch a disk, whose levels are 1000 and 100 bytes."""
    return FreeSpace(Path("/data"), 1_000, 100, full or asyncio.Event(), disk.free_bytes_of)


@pytest.mark.parametrize(
    ("free_bytes", "said"),
    [
        ([1_000, 100_000], []),
        ([999, 500, 101], [("free_space_low", "warning")]),
        ([99], [("free_space_critical", "error")]),
        (
            [999, 99, 500, 5_000],
            [
                ("free_space_low", "warning"),
                ("free_space_critical", "error"),
                ("free_space_low", "warning"),
                ("free_space_enough", "info"),
            ],
        ),
        ([99, 100, 109], [("free_space_critical", "error")]),
        ([999, 1_001, 999, 1_099], [("free_space_low", "warning")]),
        ([999, 1_100], [("free_space_low", "warning"), ("free_space_enough", "info")]),
    ],
)
async def test_a_level_that_is_crossed_is_said_once_in_either_direction(
    free_bytes: list[int], said: list[tuple[str, str]]
) -> None:
    """Below it at once; above it again with a tenth more, so that a disk at its edge does not fill the log."""
    disk = Disk(0)
    watch = watched(disk)
    with capture_logs() as logged:
        for disk.free_bytes in free_bytes:
            await watch.look()
            assert watch.status()["free_bytes"] == disk.free_bytes
    assert [(line["event"], line["log_level"]) for line in logged] == said


async def test_a_disk_that_tells_nothing_is_not_known() -> None:
    """The level stays, and the size is none."""
    disk = Disk(50)
    watch = watched(disk)
    await watch.look()
    disk.error = OSError(5, "Input/output error")
    await watch.look()
    assert (watch.free_bytes, watch.level) == (None, Level.CRITICAL)


async def test_a_full_disk_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever met it says so, and nobody waits for the next round; however often it is said, there is a rest in between."""
    monkeypatch.setattr(free_space, "REST_SECONDS", 0.001)
    monkeypatch.setattr(free_space, "LOOK_SECONDS", 3_600)
    full = asyncio.Event()
    disk = Disk(5_000)
    watch = watched(disk, full)
    watch.start()
    await until(lambda: disk.looks >= 1)
    disk.free_bytes = 0
    full.set()
    await until(lambda: watch.level is Level.CRITICAL)
    assert (disk.looks, full.is_set()) == (2, False)
    await watch.stop()


async def test_the_disk_is_looked_at_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody meets anything."""
    monkeypatch.setattr(free_space, "REST_SECONDS", 0.001)
    monkeypatch.setattr(free_space, "LOOK_SECONDS", 0.002)
    disk = Disk(5_000)
    watch = watched(disk)
    watch.start()
    await until(lambda: disk.looks >= 3)
    await watch.stop()


def test_the_daemon_watches_the_disk_of_its_data(data_dir: Path) -> None:
    """What it says at the start, in the status, and to the doctor's levels as they are set."""
    with Daemon.start(data_dir, "--free-bytes-warning", "1000000GiB", "--free-bytes-critical", "1KiB") as daemon:
        daemon.wait_for_log("free_space_low")
        seen = daemon.call("srv:status")["free_space"]
        assert (seen["level"], seen["warning_bytes"], seen["critical_bytes"]) == ("warning", 1_000_000 << 30, 1_024)
        assert 0 < seen["free_bytes"] < 1_000_000 << 30
        assert daemon.events("free_space_low")[0]["below_bytes"] == 1_000_000 << 30


async def test_a_loop_that_is_held_up_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst of the last minute is told, until that is over."""
    monkeypatch.setattr(loop_lag, "LOOKS_KEPT", 3)
    lag = LoopLag(look_seconds=0.001)
    assert lag.worst_seconds == 0
    lag.start()
    blocked_until = time.monotonic() + 0.03
    while time.monotonic() < blocked_until:
        pass
    await until(lambda: lag.worst_seconds >= 0.02)
    assert lag.status() == {"worst_lag_ms": round(1_000 * lag.worst_seconds, 1)}
    await until(lambda: lag.worst_seconds < 0.02)
    lag.stop()
