"""The yardstick: an aiohttp server that reads a body and sends it back, on the event loop the daemon uses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import uvloop
from aiohttp import web

from bench.scale import MIB

_BODY_BYTES_MAX = 128 * MIB


async def echo(request: web.Request) -> web.Response:
    """Send back what came."""
    return web.Response(body=await request.read(), content_type="application/json")


async def alive(_request: web.Request) -> web.Response:
    """Answer as `/healthz` of the daemon does."""
    return web.json_response({"status": "alive"})


async def serve() -> None:
    """Listen on a free port, say so as the daemon does, and stop at SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app.add_routes([web.post("/rpc", echo), web.get("/healthz", alive)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(json.dumps({"event": "listening", "url": f"http://{host}:{port}", "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve())
