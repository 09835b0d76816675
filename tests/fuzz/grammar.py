"""RFC 8259, production by production: texts that are JSON, and texts that miss it by one piece.

A production is a row of places. At each stands one of the pieces that the grammar allows there, or one that it does not: a
text is JSON where every piece is a good one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

DEEP: Final = 100_000
"""Levels that no recursive reader survives."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text and what the grammar says of it.

    Attributes:
        body: the text.
        is_json: whether a reader must take it, or must refuse it.
        stands_alone: it is what it is only as a whole body; any other may as well stand among the members of an array.
    """

    body: bytes
    is_json: bool
    stands_alone: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """What may stand at one place of a production, and what may not."""

    good: tuple[str, ...]
    bad: tuple[str, ...] = ()


def _texts(*places: _Place) -> Iterator[Text]:
    """Put all good pieces together in every way, and each bad one with the plainest and the fullest of its neighbours."""
    for pieces in product(*(place.good for place in places)):
        yield Text("".join(pieces).encode(), is_json=True)
    for at, spoiled in enumerate(places):
        for bad in spoiled.bad:
            for end in (0, -1):
                pieces = tuple(bad if at == number else place.good[end] for number, place in enumerate(places))
                yield Text("".join(pieces).encode(), is_json=False)


def numbers() -> Iterator[Text]:
    """`[ minus ] int [ frac ] [ exp ]`: no bound on size or digits."""
    return _texts(
        _Place(("", "-"), ("+", "--", "-+", "- ", "\u2212", "~")),
        _Place(
            ("0", "7", "10", "18446744073709551616", "9" * 5_000),
            ("", "00", "01", "0x1", "0b1", "1_000", "1 0", "\u0663", "\uff11", "NaN", "Infinity", "Inf", "a"),
        ),
        _Place(("", ".0", ".05"), (".", "..5", ".5.", ".-5", ".e", ". 5", ".5f")),
        _Place(("", "e1", "E1", "e+2", "E-02", "e400"), ("e", "E+", "e-", "e1.5", "e 1", "ee1", "e1e1", "e0x1", "p1")),
    )


def literals() -> Iterator[Text]:
    """`true`, `false` and `null`, in lower case."""
    yield from _texts(_Place(("true", "false", "null")))
    for bad in ("True", "TRUE", "tru", "truee", "t rue", "False", "None", "nul", "NULL", "nil", "undefined", "nan"):
        yield Text(bad.encode(), is_json=False)
    for bad in ("NaN", "-NaN", "Infinity", "-Infinity", "yes", "\\u0074rue", "true1", "nullnull"):
        yield Text(bad.encode(), is_json=False)


_ESCAPED: Final = '"\\/bfnrt'
_CHARACTERS: Final = (
    *(" !#[]^\x7f\x80\u07ff\u0800\u2028\u2029\ud7ff\ue000\ufeff\ufffd\uffff\U00010000\U0010ffff"),
    *(f"\\{each}" for each in _ESCAPED),
    *("\\u0000", "\\u001F", "\\u0022", "\\u005c", "\\u00e9", "\\uABCD", "\\uabcd", "\\uD7FF", "\\uE000", "\\uFFFF"),
    *("\\ud83d\\ude00", "\\uD800\\uDC00", "\\uDBFF\\uDFFF", "\\uD83D\\uDE00\\ud83d\\ude00"),
)  # fmt: skip
_NO_CHARACTERS: Final = (
    *(chr(each) for each in range(0x20)),
    *(f"\\{chr(each)}" for each in range(0x80) if chr(each) not in _ESCAPED + "u"),
    *("\\é", "\\\u2028", "\\"),
    *(
        "\\u",
        "\\u1",
        "\\u12",
        "\\u123",
        "\\u 123",
        "\\u+123",
        "\\u-123",
        "\\u0x1",
        "\\u{41}",
        "\\U0041",
        "\\u\uff11111",
    ),
    *(f"\\u{'0' * at}{bad}{'0' * (3 - at)}" for at in range(4) for bad in "gG/:@`\n"),
    *("\\ud83d", "\\ude00", "\\uDBFF", "\\uDC00", "\\ud83d\\ud83d", "\\ude00\\ude00", "\\ude00\\ud83d"),
    *("\\ud83dx", "\\ud83d\\n", "\\ud83d\\\\ude00", "\\ud83d\\u0041", "\\ud83d \\ude00", "\\ud83d\\uE000", "\\ud83d😀"),
)


def strings() -> Iterator[Text]:
    """`quotation-mark *char quotation-mark`, as values and as names: each character by itself and amid others."""
    quotes = _Place(('"',), ("", "'", "\u201c", "`", '\\"', '""'))
    for text in _texts(
        quotes, _Place(("a", "é", *_CHARACTERS), _NO_CHARACTERS), _Place(('"',), ("", "'", "\\", '"x"'))
    ):
        yield text
        yield Text(b'{"a": 1, %b: 2}' % text.body, text.is_json)
    for character in _NO_CHARACTERS:
        yield Text(f'"é\\n{character} \\n😀"'.encode(), is_json=False)
    yield Text(b'""', is_json=True)
    yield Text("".join(('"', *_CHARACTERS, '"')).encode(), is_json=True)


_NO_UTF_8: Final = (
    *(bytes([each]) for each in (0x80, 0xBF, 0xC0, 0xC1, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF)),
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3\xc3\xa9", b"\xe2\x82\xe2\x82\xac", b"\xf0\x9f\x98a"),
    *(
        b"\xc0\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\xaf",
        b"\xf0\x8f\xbf\xbf",
    ),
    *(b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
)
"""Lone bytes, characters that break off, overlong ones, surrogates, and what is beyond U+10FFFF."""


def encodings() -> Iterator[Text]:
    """UTF-8 without a byte order mark (section 8.1), in strings and outside of them."""
    for first in ("\x80", "\u0800", "\ud7ff", "\ue000", "\U00010000", "\U0010ffff"):
        yield Text(f'"{first}"'.encode(), is_json=True)
    for bad in _NO_UTF_8:
        yield Text(b'"%b"' % bad, is_json=False)
        yield Text(b'"a%bb"' % bad, is_json=False)
        yield Text(b'{"%b": 1}' % bad, is_json=False)
        yield Text(b"%b1" % bad, is_json=False)
        yield Text(b"1%b" % bad, is_json=False)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"):
        yield Text('{"é": 1}'.encode(encoding), is_json=False)


_NO_SPACE: Final = "\x00\x01\x08\x0b\x0c\x1f\x7f\x85\xa0\u1680\u180e\u2003\u200b\u2028\u2029\u202f\u2060\u3000\ufeff\\/"


def white_space() -> Iterator[Text]:
    """`*( space / tab / line feed / carriage return )` around every token, and no other kind."""
    value = (b"", b"[", b"1", b",", b"{", b'"a"', b":", b"null", b",", b'"b"', b":", b"[", b"]", b"}", b"]", b"")
    for good in (" ", "\t", "\n", "\r", "\r\n", " \t\n\r", "\n" * 300):
        yield Text(good.encode().join(value), is_json=True)
    for bad in _NO_SPACE:
        for at in range(1, len(value)):
            yield Text(b"".join((*value[:at], bad.encode(), *value[at:])), is_json=False)
    for blank in (b"", b" ", b"\n", b" \t\r\n", b"\x00"):
        yield Text(blank, is_json=False)


def structures() -> Iterator[Text]:
    """Arrays and objects: members, separators, brackets, and nothing beside them."""
    for good in (
        *("[]", "[1]", "[1,2]", "[[],{}]", "[[[]]]", '["]"]', '["[{"]', "[null,true,-0]"),
        *("{}", '{"a":1}', '{"a":1,"b":2}', '{"":0}', '{"a":1,"a":2}', '{"a":{"a":{}}}', '{"a":[{}]}', '{"}":"{"}'),
    ):
        yield Text(good.encode(), is_json=True)
    for bad in (
        *(
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[,]",
            "[1,,2]",
            "[1 2]",
            "[1;2]",
            "[1:2]",
            "[1}",
            "[1)",
            "(1)",
            "<1>",
            "[[]",
        ),
        *("{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{,"a":1}', "{,}", '{"a":1,,"b":2}', '{"a":1 "b":2}'),
        *('{"a" 1}', '{"a"=1}', '{"a"=>1}', "{a:1}", "{'a':1}", "{1:1}", "{null:1}", "{[]:1}", "{{}:1}", '{"a":1]'),
        *('{"a"}', '{"a":}', "{:1}", "{:}", '{"a":1:2}', '{"a"::1}', '{"a":1;"b":2}', '{"a","b"}', "[{]}", "{[}]"),
        *("1 1", "[][]", "{}{}", "[] []", "null null", '"a""b"', '"a" "b"', "1\n2", "{}\n{}"),
        *(
            "/**/1",
            "1/**/",
            "[1/**/]",
            "[1//\n]",
            "[1#\n]",
            "[1--\n]",
            "/1/",
            "=1",
            "a=1",
            "[1]x",
            "x[1]",
            "[...]",
            "@",
        ),
    ):
        yield Text(bad.encode(), is_json=False)
    for bad in ("]", "}", "1]", "{}}", "[]]", "[1],", ",1", "1,", "1,2", ":1", '"a":1', "[1],[2]"):
        yield Text(bad.encode(), is_json=False, stands_alone=True)


def nestings() -> Iterator[Text]:
    """Arrays and objects in each other: the grammar knows no bound."""
    for opener, closer in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ("[[0],", "]"), ('{"b":1,"a":', "}")):
        yield from _nested(opener * 50, closer * 50)
    yield from _nested('[{"a":' * (DEEP // 2), "}]" * (DEEP // 2))


def _nested(start: str, end: str) -> Iterator[Text]:
    yield Text(f"{start}1{end}".encode(), is_json=True)
    for bad in (f"{start}1", f"{start}1{end[:-1]}", f"{start}1{end[1:]}", f"{start},{end}", f"{start}x{end}"):
        yield Text(bad.encode(), is_json=False)
    yield Text(f"{start}1{end}{end[0]}".encode(), is_json=False, stands_alone=True)


PRODUCTIONS: Final[Mapping[str, Callable[[], Iterator[Text]]]] = {
    "numbers": numbers,
    "literals": literals,
    "strings": strings,
    "encodings": encodings,
    "white space": white_space,
    "structures": structures,
    "nestings": nestings,
}
