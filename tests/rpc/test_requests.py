"""What is and what is not a request."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from store.limits import Limits
from tests.rpc.conftest import Wire

PARSE_ERROR = {"code": -32700, "message": "Parse error"}
INVALID_REQUEST = {"code": -32600, "message": "Invalid Request"}
METHOD_NOT_FOUND = {"code": -32601, "message": "Method not found"}


def failed(error: dict[str, Any], request_id: Any = None) -> dict[str, Any]:
    """Return an error response."""
    return {"jsonrpc": "2.0", "error": error, "id": request_id}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"]",
        b"nonsense",
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": 1',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": 1}}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": 1,}',
        b"{'jsonrpc': '2.0', 'method': 'srv:status', 'id': 1}",
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": NaN}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": Infinity}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": 01}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": 01e400}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": "\xff"}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": "\xed\xa0\x80"}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": "\\ud800"}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": "\\udc00\\ud800"}',
        b'{"jsonrpc": "2.0", "method": "srv:status", "id": "a\x00b"}',
        b'\xef\xbb\xbf{"jsonrpc": "2.0", "method": "srv:status", "id": 1}',
        '{"jsonrpc": "2.0", "method": "srv:status", "id": 1}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 99_999,
        b"[" * 2_000 + b"x" + b"]" * 2_000,
        b"[" * 2_000 + b"}" * 2_000,
        b"[" * 300_000,
    ],
)
async def test_what_is_not_json_is_a_parse_error(wire: Wire, body: bytes) -> None:
    """Bad syntax, bad UTF-8, lone surrogates, NaN and brackets without end are -32700 without an id or data."""
    assert await wire.exchange(body) == failed(PARSE_ERROR)


@pytest.mark.parametrize("body", [b"1", b'"srv:status"', b"null", b"true", b"1e400", b'"' + b"x" * 2_000_000 + b'"'])
async def test_json_that_is_no_object_is_an_invalid_request(wire: Wire, body: bytes) -> None:
    """Scalars, however long, are -32600 with a null id."""
    assert await wire.exchange(body) == failed(INVALID_REQUEST)


@pytest.mark.parametrize(
    ("changed", "request_id"),
    [
        ({"jsonrpc": "2.1"}, 7),
        ({"jsonrpc": "1.0"}, 7),
        ({"jsonrpc": 2.0}, 7),
        ({"jsonrpc": None}, 7),
        ({"jsonrpc": ["2.0"]}, 7),
        ({"method": None}, 7),
        ({"method": 1}, 7),
        ({"method": ["srv:status"]}, 7),
        ({"method": {}}, 7),
        ({"params": None}, 7),
        ({"params": 1}, 7),
        ({"params": "x"}, 7),
        ({"params": False}, 7),
        ({"id": True}, None),
        ({"id": [7]}, None),
        ({"id": {"a": 7}}, None),
        ({"id": "a", "method": None}, "a"),
        ({"id": None, "method": None}, None),
    ],
)
async def test_a_request_with_a_bad_member_is_invalid(wire: Wire, changed: dict[str, Any], request_id: Any) -> None:
    """It is answered with its id where that is one, else with null."""
    request = {"jsonrpc": "2.0", "method": "srv:status", "id": 7} | changed
    assert await wire.exchange(orjson.dumps(request)) == failed(INVALID_REQUEST, request_id)
    assert await wire.exchange(orjson.dumps([request])) == [failed(INVALID_REQUEST, request_id)]


@pytest.mark.parametrize("absent", ["jsonrpc", "method"])
async def test_a_request_without_a_member_it_needs_is_invalid(wire: Wire, absent: str) -> None:
    """`jsonrpc` and `method` must be there."""
    request = {"jsonrpc": "2.0", "method": "srv:status", "id": 7}
    del request[absent]
    assert await wire.exchange(orjson.dumps(request)) == failed(INVALID_REQUEST, 7)


async def test_an_invalid_request_without_an_id_is_answered(wire: Wire) -> None:
    """Nobody can tell that it was meant as a notification."""
    assert await wire.exchange(b'{"jsonrpc": "2.0", "method": 1}') == failed(INVALID_REQUEST)


@pytest.mark.parametrize("method", ["", "foobar", "rpc.", "rpc.unknown", "agent:session:READ", "read", "é\n"])
async def test_an_unknown_method_is_not_found(wire: Wire, method: str) -> None:
    """Reserved names are no exception; the error has no data."""
    request = {"jsonrpc": "2.0", "method": method, "id": 7}
    assert await wire.exchange(orjson.dumps(request)) == failed(METHOD_NOT_FOUND, 7)


async def test_extra_members_are_ignored_and_the_last_of_duplicate_keys_counts(wire: Wire) -> None:
    """Both hold for the envelope and for parameters."""
    body = (
        b'{"jsonrpc": "1.0", "jsonrpc": "2.0", "id": 1, "id": 2, "method": 5, "method": "agent:session:read", "extra": 1,'
        b'"params": {"definition_id": "a:b", "definition_id": "maks"}, "meta": {"trace": [1]}}'
    )
    response = await wire.exchange(body)
    assert response["id"] == 2
    assert response["result"]["revision"] is None


async def test_a_notification_is_done_before_nothing_is_answered(wire: Wire) -> None:
    """What it changes is stored when the call returns, and its errors go nowhere."""
    params = {"definition_id": "maks", "line": "x"}
    notification = {"jsonrpc": "2.0", "method": "agent:session:append_output", "params": params}
    assert await wire.post(orjson.dumps(notification)) is None
    page = await wire.call("agent:session:read_output", ["maks"])
    assert page["lines"] == ["x"]
    params["definition_id"] = "not valid"
    assert await wire.post(orjson.dumps(notification)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 129 + b"]" * 129,
        b'{"a":' * 129 + b"1" + b"}" * 129,
        b"[" * 1_024 + b"]" * 1_024,
        b"[" * 1_025 + b"]" * 1_025,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"[" * 250_000 + b"]" * 250_000,
        b'[{"x":"' + b"y" * 2_000_000 + b'"},' + b"[" * 129 + b"]" * 129 + b"]",
    ],
)
async def test_what_is_nested_too_deep_is_too_large(wire: Wire, body: bytes) -> None:
    """Valid JSON over `json_nesting_max` names that limit."""
    response = await wire.exchange(body)
    assert response["id"] is None
    assert response["error"]["code"] == -32014
    assert response["error"]["data"]["limit"] == "json_nesting_max"
    assert response["error"]["data"]["max"] == 128


async def test_nesting_up_to_the_limit_is_let_through(wire: Wire) -> None:
    """The limit itself is allowed, and brackets inside strings do not count."""
    nested = json.loads("[" * 127 + "]" * 127)
    request = {"jsonrpc": "2.0", "method": "srv:status", "id": 7, "extra": nested, "text": "[{" * 500}
    assert "result" in await wire.exchange(orjson.dumps(request))
    request["extra"] = [nested]
    assert (await wire.exchange(orjson.dumps(request)))["error"]["data"]["limit"] == "json_nesting_max"


async def test_the_limits_of_the_settings_count(wire: Wire) -> None:
    """A dispatcher keeps the limits it was given."""
    narrow = Wire({}, Limits(json_nesting_max=2, batch_members_max=3))
    assert (await narrow.exchange(b"[[[]]]"))["error"]["data"]["max"] == 2
    assert (await narrow.exchange(b"[1,2,3,4]"))["error"]["data"]["max"] == 3
