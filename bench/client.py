"""One connection to the daemon that calls, and times what it calls."""

from __future__ import annotations

import http.client
import time
from typing import Any, Self

import orjson

from bench.processes import Server


class Client:
    """A caller that waits for each answer. The connection is kept open between calls."""

    def __init__(self, server: Server) -> None:
        """Connect to the server."""
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port)
        self._headers = {"Content-Type": "application/json", "X-AuthKey": server.token}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Hang up."""
        self._connection.close()

    def call(self, method: str, **params: Any) -> Any:
        """Call a method and return its result."""
        return self.result(self.exchange(body(method, **params)))

    def timed(self, method: str, **params: Any) -> float:
        """Call a method and return how many milliseconds it took to have the whole answer."""
        return self.timed_body(body(method, **params))

    def timed_body(self, request: bytes) -> float:
        """Send a body made beforehand and return how many milliseconds it took to have the whole answer."""
        begin = time.perf_counter()
        answer = self.exchange(request)
        took_ms = (time.perf_counter() - begin) * 1000
        self.result(answer)
        return took_ms

    def exchange(self, request: bytes) -> bytes:
        """Send a body, return the body that comes back."""
        self._connection.request("POST", "/rpc", request, self._headers)
        return self._connection.getresponse().read()

    @staticmethod
    def result(answer: bytes) -> Any:
        """Take the result out of an answer; an error ends the run, as figures of failed calls would mislead."""
        decoded = orjson.loads(answer)
        if "result" not in decoded:
            raise RuntimeError(f"the daemon answered {decoded}")
        return decoded["result"]


def body(method: str, **params: Any) -> bytes:
    """Make the JSON-RPC request that calls a method of the sessions."""
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": f"agent:session:{method}", "params": params})
