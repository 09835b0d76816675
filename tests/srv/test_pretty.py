"""`?pretty`: answers in the form for people."""

from __future__ import annotations

import json

import pytest

from tests.srv.daemon import Daemon, read_response, rpc_body

MIB = 2**20


@pytest.mark.parametrize("query", ["?pretty", "?pretty=1", "?a=b&pretty", "?pretty&pretty"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openrpc.json", "/nothing", "/zones/fresh/current/output"])
def test_small_answers_are_indented(daemon: Daemon, path: str, query: str) -> None:
    """By two spaces, refusals too, with a line end."""
    body = daemon.request("GET", path + query)[2].decode()
    assert body == json.dumps(json.loads(body), indent=2, ensure_ascii=False) + "\n"
    assert json.loads(body) == json.loads(daemon.request("GET", path)[2])


@pytest.mark.parametrize("query", ["", "?", "?prettyprint", "?a=pretty", "?PRETTY"])
def test_nothing_else_indents(daemon: Daemon, query: str) -> None:
    """The word is `pretty`, and stands in the query."""
    assert daemon.request("GET", f"/readyz{query}")[2] == b'{"status": "ready"}\n'


@pytest.mark.parametrize("size_bytes", [10, 3_000, 5_000, 300_000, 3 * MIB])
def test_answers_to_calls_are_indented_whatever_their_size(daemon: Daemon, size_bytes: int) -> None:
    """Also within a batch; an id and a number leave as they came."""
    content = ('{"nodes": ["é"]}' * size_bytes)[:size_bytes]
    daemon.call("agent:session:write_state", definition_id="pretty", content=content)
    call = rpc_body("agent:session:read", definition_id="pretty").replace(b'"id": 1', b'"id": 1.50')
    for body in (call, b"[%b, %b]" % (call, call)):
        status, headers, plain = daemon.request("POST", "/rpc", body)
        pretty_status, pretty_headers, pretty = daemon.request("POST", "/rpc?pretty", body)
        assert (pretty_status, pretty_headers["Content-Type"]) == (status, headers["Content-Type"])
        expected = json.dumps(json.loads(plain), indent=2, ensure_ascii=False).replace('"id": 1.5', '"id": 1.50')
        assert pretty.decode() == expected + "\n"


def test_what_is_answered_with_nothing_stays_nothing(daemon: Daemon) -> None:
    """A notification is 204."""
    status, _, body = daemon.request("POST", "/rpc?pretty", b'{"jsonrpc": "2.0", "method": "srv:status"}')
    assert (status, body) == (204, b"")


def test_http_1_0_gets_the_answer_as_it_is(daemon: Daemon) -> None:
    """It knows no chunks, in which a large answer would have to be sent."""
    body = rpc_body("agent:session:read", definition_id="fresh")
    with daemon.connect() as connection:
        request = daemon.head("POST", "/rpc?pretty", f"Content-Length: {len(body)}") + body
        connection.sendall(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = read_response(connection)[2]
    assert answer.count(b"\n") == 1
