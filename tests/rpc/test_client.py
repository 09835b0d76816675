"""The client against a real server on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from rpc.client import Client
from rpc.dispatch import Dispatcher
from rpc.errors import RpcError, TransportError, UnreachableError
from rpc.methods import Method
from store.limits import Limits


async def _echo(params: Any) -> Any:
    return params


async def _repeat(params: Any) -> str:
    text, times = params
    return str(text) * int(times)


async def _length(params: Any) -> int:
    return len(params[0].data)


class Door:
    """Serves `/rpc` on TCP and on a Unix socket, and remembers what headers came."""

    def __init__(self) -> None:
        self._dispatcher = Dispatcher(
            {"echo": Method(_echo), "repeat": Method(_repeat), "length": Method(_length)}, Limits()
        )
        self.headers: dict[str, str] = {}
        self.body = b""
        self.url = ""
        self.unix_socket: Path

    async def open(self, directory: Path) -> web.AppRunner:
        """Listen; port 0 takes a free one."""
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/rpc", self._rpc)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.unix_socket = directory / "s"
        await web.UnixSite(runner, str(self.unix_socket)).start()
        return runner

    async def _rpc(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        if request.headers.get("Authorization") == "Bearer wrong":
            return web.json_response({"error": "unauthorized"}, status=401)
        if request.headers.get("Authorization") == "Bearer page":
            return web.Response(text="<html>")
        self.body = await request.read()
        answer = await self._dispatcher.answer(self.body)
        assert answer is not None
        return web.Response(body=b"".join(answer.pieces), content_type="application/json")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Return an open door."""
    opened = Door()
    runner = await opened.open(tmp_path)
    yield opened
    await runner.cleanup()


async def test_a_result_comes_back(door: Door) -> None:
    """By name, by position, without parameters, and large."""
    async with Client(door.url + "/", "secret") as client:
        assert await client.call("echo", {"a": "é"}) == {"a": "é"}
        assert await client.call("echo", [1, None]) == [1, None]
        assert await client.call("echo") == []
        assert await client.call("repeat", ["é", 3_000_000]) == "é" * 3_000_000
        assert await client.call("length", ["é" * 3_000_000]) == 6_000_000
    assert door.headers["Authorization"] == "Bearer secret"


async def test_a_fragment_is_sent_as_it_is(door: Door) -> None:
    """Whoever has JSON already need not decode it, and its numbers keep their digits."""
    async with Client(door.url) as client:
        assert await client.call("echo", orjson.Fragment(b"[ 1.50 ]")) == [1.5]
    assert b'"params":[ 1.50 ]' in door.body


async def test_a_unix_socket_needs_no_token(door: Door) -> None:
    """The connection goes to the socket, whatever the address says."""
    async with Client("http://localhost", unix_socket=door.unix_socket) as client:
        assert await client.call("echo", [1]) == [1]
    assert "Authorization" not in door.headers


async def test_an_error_response_is_raised(door: Door) -> None:
    """With its number, message and data."""
    async with Client(door.url) as client:
        with pytest.raises(RpcError) as caught:
            await client.call("unknown")
    assert (caught.value.code, caught.value.message, caught.value.data) == (-32601, "Method not found", None)


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), ("page", 200)])
async def test_what_is_no_rpc_answer_is_a_transport_error(door: Door, token: str, status: int) -> None:
    """A refusal at the door, or another server altogether, names the HTTP status."""
    async with Client(door.url, token) as client:
        with pytest.raises(TransportError) as caught:
            await client.call("echo")
    assert caught.value.status == status
    assert f"HTTP {status}" in str(caught.value)


async def test_a_daemon_that_is_not_there_is_a_connection_error(door: Door, tmp_path: Path) -> None:
    """Of a port nobody listens on, of a socket that is missing, and of a client that is not open."""
    for client in (Client("http://127.0.0.1:1"), Client("http://localhost", unix_socket=tmp_path / "missing")):
        async with client:
            with pytest.raises(UnreachableError):
                await client.call("echo")
    with pytest.raises(ConnectionError):
        await Client(door.url).call("echo")
