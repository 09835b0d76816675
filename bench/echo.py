"""The yardstick: bare aiohttp on the event loop the daemon uses, with orjson, and nothing behind it.

    python -m bench.echo [--answer FILE]

It reads a body, decodes it and answers with a result as large as the daemon's to an append. With `--answer` it reads the
body and answers with the bytes of the file, kept in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

import orjson
import uvloop
from aiohttp import web

from bench.scale import MIB

_BODY_BYTES_MAX: Final = 128 * MIB
_RESULT: Final = {
    "bytes_written": 500,
    "offset": 1_000_000,
    "size_bytes": 1_000_500,
    "total_lines": 2_001,
    "session_id": "9d2f6a34-51c7-4c0e-8f4b-2f8e3c1a7b60",
    "duplicate": False,
}


async def echo(request: web.Request) -> web.Response:
    """Decode a JSON-RPC request and answer it."""
    call = orjson.loads(await request.read())
    answer = orjson.dumps({"jsonrpc": "2.0", "id": call["id"], "result": _RESULT})
    return web.Response(body=answer, content_type="application/json")


async def serve(answer: bytes | None) -> None:
    """Listen on a free port, say so as the daemon does, and stop at SIGTERM."""

    async def from_memory(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, content_type="application/json")

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app.add_routes([web.post("/rpc", echo if answer is None else from_memory)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(json.dumps({"event": "listening", "url": f"http://{host}:{port}", "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.echo")
    parser.add_argument("--answer", type=Path, metavar="FILE", help="answer with these bytes")
    options = parser.parse_args()
    uvloop.run(serve(options.answer and options.answer.read_bytes()))


if __name__ == "__main__":
    main()
