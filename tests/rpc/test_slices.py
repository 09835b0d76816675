"""Slicing changes how JSON is decoded, never what it means: `orjson.loads` is the measure of everything here."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc import slices
from rpc.slices import UNCUT_BYTES_MAX, LongText, Number, ParseError, decode
from store import limits
from store.errors import TooLargeError

WINDOWS = st.sampled_from([16, 17, 19, 23, 32, 64, 1_024])
MANY = settings(max_examples=400, deadline=None)

# What is hard at a border: escapes of two and of six bytes, pairs of them, and characters of one to four bytes.
PIECES = [
    "\\\\",
    '\\"',
    "\\n",
    "\\/",
    "\\u0000",
    "\\u00e9",
    "\\uD83D\\uDE00",
    "\\ud83d\\ude00",
    "\\ufffd",
    "é",
    "€",
    "😀",
    "a",
]
PIECES += ["[{,:}]", " ", "\x7f", "\u2028"]
STRINGS = st.lists(st.sampled_from(PIECES) | st.text("abc{}[],: ", max_size=20), max_size=60).map("".join)
BAD_PIECES = ["\\ud83d", "\\ude00", "\\ud83d\\u0041", "\\ude00\\ud83d", "\\u12", "\\x", "\\", "\n", "\x00"]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.text('é😀\\"a', max_size=100),
    lambda children: (
        st.lists(children, max_size=8)
        | st.dictionaries(st.text(max_size=10) | st.text("ab\\", max_size=60), children, max_size=8)
    ),
    max_leaves=40,
)


def plain(value: Any) -> Any:
    """Return a decoded value as `orjson.loads` gives it."""
    match value:
        case LongText():
            return value.decode()
        case Number():
            return orjson.loads(value.characters)
        case list():
            return [plain(each) for each in value]
        case dict():
            return {name: plain(each) for name, each in value.items()}
    return value


def outcome(decoder: Any, body: bytes) -> Any:
    """Return what a decoder makes of a body, `ParseError` for what it refuses."""
    try:
        return decoder(body)
    except (ParseError, orjson.JSONDecodeError):
        return ParseError


@MANY
@given(text=STRINGS, window_bytes=WINDOWS)
def test_a_string_is_the_same_however_it_is_cut(text: str, window_bytes: int) -> None:
    """No escape, surrogate pair or character is split at a window's border."""
    literal = f'"{text}"'.encode()
    whole = orjson.loads(literal)
    assert plain(decode(literal, 5, window_bytes=window_bytes)) == whole
    body = b'{"before": [%b, 1], %b: %b}' % (literal, literal, literal)
    assert plain(decode(body, 5, window_bytes=window_bytes)) == orjson.loads(body)


@MANY
@given(before=STRINGS, bad=st.sampled_from(BAD_PIECES), after=STRINGS, window_bytes=WINDOWS)
def test_a_bad_string_is_refused_wherever_it_is_bad(before: str, bad: str, after: str, window_bytes: int) -> None:
    """Lone surrogates as escapes, broken escapes and control characters are seen at borders too."""
    literal = f'"{before}{bad}{after}"'.encode()
    expected = outcome(orjson.loads, literal)
    found = outcome(lambda body: plain(decode(body, 5, window_bytes=window_bytes)), literal)
    assert found == expected


@MANY
@given(value=JSON, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]), window_bytes=WINDOWS)
def test_any_json_is_the_same_in_slices(value: Any, ascii_only: bool, indent: int | None, window_bytes: int) -> None:
    """Arrays and objects of any shape, spaced or not, with strings longer than a window in every place."""
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(errors="replace")
    assert plain(decode(body, 100, window_bytes=window_bytes)) == orjson.loads(body)


