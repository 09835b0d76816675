"""Pieces of files on their way from one store into another: what a copy lacks, and its bytes, summed up as they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from store.errors import StoreRefusedError
from store.handle import Handle, SessionKey
from store.place import Reader
from store.records import FileStat, SessionFacts
from store.stored import read_parts
from store.zones import OUTPUT_FILE


class GoneError(Exception):
    """A session is not in the source any more."""


@dataclass(slots=True)
class Piece:
    """Bytes of one file that go into one change.

    Attributes:
        name: of the file.
        start_byte: where they begin.
        end_byte: where they end.
        sha256: of them as they were read, once they were.
    """

    name: str
    start_byte: int
    end_byte: int
    sha256: bytes = field(default=b"", compare=False)

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        return self.end_byte - self.start_byte


class Chunks:
    """The bytes of a piece, read anew each time they are asked for, and summed up."""

    def __init__(self, source: Reader, key: SessionKey, zone: str, piece: Piece) -> None:
        """Say where they are; whoever asks for them has begun a transaction there."""
        self._source = source
        self._key = key
        self._zone = zone
        self._piece = piece

    def __call__(self) -> Generator[bytes, None, None]:
        """Read them.

        Raises:
            GoneError: there are fewer, since the session was deleted.
            StoreError: they cannot be read.
        """
        piece, sha256, size_bytes = self._piece, hashlib.sha256(), 0
        with self._source.translated(f"zone {self._zone}, file {piece.name}"):
            for chunk in read_piece(self._source.handle, self._key, self._zone, piece):
                sha256.update(chunk)
                size_bytes += len(chunk)
                yield chunk
        if size_bytes != piece.size_bytes:
            raise GoneError(f"file {piece.name} was deleted while it was copied")
        piece.sha256 = sha256.digest()


def read_piece(handle: Handle, key: SessionKey, zone: str, piece: Piece) -> Generator[bytes, None, None]:
    """Read the bytes of a piece, or those of them that there are. Raises as `read_parts` does."""
    position = piece.start_byte
    if not piece.size_bytes:
        return
    for part in read_parts(handle, key, zone, piece.name, position):
        chunk = part.data[position - part.start_byte : piece.end_byte - part.start_byte]
        position += len(chunk)
        yield chunk
        if position >= piece.end_byte:
            return


def sha256_of(chunks: Iterable[bytes]) -> bytes:
    """Sum bytes up."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def differ(facts: SessionFacts, stored: SessionFacts) -> bool:
    """Tell whether a copy is not what its session is."""
    return _kept(facts) != _kept(stored)


def _kept(facts: SessionFacts) -> tuple[object, ...]:
    """Return what a copy has in common with its session. Lines are counted where they are stored."""
    row = (facts.zone, facts.session_id, facts.created_at_ms, facts.covers_line)
    files = tuple(_state(file) for file in facts.files)
    return (*row, facts.preview, facts.node_count, facts.origin, files)


def _state(file: FileStat) -> tuple[object, ...]:
    return file.name, file.size_bytes, file.modified_at_ms, file.revision


def lacking(facts: SessionFacts, stored: SessionFacts | None, shown: str) -> list[Piece]:
    """Return what a copy lacks of each file: the end of an output, else the file, which may be empty.

    Args:
        facts: the session.
        stored: the copy, None where there is none.
        shown: names both stores to people.

    Raises:
        StoreRefusedError: the copy is of a later state than the session.
    """
    found = []
    for file in facts.files:
        old = stored.file(file.name) if stored else None
        if old is not None and old.revision > file.revision:
            raise StoreRefusedError(
                f"{shown}: {facts.zone} is at revision {file.revision} where it is to be copied from, which is an earlier state"
                f" than revision {old.revision} that the copy has; nothing more was copied"
            )
        if old is None:
            found.append(Piece(file.name, 0, file.size_bytes))
        elif _state(old) != _state(file):
            has_grown = file.name == OUTPUT_FILE and old.size_bytes <= file.size_bytes
            found.append(Piece(file.name, old.size_bytes if has_grown else 0, file.size_bytes))
    return found
