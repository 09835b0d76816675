"""Archives a piece at a time: what an engine makes of one when it compresses it, and asks the writer to store."""

from __future__ import annotations

from dataclasses import dataclass

from store.zones import Zone


@dataclass(frozen=True, slots=True)
class CompressedPart:
    """A part as it is to be stored, and by what it is told from one that was written since.

    Attributes:
        name: of its file.
        start_byte: where in the file it begins.
        size_bytes: of its bytes, not of `data`.
        revision: of the change that wrote it.
        crc32: of its bytes.
        codec: see `store/codec.py`.
        data: what is to be stored.
    """

    name: str
    start_byte: int
    size_bytes: int
    revision: int
    crc32: int
    codec: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CompressParts:
    """Store a piece of an archive compressed; gives None. Nothing that can be read changes.

    Made by `Engine.compressed_parts`, and asked of the engine that made it. A part that was written anew since then stays as it
    is, and where the zone does not hold that session any more nothing changes. So repetition changes nothing either.

    Attributes:
        zone: an archive.
        session_id: of the session that it held.
        parts: what to store.
        place: the last part of the piece, whether it is among these or not: its file and where it begins there.
        is_last: nothing is behind it, so the archive is done with.
    """

    zone: Zone
    session_id: str
    parts: tuple[CompressedPart, ...]
    place: tuple[str, int]
    is_last: bool

    @property
    def size_bytes(self) -> int:
        """Bytes this change holds in the queue."""
        return sum(len(part.data) for part in self.parts)
