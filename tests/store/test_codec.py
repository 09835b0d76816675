"""The codec: what went in comes out, what does not help is left, and what is no such part is refused before it takes room."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from contextlib import suppress

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from store.codec import RAW_CODEC, ZSTD_CODEC, UnsoundPartError, packed, unpacked
from store.limits import COMPRESSED_PART_BYTES_MIN, LINE_PART_BYTES_MAX, MIB, PART_BYTES, TAIL_PART_BYTES_MAX

TEXT = b'{"type": "assistant", "message": "said"}\n' * 1_500
NOISE = random.Random(5).randbytes(PART_BYTES)
PARTS = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=300), st.integers(1, 300)),
    st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(COMPRESSED_PART_BYTES_MIN + 1)),
)


def unpacked_of(codec: int, stored: bytes, data: bytes) -> bytes:
    """Unpack what the row of a part with these bytes would hold."""
    return unpacked(codec, stored, len(data), zlib.crc32(data))


@given(PARTS)
@example(b"")
@example(TEXT)
@example(NOISE)
@example(NOISE + bytes(len(NOISE) // 7))
def test_what_went_in_comes_out_and_is_never_larger(data: bytes) -> None:
    """Whatever the bytes are; and compressed only where an eighth is saved."""
    codec, stored = packed(data)
    assert unpacked_of(codec, stored, data) == data
    if codec == RAW_CODEC:
        assert stored is data
    else:
        assert len(stored) <= len(data) * 7 / 8 + 1


def test_text_is_compressed_and_noise_is_not() -> None:
    """An agent's output is a fraction of its size; nothing is spent on what stays as large."""
    codec, stored = packed(TEXT)
    assert (codec, len(stored) < len(TEXT) // 10) == (ZSTD_CODEC, True)
    assert packed(NOISE) == (RAW_CODEC, NOISE)


def test_a_part_that_may_grow_in_place_is_left_as_it_is() -> None:
    """So an append to it adds to what is stored, and nothing is compressed for each line."""
    assert packed(b"a" * TAIL_PART_BYTES_MAX)[0] == RAW_CODEC
    assert packed(b"a" * (TAIL_PART_BYTES_MAX + 1))[0] == ZSTD_CODEC


FRAME = packed(TEXT)[1]


@pytest.mark.parametrize(
    ("codec", "stored", "said"),
    [
        (2, FRAME, "codec 2"),
        (-1, FRAME, "codec -1"),
        (None, FRAME, "codec None"),
        (RAW_CODEC, FRAME, "should have"),
        (ZSTD_CODEC, TEXT, "cannot be decompressed"),
        (ZSTD_CODEC, b"", "cannot be decompressed"),
        (ZSTD_CODEC, FRAME[:-1], "cannot be decompressed"),
        (ZSTD_CODEC, FRAME + b"\0", "cannot be decompressed"),
        (ZSTD_CODEC, FRAME + FRAME, "cannot be decompressed"),
        (ZSTD_CODEC, FRAME.decode("latin-1"), "not stored as bytes"),
        (ZSTD_CODEC, packed(TEXT[1:] + b"x")[1], "fails its checksum"),
        (ZSTD_CODEC, packed(TEXT + b"x")[1], "says that it holds"),
        (ZSTD_CODEC, zstandard.ZstdCompressor(write_content_size=False).compress(TEXT), "says that it holds"),
    ],
)
def test_what_is_not_what_was_stored_is_refused(codec: object, stored: object, said: str) -> None:
    """A codec nobody knows, a frame that is cut, followed by something, of other bytes, or that does not tell its size."""
    with pytest.raises(UnsoundPartError, match=said):
        unpacked(codec, stored, len(TEXT), zlib.crc32(TEXT))


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_no_flipped_byte_passes(place: int, by: int) -> None:
    """Wherever it is: the same bytes come out, or none."""
    flipped = bytearray(FRAME)
    flipped[place] ^= by
    with suppress(UnsoundPartError):
        assert unpacked_of(ZSTD_CODEC, bytes(flipped), TEXT) == TEXT


@pytest.mark.parametrize("told_bytes", [PART_BYTES, LINE_PART_BYTES_MAX + 1])
def test_a_frame_of_more_than_the_part_takes_no_memory(told_bytes: int) -> None:
    """Neither where the row says less, nor where row and frame agree on more than any part has."""
    bomb = zstandard.ZstdCompressor().compress(bytes(LINE_PART_BYTES_MAX + 1))
    tracemalloc.start()
    try:
        with pytest.raises(UnsoundPartError, match="says that it holds"):
            unpacked(ZSTD_CODEC, bomb, told_bytes, 0)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
