"""How much of everything a run does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of one run. The defaults are those that the figures wanted speak of.

    Attributes:
        rounds: how often ours and the yardstick take turns.
        load_seconds: how long each load of many connections runs, in each round.
        single_seconds: how long each load of one connection runs, in each round.
        short_rounds: the same, of rows whose rounds are short: what disturbs the machine then disturbs both.
        repetitions: how often a short call is timed, in each round.
        agents: that lines are appended for.
        lines_per_call: of the append calls that carry many lines.
        snapshot_bytes: sizes of the snapshot that is rewritten.
        mount_snapshot_bytes: sizes of the snapshot that is mounted.
        mount_lines: lines that are mounted beside it.
        archive_bytes: sizes of the sessions that are archived, beside those of 1 KiB.
        listed_archives: archives that one list shows; 100 is the most one call returns.
        listed_bytes: size of each of them, beside those of 1 KiB.
        other_zones: zones in the store that the long list is one of.
        output_lines: lines of the output that pages are read from.
        page_lines: lines of one page.
        pages: pages read from each place, in each round.
        appends_per_second: that go on meanwhile.
        crowd_agents: agents of the large store; the small one has at most 100.
        crowd_archives: archives of each of them.
        large_store_bytes: of the store that the daemon is started on.
        large_store_sessions: that hold them.
        start_rounds: how often the daemon is started on it, and on an empty one.
        migrated_blocks: blocks of the old data.
        migrated_block_bytes: of each of them.
        health_snapshot_bytes: sizes of the snapshots that are written and read while `/healthz` is asked.
        health_seconds: for how long, for each size.
        log_appends: appends while a reader holds the write-ahead log.
        snapshot_rewrites: of one snapshot, after which is looked how much it takes on the disk.
    """

    rounds: int = 5
    load_seconds: float = 2.0
    single_seconds: float = 1.0
    short_rounds: int = 20
    repetitions: int = 10
    agents: int = 50
    lines_per_call: tuple[int, ...] = (10, 100, 1_000)
    snapshot_bytes: tuple[int, ...] = (1 * MIB, 8 * MIB, 32 * MIB)
    mount_snapshot_bytes: tuple[int, ...] = (64 * KIB, 1 * MIB, 8 * MIB)
    mount_lines: int = 200
    archive_bytes: tuple[int, ...] = (3 * MIB, 300 * MIB)
    listed_archives: int = 100
    listed_bytes: int = 3 * MIB
    other_zones: int = 5_000
    output_lines: int = 1_000_000
    page_lines: int = 200
    pages: int = 200
    appends_per_second: int = 500
    crowd_agents: int = 20_000
    crowd_archives: int = 3
    large_store_bytes: int = 1 * GIB
    large_store_sessions: int = 4
    start_rounds: int = 10
    migrated_blocks: int = 2_000
    migrated_block_bytes: int = 256 * KIB
    health_snapshot_bytes: tuple[int, ...] = (50 * MIB, 64 * MIB)
    health_seconds: float = 10.0
    log_appends: int = 100_000
    snapshot_rewrites: int = 10_000

    def of_one_size(self) -> Self:
        """Return the same with one size of each kind, that of which a figure is wanted."""
        return replace(
            self,
            lines_per_call=_one(self.lines_per_call, 100),
            snapshot_bytes=_one(self.snapshot_bytes, 8 * MIB),
            mount_snapshot_bytes=_one(self.mount_snapshot_bytes, MIB),
            archive_bytes=_one(self.archive_bytes, 300 * MIB),
        )


def _one(sizes: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    return (wanted,) if wanted in sizes else sizes[:1]


FULL: Final = Scale()

QUICK: Final = Scale(
    rounds=1,
    load_seconds=0.1,
    single_seconds=0.1,
    short_rounds=1,
    repetitions=2,
    agents=5,
    lines_per_call=(10,),
    snapshot_bytes=(256 * KIB,),
    mount_snapshot_bytes=(64 * KIB,),
    mount_lines=20,
    archive_bytes=(1 * MIB,),
    listed_archives=5,
    listed_bytes=64 * KIB,
    other_zones=20,
    output_lines=5_000,
    pages=5,
    appends_per_second=50,
    crowd_agents=120,
    crowd_archives=1,
    large_store_bytes=2 * MIB,
    large_store_sessions=2,
    start_rounds=1,
    migrated_blocks=10,
    migrated_block_bytes=64 * KIB,
    health_snapshot_bytes=(1 * MIB,),
    health_seconds=0.3,
    log_appends=500,
    snapshot_rewrites=50,
)
"""Every row once, small enough for a test. Its figures mean nothing."""
