"""A small client of a running daemon, for the command line and the bench."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import orjson

from rpc.errors import RpcError

_HTTP_OK: Final = 200
_CONNECT_SECONDS: Final = 10
_SILENCE_SECONDS: Final = 300
"""How long the daemon may say nothing: a large change on a busy disk takes a while."""


class TransportError(ConnectionError):
    """There was no JSON-RPC answer: the daemon cannot be reached, or its transport refused the request.

    Attributes:
        status: the HTTP status, None where there was no HTTP answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        """Keep the sentence and the status."""
        super().__init__(message)
        self.status = status


class UnreachableError(TransportError):
    """Nobody listens at the daemon's address."""


class Client:
    """Calls methods of one daemon; an async context manager.

    Args:
        url: of the daemon, such as `http://127.0.0.1:8377`, without a path. Over a Unix socket its host only fills a header.
        token: what the daemon's TCP door asks for; None over a Unix socket.
        unix_socket: path of the daemon's socket; if given, the connection goes there.
    """

    def __init__(self, url: str, token: str | None = None, unix_socket: str | Path | None = None) -> None:
        self._url = url.rstrip("/") + "/rpc"
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._unix_socket = unix_socket
        self._session: aiohttp.ClientSession | None = None
        self._last_id = 0

    async def __aenter__(self) -> Self:
        connector = (
            aiohttp.UnixConnector(str(self._unix_socket)) if self._unix_socket else aiohttp.TCPConnector(limit=0)
        )
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        # The environment's proxies are not for a daemon on this machine.
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, method: str, params: dict[str, Any] | list[Any] | orjson.Fragment | None = None) -> Any:
        """Call a method and return its result.

        Args:
            method: its name.
            params: by name or by position; None for none. A fragment, which must be JSON, is sent as it is.

        Raises:
            RpcError: the daemon answered with an error.
            TransportError: there was no JSON-RPC answer.
        """
        self._last_id += 1
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": self._last_id, "method": method}
        if params is not None:
            request["params"] = params
        answer = await self._post(orjson.dumps(request))
        if "error" in answer:
            error = answer["error"]
            raise RpcError(error["code"], error["message"], error.get("data"))
        return answer["result"]

    async def _post(self, body: bytes) -> dict[str, Any]:
        if self._session is None:
            raise TransportError("the client is not open")
        try:
            async with self._session.post(self._url, data=io.BytesIO(body), headers=self._headers) as response:
                status, answer = response.status, await response.read()
        except aiohttp.ClientConnectorError as error:
            raise UnreachableError(f"cannot reach the daemon: {error}") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise TransportError(f"the daemon broke off, or did not answer: {reason}") from error
        return _decoded(status, answer)


def _decoded(status: int, answer: bytes) -> dict[str, Any]:
    try:
        decoded = orjson.loads(answer)
    except orjson.JSONDecodeError:
        decoded = None
    if status == _HTTP_OK and isinstance(decoded, dict) and ("result" in decoded or "error" in decoded):
        return decoded
    said = answer[:200].decode(errors="replace")
    raise TransportError(f"the daemon answered HTTP {status}: {said}", status)
