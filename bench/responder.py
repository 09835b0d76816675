"""The least a server can do, to see what the load generator can: it looks for the end of a request and sends a fixed answer.

python -m bench.responder
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Final, cast

import uvloop

_BODY: Final = b'{"jsonrpc":"2.0","id":1,"result":{}}'
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY
_END: Final = b"}}"
"""Each request of the load is small enough to come in one piece or two, and ends so, as no first piece does."""


class _Responder(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(_END):
            self._transport.write(_ANSWER)


async def serve() -> None:
    """Listen on a free port, say so as the daemon does, and stop at SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(_Responder, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"event": "listening", "url": f"http://127.0.0.1:{port}", "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
