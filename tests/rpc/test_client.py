"""The client against a real server on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from rpc.client import Client
from rpc.errors import RpcError, TransportError, UnreachableError
from rpc.methods import Method
from tests.rpc.stand_in import StandIn, stand_in


async def _echo(params: Any) -> Any:
    return params


async def _repeat(params: Any) -> str:
    text, times = params
    return str(text) * int(times)


async def _length(params: Any) -> int:
    return len(params[0].data)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[StandIn]:
    """Run a server with methods that give back what they get."""
    methods = {"echo": Method(_echo), "repeat": Method(_repeat), "length": Method(_length)}
    async with stand_in(methods, tmp_path) as running:
        yield running


async def test_a_result_comes_back(server: StandIn) -> None:
    """By name, by position, without parameters, and large."""
    async with Client(server.url + "/", "secret") as client:
        assert await client.call("echo", {"a": "é"}) == {"a": "é"}
        assert await client.call("echo", [1, None]) == [1, None]
        assert await client.call("echo") == []
        assert await client.call("repeat", ["é", 3_000_000]) == "é" * 3_000_000
        assert await client.call("length", ["é" * 3_000_000]) == 6_000_000
    assert server.headers["Authorization"] == "Bearer secret"


async def test_a_fragment_is_sent_as_it_is(server: StandIn) -> None:
    """Whoever has JSON already need not decode it, and its numbers keep their digits."""
    async with Client(server.url) as client:
        assert await client.call("echo", orjson.Fragment(b"[ 1.50 ]")) == [1.5]
    assert b'"params":[ 1.50 ]' in server.body


async def test_a_unix_socket_needs_no_token(server: StandIn) -> None:
    """The connection goes to the socket, whatever the address says."""
    async with Client("http://localhost", unix_socket=server.unix_socket) as client:
        assert await client.call("echo", [1]) == [1]
    assert "Authorization" not in server.headers


async def test_an_error_response_is_raised(server: StandIn) -> None:
    """With its number, message and data."""
    async with Client(server.url) as client:
        with pytest.raises(RpcError) as caught:
            await client.call("unknown")
    assert (caught.value.code, caught.value.message, caught.value.data) == (-32601, "Method not found", None)


@pytest.mark.parametrize(
    ("refusal", "status", "sentence"),
    [
        ({"status": 401, "text": '{"error": "show the token"}'}, 401, "show the token"),
        ({"status": 200, "text": "<html>"}, 200, "<html>"),
        ({"status": 200, "text": '{"jsonrpc": "2.0", "id": 1}'}, 200, '{"jsonrpc"'),
        ({"status": 200, "text": "[" * 100_000}, 200, "[["),
        ({"status": 200, "body": b'{"result": "\xff"}'}, 200, '{"result": "\ufffd"}'),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, 302, ""),
    ],
)
async def test_what_is_no_rpc_answer_is_a_transport_error(
    server: StandIn, refusal: dict[str, Any], status: int, sentence: str
) -> None:
    """A refusal at the door, or another server altogether, names the HTTP status and what was said."""
    async with Client(server.url) as client:
        for call in (client.discover, partial(client.call, "echo")):
            server.refusals.append(web.Response(**refusal))
            with pytest.raises(TransportError) as caught:
                await call()
            assert caught.value.status == status
            assert str(caught.value).startswith(f"the daemon answered HTTP {status}: {sentence}")


async def test_a_daemon_that_is_not_there_is_a_connection_error(server: StandIn, tmp_path: Path) -> None:
    """Of a port nobody listens on, of a socket that is missing, and of a client that is not open."""
    for client in (Client("http://127.0.0.1:1"), Client("http://localhost", unix_socket=tmp_path / "missing")):
        async with client:
            with pytest.raises(UnreachableError):
                await client.call("echo")
    with pytest.raises(ConnectionError):
        await Client(server.url).call("echo")