@MANY
@given(data=st.data(), value=JSON, window_bytes=WINDOWS)
def test_spoiled_json_is_refused_exactly_where_orjson_refuses_it(
    data: st.DataObject, value: Any, window_bytes: int
) -> None:
    """One byte more, less or another: both decoders agree on what is left."""
    body = bytearray(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        byte = data.draw(st.sampled_from(b'"\\[]{},:0 \xff\xe2ud'))
        match data.draw(st.integers(0, 2)):
            case 0:
                body[place:place] = bytes([byte])
            case 1:
                body[place : place + 1] = bytes([byte])
            case 2:
                del body[place : place + 1]
    expected = outcome(orjson.loads, bytes(body))
    found = outcome(lambda each: decode(each, 100, window_bytes=window_bytes), bytes(body))
    if expected is ParseError and b"e" in body:
        return  # A number beyond a double may have come of it, which only `orjson` refuses.
    assert plain(found) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 100 + b"]",
        b"[" + b" " * 100 + b",1]",
        b"[1" + b" " * 100 + b"," + b" " * 100 + b"]",
        b"[1" + b" " * 100 + b"," + b" " * 100 + b",1]",
        b'{"a":1' + b" " * 100 + b"," + b" " * 100 + b"}",
        b'{"a":1' + b" " * 100 + b',"b"' + b" " * 100 + b"}",
        b'["a":1' + b" " * 100 + b',"b":1]',
        b'{"a":1' + b" " * 100 + b',"b":1]',
        b"[1" + b" " * 100 + b",2}",
        b"[" * 600 + b"]" * 599 + b"}",
        b"[1]" + b" " * 100 + b"[2]",
        b"1" + b" " * 100 + b",2",
        b'"' + b"x" * 100,
        b'["' + b"x" * 100 + b"]",
        b'["' + b"x" * 99 + b"\xc3" + b'"]',
        b'["' + b"x" * 15 + b"\x80\x80\x80\x80\x80" + b'"]',
        b'["' + b"x" * 100 + b'" "' + b"y" * 100 + b'"]',
        b'{"' + b"x" * 100 + b'"}',
    ],
)
def test_what_is_wrong_at_the_border_of_a_slice_is_seen(body: bytes) -> None:
    """Commas without members, brackets that do not match, and strings without an end."""
    assert outcome(orjson.loads, body) is ParseError
    for window_bytes in (16, 17, 50, 1_000_000):
        assert outcome(lambda each, size=window_bytes: decode(each, 2_000, window_bytes=size), body) is ParseError


def test_the_last_of_duplicate_keys_counts_across_slices() -> None:
    """Short keys, keys longer than a window, and keys far apart."""
    key = "k" * 100
    body = f'{{"a": 1, "{key}": 2, "filler": "{"x" * 100}", "b": [{"3," * 50}3], "a": 4, "{key}": 5}}'.encode()
    decoded = decode(body, 5, window_bytes=16)
    assert plain(decoded) == orjson.loads(body)
    assert (decoded["a"], decoded[key]) == (4, 5)


def test_a_long_string_is_kept_as_its_bytes() -> None:
    """What is shorter than a window stays a string."""
    decoded = decode(b'["%b", "%b"]' % (b"x" * 13, b"\\n" * 50), 5, window_bytes=16)
    assert decoded == ["x" * 13, LongText(b"\n" * 50)]


@pytest.mark.parametrize("window_bytes", [16, 1_000])
def test_numbers_beyond_a_double_are_kept_as_characters(window_bytes: int) -> None:
    """The grammar of JSON allows them; what only looks like one inside a string stays a string."""
    body = b'{"a": 1e400, "b": [-1E+999, 1.5, "1e400", "\\"1e400"], "c": ' + b"1" * 400 + b', "d": 1e-400}'
    assert decode(body, 5, window_bytes=window_bytes) == {
        "a": Number(b"1e400"),
        "b": [Number(b"-1E+999"), 1.5, "1e400", '"1e400'],
        "c": Number(b"1" * 400),
        "d": 0.0,
    }
    for wrong in (b"01e400", b"1e400x", b"[1e400", b"--1e400", b"1e400.5", b'["1e400', b".1e400", b"1.e400", b"1e"):
        assert outcome(lambda each: decode(each, 5, window_bytes=window_bytes), wrong) is ParseError


@pytest.mark.parametrize("window_bytes", [16, 1_000])
def test_every_number_is_kept_as_its_characters_where_asked(window_bytes: int) -> None:
    """None loses a digit."""
    body = b'{"id": 1.50, "list": [0, -0, 1e5, "2.0", "' + b"3.0" * 50 + b'"]}'
    decoded = decode(body, 5, numbers_as_sent=True, window_bytes=window_bytes)
    assert decoded["id"] == Number(b"1.50")
    assert decoded["list"][:4] == [Number(b"0"), Number(b"-0"), Number(b"1e5"), "2.0"]


