"""Ids come back as they were sent."""

from __future__ import annotations

import pytest

from tests.rpc.conftest import Wire

IDS = [
    b"0",
    b"1",
    b"-1",
    b"9007199254740993",
    b"18446744073709551615",
    b"18446744073709551616",
    b"123456789012345678901234567890123456789",
    b"1.5",
    b"1.50",
    b"1E5",
    b"1e+05",
    b"-0",
    b"-0.0",
    b"1e400",
    b"-1E+9999",
    b"9" * 400,
    b"null",
    b'""',
    b'"1"',
    '"é😀"'.encode(),
    b'"\\u0000\\"\\\\"',
    b'"' + b"x" * 1_000 + b'"',
]
FILLINGS = [b"", b'"extra": [1e400, 1.50, "1e400, \\"2.50", {"id": 3.50}], ', b'"extra": "' + b"y" * 2_000_000 + b'", ']


@pytest.mark.parametrize("request_id", IDS)
@pytest.mark.parametrize("filling", FILLINGS, ids=["alone", "beside numbers", "in a large body"])
async def test_an_id_comes_back_byte_for_byte(wire: Wire, request_id: bytes, filling: bytes) -> None:
    """Numbers keep their digits, beyond a double too; of a result, of an error and in a batch."""
    answered = b'"id":' + request_id + b"}"
    good = b'{"jsonrpc": "2.0", %b"method": "srv:status", "id": %b}' % (filling, request_id)
    bad = b'{"jsonrpc": "2.0", "method": "nothing", "id": %b}' % request_id
    assert (await wire.post(good) or b"").endswith(answered)
    assert (await wire.post(bad) or b"").endswith(answered)
    batch = await wire.post(b"[%b, %b]" % (good, bad)) or b""
    assert batch.count(answered) == 2


async def test_an_escaped_id_comes_back_as_the_same_string(wire: Wire) -> None:
    """Another way to write the same characters is the same id."""
    assert (await wire.exchange(b'{"jsonrpc": "2.0", "method": "srv:status", "id": "\\u0041"}'))["id"] == "A"


async def test_a_very_long_id_comes_back(wire: Wire) -> None:
    """Even one of megabytes, with escapes in it."""
    request_id = b'"' + b"x\\n" * 1_000_000 + b'"'
    answer = await wire.post(b'{"jsonrpc": "2.0", "method": "srv:status", "id": %b}' % request_id)
    assert answer is not None
    assert answer.endswith(b'"id":' + request_id + b"}")


async def test_a_null_id_is_no_notification(wire: Wire) -> None:
    """It is answered, with null."""
    response = await wire.exchange(b'{"jsonrpc": "2.0", "method": "srv:status", "id": null}')
    assert response["id"] is None
    assert "result" in response
