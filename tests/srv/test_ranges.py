"""`Range` headers of every kind, beside a straightforward reading of RFC 9110, byte by byte."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from srv.ranges import NotSatisfiableError, bytes_wanted

SPACE = st.text(" \t", max_size=2)
NUMBERS = st.integers(0, 30) | st.integers(0, 10**40)
DIGITS = st.builds(lambda zeros, number: "0" * zeros + str(number), st.integers(0, 3), NUMBERS)
PLACES = st.tuples(DIGITS | st.just(""), DIGITS | st.just(""))
SIZES = st.integers(0, 25)

IGNORED = "ignored"
REFUSED = "refused"


def outcome(text: str, size_bytes: int) -> list[int] | str:
    """Return the numbers of the bytes that are sent, or what becomes of the header."""
    try:
        found = bytes_wanted(text, size_bytes)
    except NotSatisfiableError:
        return REFUSED
    return IGNORED if found is None else list(range(*found))


def expected(places: list[tuple[str, str]], size_bytes: int) -> list[int] | str:
    """Say what RFC 9110 wants of these places, section 14.1.2; of several ranges we make 416 (section 15.5.17)."""
    if not places or any(place == ("", "") for place in places):
        return IGNORED
    if any(first and last and int(first) > int(last) for first, last in places):
        return IGNORED
    if len(places) > 1:
        return REFUSED
    first, last = places[0]
    whole = range(size_bytes)
    if first:
        sent = [byte for byte in whole if int(first) <= byte and (not last or byte <= int(last))]
    else:
        sent = [byte for byte in whole if byte >= size_bytes - int(last)]
        if not sent and int(last):
            return IGNORED  # satisfiable, but there is no way to say so of no byte
    return sent or REFUSED


@given(
    unit=st.sampled_from(["bytes", "Bytes", "BYTES"]), places=st.lists(PLACES, max_size=3), size=SIZES, data=st.data()
)
def test_a_range_that_is_well_formed_is_read_as_the_rfc_has_it(
    unit: str, places: list[tuple[str, str]], size: int, data: st.DataObject
) -> None:
    """With space and empty places between commas, numbers of any length, before, at and beyond the end."""
    written = [data.draw(SPACE) + f"{first}-{last}" + data.draw(SPACE) for first, last in places]
    for _ in range(data.draw(st.integers(0, 2))):
        written.insert(data.draw(st.integers(0, len(written))), data.draw(SPACE))
    assert outcome(f"{unit}={','.join(written)}", size) == expected(places, size)


@given(text=st.text("bytes=-, 0129\t", max_size=20) | st.text(max_size=20), size=SIZES)
@example("bytes=" + "9" * 8_000 + "-", 10)
@example("bytes=0-" + "9" * 8_000, 10)
@example("bytes=٣-", 10)
@example("bytes=+1-2", 10)
@example("bytes=1_0-", 20)
@example("bytes =0-1", 10)
def test_whatever_comes_something_of_the_file_is_meant_or_nothing(text: str, size: int) -> None:
    """No header fails, and none leads out of the file."""
    found = outcome(text, size)
    if isinstance(found, list):
        assert found
        assert found == list(range(found[0], found[-1] + 1))
        assert found[-1] < size
        assert text.lower().startswith("bytes=")
