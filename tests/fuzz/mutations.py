"""Ways to spoil a request: a byte or many, blindly or where it hurts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

_SHARP: Final = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b'"',
    b"%",
    b"\x7f",
    b"\x80",
    b"\xff",
)
_FRAMING: Final = (
    *(b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 99999999999999999999", b"Content-Length: -1"),
    *(
        b"Content-Length: +5",
        b"Content-Length : 5",
        b"Content-Length: 5, 5",
        b"Content-Length: 0x5",
        b"content-length:",
    ),
    *(b"Content-Length: 18446744073709551616", b"Content-Length: 1000000", b" Content-Length: 5", b"Content_Length: 5"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked"),
    *(
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding:\r\n chunked",
        b"TE: chunked",
    ),
    *(b"Transfer-Encoding: chunked, identity", b"transfer-encoding: Chunked", b"Transfer-Encoding: xchunked"),
    *(b"Host: evil.example", b"Host:", b"Origin: null", b"Origin: http://evil.example", b"Connection: close"),
    *(
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"Expect: x",
        b"Content-Encoding: gzip",
    ),
    *(
        b"X-Request-Id: a b",
        b"X-Request-Id: " + b"x" * 300,
        b"X-AuthNonce: " + b"0" * 64,
    ),
    *(
        b"Content-Length: " + b"0" * 5_000 + b"5",
        b"Range: bytes=0-" + b"9" * 5_000,
        b"Range: bytes=-0,1-",
        b": x",
        b"\x00: y",
    ),
)
_CHUNK_SIZES: Final = (
    b"0",
    b"0x5",
    b"-1",
    b"+5",
    b"5;",
    b"5 ",
    b" 5",
    b"FFFFFFFFFFFFFFFF",
    b"fffffffffffffffff",
    b"g",
    b"",
)

_VERSIONS: Final = (
    b"",
    b" ",
    b" HTTP/0.9",
    b" HTTP/1.0",
    b" HTTP/1.2",
    b" HTTP/2.0",
    b" http/1.1",
    b" HTTP/1.1 x",
    b" HTTP/11",
)
_NUMBERS: Final = (
    *(b"", b"0", b"-1", b"+1", b"1.5", b"1e3", b"1_0", b"0x1", b"%31", "\u0663".encode(), b"NaN", b"1,2"),
    *(b"9007199254740992", b"18446744073709551616", b"1e400", b"9" * 5_000, b"0" * 5_000 + b"1"),
)


def _span(random: Random, text: bytes, longest: int = 40) -> tuple[int, int]:
    start = random.randrange(len(text) + 1)
    return start, min(len(text), start + random.randint(1, longest))


def flip(random: Random, text: bytes, _: bytes) -> bytes:
    """Turn one bit over."""
    at = random.randrange(len(text))
    return text[:at] + bytes([text[at] ^ 1 << random.randrange(8)]) + text[at + 1 :]


def insert(random: Random, text: bytes, _: bytes) -> bytes:
    """Put in a byte or a few that mean something."""
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice((*_SHARP, random.randbytes(3))) + text[at:]


def replace(random: Random, text: bytes, _: bytes) -> bytes:
    """Put such bytes in the place of others."""
    start, end = _span(random, text, 3)
    return text[:start] + random.choice(_SHARP) + text[end:]


def delete(random: Random, text: bytes, _: bytes) -> bytes:
    """Take some out."""
    start, end = _span(random, text)
    return text[:start] + text[end:]


def duplicate(random: Random, text: bytes, _: bytes) -> bytes:
    """Say something twice."""
    start, end = _span(random, text, 200)
    return text[:end] + text[start:]


def cut(random: Random, text: bytes, _: bytes) -> bytes:
    """End in the middle."""
    return text[: random.randrange(len(text) + 1)]


def splice(random: Random, text: bytes, other: bytes) -> bytes:
    """Go on as another request."""
    return text[: random.randrange(len(text) + 1)] + other[random.randrange(len(other) + 1) :]


def swap_names(random: Random, text: bytes, _: bytes) -> bytes:
    """Exchange the names of two fields."""
    names = list(re.finditer(rb"(?<=\r\n)[A-Za-z-]+(?=:)", text))
    if len(names) < 2:
        return text
    one, two = sorted(random.sample(names, 2), key=re.Match.start)
    return text[: one.start()] + two[0] + text[one.end() : two.start()] + one[0] + text[two.end() :]


def repeat_line(random: Random, text: bytes, _: bytes) -> bytes:
    """Send a line again, elsewhere."""
    lines = text.split(b"\r\n")
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
    return b"\r\n".join(lines)


def drop_line(random: Random, text: bytes, _: bytes) -> bytes:
    """Leave a line out."""
    lines = text.split(b"\r\n")
    del lines[random.randrange(len(lines))]
    return b"\r\n".join(lines)


def lengthen(random: Random, text: bytes, _: bytes) -> bytes:
    """Make something long, very long, or many."""
    at = random.randrange(len(text) + 1)
    return (
        text[:at]
        + random.choice((b"x", b" ", b"X: y\r\n", b"9", b"\r\n", b"/")) * random.choice((300, 9_000, 70_000))
        + text[at:]
    )


def bare(random: Random, text: bytes, _: bytes) -> bytes:
    """End a line, or all, in another way than by CR LF."""
    other = random.choice((b"\n", b"\r", b"\n\r", b"\r\r\n", b" \r\n", b"\r\n "))
    if random.random() < 0.3:
        return text.replace(b"\r\n", other)
    lines = text.split(b"\r\n")
    at = random.randrange(1, len(lines)) if len(lines) > 1 else 0
    return b"\r\n".join(lines[:at]) + other + b"\r\n".join(lines[at:])


def frame(random: Random, text: bytes, _: bytes) -> bytes:
    """Say another thing about how long the body is, for whom, or what comes then."""
    return _with_line(text, random.choice(_FRAMING))


def _with_line(text: bytes, line: bytes) -> bytes:
    end = text.find(b"\r\n") + 2
    return text[:end] + line + b"\r\n" + text[end:]


def resize(random: Random, text: bytes, _: bytes) -> bytes:
    """Declare another size of a body or a chunk."""
    sizes = list(re.finditer(rb"(?i)(?<=content-length: )\d+|(?<=\r\n)[0-9a-f]+(?=\r\n|;)", text))
    if not sizes:
        return text
    size = random.choice(sizes)
    other = random.choice(
        (*_CHUNK_SIZES, b"%d" % random.randrange(300), size[0] + b"0", b"0" + size[0], b"00000000000000000" + size[0])
    )
    return text[: size.start()] + other + text[size.end() :]


def exaggerate(random: Random, text: bytes, _: bytes) -> bytes:
    """Put another number, or what is nearly one, in the place of one."""
    numbers = list(re.finditer(rb"\d+", text))
    return _with_number(text, random.choice(numbers), random.choice(_NUMBERS)) if numbers else text


def _with_number(text: bytes, number: re.Match[bytes], other: bytes) -> bytes:
    return text[: number.start()] + other + text[number.end() :]


def framed(request: bytes) -> Iterator[bytes]:
    """Yield a request with every line about its frame, with every odd number in its head, and in every odd version."""
    for line in _FRAMING:
        yield _with_line(request, line)
    for version in _VERSIONS:
        yield request.replace(b" HTTP/1.1", version, 1)
    for number in re.finditer(rb"\d+", request.partition(b"\r\n\r\n")[0]):
        for other in _NUMBERS:
            yield _with_number(request, number, other)


Mutation = Callable[[Random, bytes, bytes], bytes]

MUTATIONS: Final[tuple[Mutation, ...]] = (
    *(flip, insert, replace, delete, duplicate, cut, splice, swap_names, repeat_line, drop_line, lengthen, bare),
    *(frame, frame, resize, resize, exaggerate),
)
"""Each takes chance, a request and another one, and returns what becomes of the first."""


def mutated(random: Random, requests: list[bytes]) -> bytes:
    """Spoil one of some requests, in one way or a few."""
    text = random.choice(requests)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        text = random.choice(MUTATIONS)(random, text or b"\r\n", random.choice(requests))
    return text
