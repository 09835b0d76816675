"""A server that speaks JSON-RPC over TCP and a Unix socket as the daemon does, with methods of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from rpc.dispatch import Dispatcher
from rpc.methods import Method
from store.limits import Limits


class StandIn:
    """Answers `/rpc`.

    Attributes:
        url: where it listens.
        unix_socket: where it listens as well.
        headers: those of the last request.
        body: that of the last request.
        refusals: HTTP answers to give before it answers anything; the last one first.
    """

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._dispatcher = Dispatcher(methods, Limits())
        self.url = ""
        self.unix_socket = Path()
        self.headers: dict[str, str] = {}
        self.body = b""
        self.refusals: list[web.Response] = []

    async def _rpc(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        self.body = await request.read()
        if self.refusals:
            return self.refusals.pop()
        answer = await self._dispatcher.answer(self.body)
        assert answer is not None
        return web.Response(body=b"".join(answer.pieces), content_type="application/json")


@asynccontextmanager
async def stand_in(methods: Mapping[str, Method], directory: Path) -> AsyncIterator[StandIn]:
    """Run one on a free port, with its socket in a directory."""
    server = StandIn(methods)
    app = web.Application(client_max_size=2**28)
    app.router.add_post("/rpc", server._rpc)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        server.unix_socket = directory / "s"
        await web.UnixSite(runner, str(server.unix_socket)).start()
        yield server
    finally:
        await runner.cleanup()
