"""How much of everything a run does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of one run. The defaults are those that the promises of DESIGN.md section 3 speak of.

    Attributes:
        load_seconds: how long each load is measured.
        warm_up_seconds: how long each load runs before it counts.
        quiet_seconds: how long the daemon must not have written to the disk before something is timed or counted.
        connections: numbers of connections, one load each.
        small_archives: sessions of 1 KiB to archive one by one.
        large_session_bytes: size of the large session to archive.
        large_archives: how many of those.
        listed_archives: archives of the agents whose list is asked for; 100 is the most one call returns.
        listed_bytes: size of each archive in the longer list; 1 KiB in the shorter.
        output_lines: lines of the output that pages are read from.
        repetitions: how often a short call is timed.
        snapshot_bytes: size of the snapshot that is rewritten.
        health_snapshot_bytes: size of the snapshots that are written and read while `/healthz` is asked.
        health_seconds: for how long.
    """

    load_seconds: float = 4.0
    warm_up_seconds: float = 0.5
    quiet_seconds: float = 0.5
    connections: tuple[int, ...] = (1, 32, 128)
    small_archives: int = 20
    large_session_bytes: int = 300 * MIB
    large_archives: int = 3
    listed_archives: int = 100
    listed_bytes: int = 1 * MIB
    output_lines: int = 1_000_000
    repetitions: int = 100
    snapshot_bytes: int = 20 * MIB
    health_snapshot_bytes: int = 50 * MIB
    health_seconds: float = 8.0


FULL: Final = Scale()

QUICK: Final = Scale(
    load_seconds=0.2,
    warm_up_seconds=0.05,
    quiet_seconds=0.05,
    connections=(1, 8),
    small_archives=3,
    large_session_bytes=4 * MIB,
    large_archives=1,
    listed_archives=5,
    listed_bytes=64 * KIB,
    output_lines=10_000,
    repetitions=5,
    snapshot_bytes=1 * MIB,
    health_snapshot_bytes=1 * MIB,
    health_seconds=0.3,
)
"""Every measurement once, small enough for a test. Its figures mean nothing."""
