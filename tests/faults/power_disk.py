"""What lies on the disk when the power goes: rebuilt from a recording, for any instant of it.

The rules are the strict ones of POSIX, not those of one file system. Of a file only what was synced is sure to be there;
anything done since may be there or not, in pieces, in any order, whatever was done to other files. A name in the directory
is made or gone for sure once the directory was synced. A sync that failed makes nothing sure, and what it was to make
sure is lost unless it is written again: the kernel may drop such pages.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.faults.recording import Kind, Record

STORE: Final = "zones.db"

Files = dict[str, bytes]
"""The files of a store by what SQLite adds to its name."""

_GRANULES: Final = (512, 4_096)
"""A sector of old drives; a sector of today's, which is also the page of the cache."""


@dataclass(slots=True, eq=False)
class _File:
    """A file, whatever its name.

    Attributes:
        seen: its bytes as the process sees them.
        durable: its bytes as of the last sync.
        pending: what was done since.
    """

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Record] = field(default_factory=list)

    def sync(self, covered: int) -> None:
        """Make sure what was done in the first bytes of the recording."""
        for record in self._take(covered):
            _do(self.durable, record)

    def fail_to_sync(self, covered: int) -> None:
        """Lose that instead: the process goes on seeing it, the disk never will."""
        self._take(covered)

    def _take(self, covered: int) -> list[Record]:
        taken = [record for record in self.pending if record.end <= covered]
        self.pending = [record for record in self.pending if record.end > covered]
        return taken


class Disk:
    """The disk below a store, brought forward record by record."""

    def __init__(self, base: Mapping[str, bytes] | None = None) -> None:
        """Begin with these files, all of them sure."""
        self._names = {name: _File(bytearray(data), bytearray(data)) for name, data in (base or {}).items()}
        self._durable_names = dict(self._names)
        self._pending_names: list[tuple[Record, _File | None]] = []

    def apply(self, record: Record) -> None:
        """Do what a record says."""
        match record.kind:
            case Kind.OPEN:
                if record.file not in self._names:
                    self._names[record.file] = _File()
                    self._pending_names.append((record, self._names[record.file]))
            case Kind.DELETE:
                if self._names.pop(record.file, None) is not None:
                    self._pending_names.append((record, None))
            case Kind.WRITE | Kind.TRUNCATE:
                _do(self._names[record.file].seen, record)
                self._names[record.file].pending.append(record)
            case Kind.SYNC:
                self._names[record.file].sync(record.number)
            case Kind.SYNC_FAILED:
                self._names[record.file].fail_to_sync(record.number)
            case Kind.DIRECTORY_SYNC:
                self._sync_names(record.number)
            case Kind.FAULT:
                pass

    def written(self) -> Files:
        """Return everything that was done: what a killed process leaves behind."""
        return {name: bytes(file.seen) for name, file in self._names.items()}

    def synced(self) -> Files:
        """Return only what is sure."""
        return {name: bytes(file.durable) for name, file in self._durable_names.items()}

    def torn(self, random: Random) -> Files:
        """Return what is sure, and of the rest what chance lets through."""
        names = dict(self._durable_names)
        for record, file in self._pending_names:
            if random.random() < 0.5:
                _rename(names, record, file)
        return {name: _torn_file(file, random) for name, file in names.items()}

    def _sync_names(self, covered: int) -> None:
        for record, file in self._pending_names:
            if record.end <= covered:
                _rename(self._durable_names, record, file)
        self._pending_names = [each for each in self._pending_names if each[0].end > covered]


def lay_out(files: Files, directory: Path, random: Random | None = None) -> Path:
    """Write files into an empty directory, made anew; returns the path of the store.

    With `random`, shared memory of before may lie beside them, as a kernel that wrote it back would have left it.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, data in files.items():
        (directory / (STORE + name)).write_bytes(data)
    if random is not None and "" in files and random.random() < 0.5:
        (directory / f"{STORE}-shm").write_bytes(random.randbytes(32_768))
    return directory / STORE


def files_in(directory: Path) -> Files:
    """Read the files of a store as they are."""
    found = {name: directory / (STORE + name) for name in ("", "-wal", "-journal")}
    return {name: path.read_bytes() for name, path in found.items() if path.exists()}


def _rename(names: dict[str, _File], record: Record, file: _File | None) -> None:
    if file is None:
        names.pop(record.file, None)
    else:
        names[record.file] = file


def _do(content: bytearray, record: Record) -> None:
    if record.kind is Kind.TRUNCATE:
        _resize(content, record.number)
    else:
        _put(content, record.number, record.data)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size_bytes: int) -> None:
    del content[size_bytes:]
    content.extend(bytes(size_bytes - len(content)))


def _torn_file(file: _File, random: Random) -> bytes:
    """Return a file of which not all that was done since the last sync has come to the disk."""
    content = bytearray(file.durable)
    if random.random() < 0.3:
        _do_up_to(content, file.pending, random)
    else:
        _do_in_pieces(content, file.pending, random)
    if len(content) < len(file.seen) and random.random() < 0.3:
        # The size has come to the disk before the data: zeros there, or what was on the disk before.
        missing = len(file.seen) - len(content)
        content += random.choice((bytes, random.randbytes))(missing)
    return bytes(content)


def _do_up_to(content: bytearray, pending: Sequence[Record], random: Random) -> None:
    """Do everything up to some call, and that one up to some byte."""
    if not pending:
        return
    last = random.randrange(len(pending))
    for record in pending[:last]:
        _do(content, record)
    record = pending[last]
    if record.kind is Kind.WRITE:
        _put(content, record.number, record.data[: random.randrange(len(record.data) + 1)])


def _do_in_pieces(content: bytearray, pending: Sequence[Record], random: Random) -> None:
    """Do some of it: each sector for itself."""
    granule, share = random.choice(_GRANULES), random.choice((0.1, 0.5, 0.9))
    for record in pending:
        if record.kind is Kind.TRUNCATE:
            if random.random() < share:
                _do(content, record)
            continue
        position = 0
        while position < len(record.data):
            end = position + granule - (record.number + position) % granule
            if random.random() < share:
                _put(content, record.number + position, record.data[position:end])
            position = end
