"""What the files of a store go through, call by call: the form of a recording, as the shim writes and the replay reads it.

A recording is one file that is only appended to, each record in one unbuffered write:

    kind (1 byte)  file (1)  number (8)  size of data (8)  data

A change of a file is recorded before it is made, a sync after it has returned: so at no length does the recording
promise more than the disk. Its length is the clock of everything: whoever hears of a commit when the recording is L bytes
long must find that commit on a disk rebuilt from the first L bytes.
"""

from __future__ import annotations

import enum
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILES: Final = ("", "-wal", "-journal")
"""What SQLite adds to the name of the store for each of its files. `-shm` is left out: it is made anew at every start."""

_HEAD: Final = struct.Struct("<BBQQ")


class Kind(enum.IntEnum):
    """What was done to a file."""

    OPEN = 1
    """Opened, and made where it was not there."""
    WRITE = 2
    """`data` written at byte `number`."""
    TRUNCATE = 3
    """Cut, or extended, to `number` bytes."""
    DELETE = 4
    """Its name removed from the directory."""
    SYNC = 5
    """Synced: all that was done to it in the first `number` bytes of the recording is on disk."""
    SYNC_FAILED = 6
    """As `SYNC`, but the system said that it failed."""
    DIRECTORY_SYNC = 7
    """The directory synced: all names made or removed in the first `number` bytes of the recording are on disk."""
    FAULT = 8
    """A fault was put in: `number` is the code that SQLite was given."""


@dataclass(frozen=True, slots=True)
class Record:
    """One call.

    Attributes:
        kind: what was done.
        file: to which one, an element of `FILES`.
        number: an offset, a size in bytes, a length of the recording, or a code: see `Kind`.
        data: the bytes written.
        end: length of the recording with this record.
    """

    kind: Kind
    file: str
    number: int
    data: bytes
    end: int


class Recorder:
    """Appends to a recording. One process has one; its callers take turns."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.length = os.fstat(self._handle).st_size

    def add(self, kind: Kind, file: str, number: int = 0, data: bytes = b"") -> None:
        """Append a record.

        Raises:
            OSError: it cannot be written, or not as a whole.
        """
        record = _HEAD.pack(kind, FILES.index(file), number, len(data)) + data
        if os.write(self._handle, record) != len(record):
            raise OSError("the recording was cut short")
        self.length += len(record)


def read_recording(path: Path) -> list[Record]:
    """Read a recording. A last record that a kill has cut short counts as not there: its call was never made."""
    content = path.read_bytes()
    records: list[Record] = []
    position = 0
    while position + _HEAD.size <= len(content):
        kind, file, number, size_bytes = _HEAD.unpack_from(content, position)
        start, position = position + _HEAD.size, position + _HEAD.size + size_bytes
        if position > len(content):
            break
        records.append(Record(Kind(kind), FILES[file], number, content[start:position], position))
    return records