@pytest.mark.parametrize("depth", [1, 2, 511, 512, 513, 1_024, 1_025, 2_000])
@pytest.mark.parametrize(("opener", "closer"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_counted_and_never_exhausts_the_stack(depth: int, opener: bytes, closer: bytes) -> None:
    """The limit itself is let through, whatever orjson's own is."""
    body = opener * depth + b"1" + closer * depth
    value = decode(body, depth)
    for _ in range(depth):
        [value] = value.values() if isinstance(value, dict) else value
    assert value == 1
    with pytest.raises(TooLargeError):
        decode(body, depth - 1)
    with pytest.raises(ParseError):
        decode(body + closer, depth - 1)


@pytest.mark.parametrize(
    "rubbish",
    [
        *(b"a", b"-", b",", b":", b'"', b'"a" ', b'"a":', b'"a":[]', b'"a":[1,2]', b"[]", b"{},[]", b"\xff", b"1 "),
        *(b" ", b"\n", b" \t"),
    ],
)
@pytest.mark.parametrize(
    ("start", "end"), [(b"", b"x"), (b"[1", b"x]"), (b'{"a":', b"x}"), (b"[[[1],", b"x]]]"), (b"[1,{", b"x")]
)
def test_no_step_is_long_whatever_rubbish_comes(
    monkeypatch: pytest.MonkeyPatch, rubbish: bytes, start: bytes, end: bytes
) -> None:
    """Whoever looks at text holds up all others meanwhile, so none is looked at that is longer than JSON would have it."""
    sizes = [0]

    def loads(text: bytes) -> Any:
        sizes.append(len(text))
        return orjson.loads(text)

    monkeypatch.setattr(slices, "orjson", SimpleNamespace(loads=loads, JSONDecodeError=orjson.JSONDecodeError))
    monkeypatch.setattr(slices, "UNCUT_BYTES_MAX", 4_000)
    monkeypatch.setattr(limits, "JSON_CONTAINERS_MAX", 1_000)
    with pytest.raises((ParseError, TooLargeError)):
        decode(start + rubbish * (100_000 // len(rubbish)) + end, 5, window_bytes=1_000)
    assert max(sizes) < 4_000 + 4 * 1_000


@pytest.mark.parametrize("blank", [b" ", b"\t", b"\n", b"\r", b" \t\r\n"])
def test_white_space_of_any_length_is_white_space(monkeypatch: pytest.MonkeyPatch, blank: bytes) -> None:
    """It separates, and is nothing else."""
    monkeypatch.setattr(slices, "UNCUT_BYTES_MAX", 2_000)
    for size in (1, 15, 16, 17, 50, 1_000):
        space = blank * size
        body = space.join([b"", b"[", b"1", b",", b'"a"', b",", b"{", b'"b"', b":", b"-2", b"}", b"]", b""])
        assert decode(body, 5, window_bytes=16) == [1, "a", {"b": -2}]
        for before in range(20):
            body = b"[%b1%b2]" % (b" " * before, space)
            assert outcome(lambda each: decode(each, 5, window_bytes=16), body) is ParseError


def test_text_that_fills_slices_at_every_level_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is long without a comma is refused, not what is long only together with what is in it."""
    monkeypatch.setattr(slices, "UNCUT_BYTES_MAX", 500)
    body = b'{"%b": ' % (b"x" * 80) * 50 + b"1" + b" }" * 50
    assert decode(body, 50, window_bytes=100) == orjson.loads(body)


def test_a_number_may_have_many_digits_but_not_a_mebibyte_of_them() -> None:
    """Nothing else in JSON has so much text without a comma."""
    digits = b"1" * (UNCUT_BYTES_MAX - 10)
    assert decode(b"[1, %b, 2]" % digits, 5) == [1, Number(digits), 2]
    assert outcome(lambda each: decode(each, 5), b"[1, %b, 2]" % (digits * 2)) is ParseError


@pytest.mark.parametrize("window_bytes", [16, 1_000])
@pytest.mark.parametrize("container", [b"[]", b"{}", b'{"a":1}', b"1e400"])
def test_containers_are_counted(monkeypatch: pytest.MonkeyPatch, container: bytes, window_bytes: int) -> None:
    """So many arrays, objects and numbers beyond a double are let through, and no more."""
    monkeypatch.setattr(limits, "JSON_CONTAINERS_MAX", 100)
    assert len(decode(b"[%b]" % b", ".join([container] * 99), 5, window_bytes=window_bytes)) == 99
    with pytest.raises(TooLargeError, match="json_containers_max"):
        decode(b"[%b]" % b", ".join([container] * 101), 5, window_bytes=window_bytes)


def test_a_bytearray_is_as_good_as_bytes() -> None:
    """A transport may collect a body in either."""
    body = bytearray(b'{"a": ["' + b"x" * 100 + b'", 1]}')
    assert plain(decode(body, 5, window_bytes=16)) == orjson.loads(body)
