"""Compression of answers: whether a caller wants it (RFC 9110, section 12.5.3), and doing it step by step in another thread."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from rpc.bodies import OffLoop

STEP_BYTES: Final = 512 * 2**10
"""Compressed at once: some milliseconds in a thread, which hold nobody else up."""

_LEVEL: Final = 1
"""Of 9. With 6 JSON becomes a sixth smaller and takes three times as long, and our callers are near."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_ALIASES: Final = {"x-gzip": "gzip"}
_CODING: Final = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Codings:
    """What an `Accept-Encoding` says of the codings we have, each from 0, which is a no, to 1.

    Attributes:
        gzip: of gzip.
        identity: of none at all; None where it is not spoken of, which allows it.
    """

    gzip: float
    identity: float | None

    @classmethod
    def parse(cls, values: Sequence[str]) -> Self:
        """Take the header from all its lines. What has not the RFC's form is passed over; the largest weight counts."""
        weights: dict[str, float] = {}
        for place in ",".join(values).split(","):
            if match := _CODING.fullmatch(place.strip(" \t")):
                name = match[1].lower()
                name = _ALIASES.get(name, name)
                weights[name] = max(weights.get(name, 0), float(match[2] or 1))
        rest = weights.get("*")
        return cls(weights.get("gzip", rest or 0), weights.get("identity", rest))

    @property
    def prefer_gzip(self) -> bool:
        """Tell whether gzip is wanted at least as much as none."""
        return self.gzip > 0 and self.gzip >= (self.identity or 0)

    @property
    def need_gzip(self) -> bool:
        """Tell whether nothing but gzip will do."""
        return self.gzip > 0 and self.identity == 0


async def compressed(pieces: AsyncIterator[bytes], off_loop: OffLoop) -> AsyncGenerator[bytes, None]:
    """Compress pieces, in order, with gzip. The same pieces give the same bytes."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    step: list[bytes] = []
    step_bytes = 0
    async for piece in pieces:
        step.append(piece)
        step_bytes += len(piece)
        if step_bytes >= STEP_BYTES:
            if ready := await off_loop.run(_compress, compressor, step):
                yield ready
            step, step_bytes = [], 0
    yield await off_loop.run(_compress, compressor, step, is_last=True)


def _compress(compressor: Any, step: Sequence[bytes], *, is_last: bool = False) -> bytes:
    ready = [compressor.compress(piece) for piece in step]
    return b"".join([*ready, compressor.flush()] if is_last else ready)
