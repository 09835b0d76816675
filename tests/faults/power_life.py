"""A daemon's life below which everything is recorded, and every disk that a power cut could have made of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

from srv.exits import Exit
from tests.faults.power_check import NOTHING, State, stored_in
from tests.faults.power_disk import Disk, Files, files_in, lay_out
from tests.faults.power_load import Histories, History, check_states, put_under_load
from tests.faults.recording import Kind, Record, read_recording
from tests.faults.shim_daemon import ShimDaemon, shim_environment

SOAK_SECONDS: Final = float(os.environ.get("ZONEKEEPER_SOAK_SECONDS") or 0)
"""With a time to fill, every instant is looked at, and one life follows the other; without, some instants of two lives."""

SEED: Final = os.environ.get("ZONEKEEPER_SOAK_SEED") or str(SystemRandom().randrange(10**9))
"""Of all that is random: what clients send, and what of it the disk keeps. Threads still meet as they like."""


@dataclass(frozen=True, slots=True)
class Life:
    """What a daemon did.

    Attributes:
        name: which life, for people.
        seed: of its load and of its disks.
        base: the files of the store at its beginning.
        records: what they went through.
        listening_at: length of the recording when the daemon said that it listens.
        histories: what was acknowledged.
    """

    name: str
    seed: str
    base: Files
    records: list[Record]
    listening_at: int
    histories: Histories


@dataclass(frozen=True, slots=True)
class Cut:
    """A disk that a power cut may leave behind.

    Attributes:
        life: which it ended.
        length: of the recording at that instant.
        kind: which disk of that instant.
        files: what is on it.
    """

    life: Life
    length: int
    kind: str
    files: Files

    def __str__(self) -> str:
        """Say how to come by it again."""
        return f"{self.kind}, {self.life.name} cut at {self.length}, ZONEKEEPER_SOAK_SEED={self.life.seed}"

    @property
    def random(self) -> Random:
        """Chance of its own, the same each time."""
        return Random(f"{self.life.seed} {self.life.name} {self.length} {self.kind}")

    def check(self, directory: Path) -> dict[str, State]:
        """Check that all promises hold on it, and return what is there.

        Raises:
            AssertionError: they do not; says on which disk.
        """
        try:
            found = stored_in(lay_out(self.files, directory, self.random))
            check_states(found, self.life.histories, self.length)
        except Exception as error:
            raise AssertionError(f"{self}: {error}") from error
        return found


def live(
    name: str,
    folder: Path,
    seed: str,
    constants: Mapping[str, int],
    *,
    steps: int,
    begin: Cut | None = None,
    killed: bool = False,
) -> Life:
    """Run a daemon under load, from its start to its end.

    Args:
        name: which life it is.
        folder: where the data directory `data` lies, or is made.
        seed: of the load.
        constants: of the product that are to be others, see `shim_environment`.
        steps: of each client.
        begin: the disk it begins on; None for what lies in the folder, old data perhaps.
        killed: it is killed once all is answered, rather than stopped.
    """
    store = folder / "data" / "db"
    base: Files = {}
    states: dict[str, State] = {}
    if begin is not None:
        states = begin.check(folder / "look")
        base = begin.files
        lay_out(base, store)
    with ShimDaemon.start(folder / "data", environment=shim_environment(folder / "shim", **constants)) as daemon:
        listening_at = daemon.recording.stat().st_size
        histories = put_under_load(daemon, states, f"{seed} {name}", steps)
        if killed:
            daemon.kill()
    assert killed or daemon.process.returncode == Exit.STOPPED
    records = read_recording(daemon.recording)
    left = files_in(store)
    _add_migrated(histories, stored_in(lay_out(left, folder / "look")), listening_at)
    _check_complete(records, base, left)
    return Life(name, seed, base, records, listening_at, histories)


def cuts(life: Life, every: int) -> Iterator[Cut]:
    """Yield disks of a life in order: what was synced at every instant, the others at one instant of so many."""
    disk = Disk(life.base)
    length = 0
    for number, record in enumerate(life.records):
        if record.kind in {Kind.SYNC, Kind.SYNC_FAILED, Kind.DIRECTORY_SYNC}:
            # Until now nothing has changed in it, and more was acknowledged meanwhile: the last instant says most.
            yield Cut(life, length, "what was synced", disk.synced())
        disk.apply(record)
        length = record.end
        if number % every == 0:
            yield _torn(Cut(life, length, f"torn in record {number}", {}), disk)
        if number % (4 * every) == 0:
            yield Cut(life, length, "all that was written", disk.written())
    yield Cut(life, length, "what was synced in the end", disk.synced())
    yield Cut(life, length, "all that was written in the end", disk.written())


def _torn(cut: Cut, disk: Disk) -> Cut:
    return Cut(cut.life, cut.length, cut.kind, disk.torn(cut.random))


def _add_migrated(histories: Histories, end: dict[str, State], listening_at: int) -> None:
    """Add the agents that nobody changed but the migration: from nothing to all in one step, before it listened."""
    for agent, state in end.items():
        if agent not in histories:
            histories[agent] = History([NOTHING, state], [0], [listening_at])


def _check_complete(records: list[Record], base: Files, left: Files) -> None:
    """Check that nothing went past the recording: what it says was done is what lies there, byte for byte."""
    disk = Disk(base)
    for record in records:
        disk.apply(record)
    assert disk.written() == left


def clean(directory: Path) -> Path:
    """Remove a directory, whatever is in it; returns its path."""
    shutil.rmtree(directory, ignore_errors=True)
    return directory
