"""`Accept-Encoding` headers of every kind, beside a straightforward reading of RFC 9110; and gzip itself."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rpc.bodies import OffLoop
from srv.compression import STEP_BYTES, Codings, compressed

SPACE = st.text(" \t", max_size=2)
WEIGHTS = st.sampled_from(["", "0", "0.", "0.0", "0.000", "0.001", "0.3", "0.75", "1", "1.", "1.000"])
PLACES = st.tuples(st.sampled_from(["gzip", "GZip", "x-gzip", "identity", "Identity", "*", "br", "deflate"]), WEIGHTS)


def weight(places: list[tuple[str, str]], *names: str) -> float | None:
    """Return the largest weight of a coding under its names; None where it is not there."""
    found = [float(text or 1) for name, text in places if name.lower() in names]
    return max(found, default=None)


@given(places=st.lists(PLACES, max_size=5), data=st.data())
def test_weights_are_read_as_the_rfc_has_it(places: list[tuple[str, str]], data: st.DataObject) -> None:
    """Section 12.5.3: a name counts before `*`; what is not spoken of is not wanted, but for `identity`, which is allowed."""
    written = []
    for name, text in places:
        parameter = f"{data.draw(SPACE)};{data.draw(SPACE)}{data.draw(st.sampled_from('qQ'))}={text}" if text else ""
        written.append(data.draw(SPACE) + name + parameter + data.draw(SPACE))
    lines = data.draw(st.integers(0, len(written)))
    codings = Codings.parse([",".join(written[:lines]), ",".join(written[lines:])])
    rest = weight(places, "*")
    of_gzip, of_identity = weight(places, "gzip", "x-gzip"), weight(places, "identity")
    wanted = of_gzip if of_gzip is not None else rest or 0.0
    plain = of_identity if of_identity is not None else rest
    assert codings == Codings(wanted, plain)
    assert codings.prefer_gzip == (wanted > 0 and (plain is None or wanted >= plain))
    assert codings.need_gzip == (wanted > 0 and plain == 0)


@given(values=st.lists(st.text("gzipdent*;q=0.19, \t", max_size=30) | st.text(max_size=30), max_size=3))
@example(["gzip;q=2"])
@example(["gzip;q=0.0001"])
@example(["gzip;q=-1"])
@example(["gzip;level=1"])
@example(["gzip" * 2_000])
def test_whatever_comes_it_is_understood_or_passed_over(values: list[str]) -> None:
    """No header fails; who does not name gzip or `*` in the form of the RFC does not get it."""
    codings = Codings.parse(values)
    assert 0 <= codings.gzip <= 1
    if not any("gzip" in each.lower() or "*" in each for each in values):
        assert not codings.prefer_gzip


@pytest.mark.parametrize(
    ("size_bytes", "piece_bytes"),
    [(0, 1), (5_000, 1), (STEP_BYTES, STEP_BYTES), (3 * STEP_BYTES, 10_000), (5 * STEP_BYTES, 2 * STEP_BYTES)],
)
async def test_pieces_become_one_gzip_file_of_a_few_pieces(size_bytes: int, piece_bytes: int) -> None:
    """The same each time, however they are cut; none is empty, since an empty one would end the answer."""
    data = (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), piece_bytes):
            yield data[start : start + piece_bytes]

    done = [each async for each in compressed(pieces(), OffLoop())]
    assert all(done)
    assert gzip.decompress(b"".join(done)) == data
    assert b"".join(done) == zlib.compress(data, 1, 31)
