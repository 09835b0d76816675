"""HTTP to one daemon, over TCP, TLS or its Unix socket; what fails there, and whether anything was sent by then."""

from __future__ import annotations

import io
import ssl
from collections.abc import AsyncIterable, Mapping
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from rpc.discovery import Address
from rpc.errors import BrokenOffError, ImpostorError, TransportError, UnreachableError
from rpc.proof import is_provable
from rpc.proving import NotHandedOutError, ProvingConnector

_CONNECT_SECONDS: Final = 10
_SILENCE_SECONDS: Final = 300
"""How long the daemon may say nothing: a large change on a busy disk takes a while."""

_LOCALHOST: Final = "localhost"
_JSON: Final = {"Content-Type": "application/json"}
_GIVEN: Final = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}
_SHOWN_CHARACTERS: Final = 500

_CONNECTIONS_MAX: Final = 100
"""A tenth of what the daemon takes from all its callers; further calls wait for one of them."""


class Transport:
    """Connections to one daemon. Made and closed within the event loop."""

    def __init__(self, address: Address) -> None:
        self._url = URL(address.url).origin()
        self._server_hostname = None
        if self._url.host == _LOCALHOST and address.unix_socket is None:
            # One address, the daemon's: at another of its name somebody else may listen, and ask the daemon for the proof.
            self._server_hostname = _LOCALHOST if self._url.scheme == "https" else None
            self._url = self._url.with_host("127.0.0.1")
        self._headers = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
        # The environment's proxies are not for a daemon on this machine.
        self._session = aiohttp.ClientSession(
            connector=_connector(address),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections, whatever is on its way there."""
        await self._session.close()

    async def post_rpc(self, body: bytes) -> bytes:
        """Send a JSON-RPC request and return the body of its answer. Raises as `request` does."""
        return await self.request("POST", "/rpc", io.BytesIO(body), _JSON)

    async def request(
        self,
        method: str,
        path: str,
        body: io.BytesIO | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> bytes:
        """Send a request and return the body of its answer.

        Raises:
            UnreachableError: nobody listens there; nothing was sent.
            ImpostorError: who listens there is not the daemon; nothing was sent.
            BrokenOffError: no answer came.
            TransportError: the answer is neither 200 nor 206.
        """
        try:
            async with self._session.request(
                method,
                self._url.with_path(path),
                params=query,
                data=body,
                headers={**self._headers, **(headers or {})},
                allow_redirects=False,
                server_hostname=self._server_hostname,
            ) as response:
                status, answer = response.status, await response.read()
        except NotHandedOutError as error:
            raise error.reason from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise ImpostorError(f"who listens at {self._url} has a certificate that is not to be trusted") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UnreachableError(f"cannot reach the daemon: {error}") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise BrokenOffError(f"the daemon broke off, or did not answer: {reason}") from error
        if status not in _GIVEN:
            raise refusal(status, answer)
        return answer


def refusal(status: int, answer: bytes) -> TransportError:
    """Return the error that an answer tells of which is not what was asked for."""
    said = answer[:_SHOWN_CHARACTERS].decode(errors="replace")
    try:
        data = msgspec.json.decode(answer)
    except (msgspec.DecodeError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        data = None
    elif isinstance(data.get("error"), str):
        said = data["error"][:_SHOWN_CHARACTERS]
    return TransportError(f"the daemon answered HTTP {status}: {said}", status, data)


def _connector(address: Address) -> aiohttp.BaseConnector:
    if address.unix_socket is not None:
        return aiohttp.UnixConnector(str(address.unix_socket), limit=_CONNECTIONS_MAX)
    trust = _trust(address) or True
    if address.token is None or not is_provable(address.token):
        return aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, ssl=trust)
    return ProvingConnector(address.token, limit=_CONNECTIONS_MAX, ssl=trust)


def _trust(address: Address) -> ssl.SSLContext | None:
    """Return whom to trust, None for whom the system trusts.

    A certificate of the daemon's own is trusted as it is, whatever names it bears and whoever has signed it, and no other.
    """
    if address.certificate is None:
        return address.tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=address.certificate)
    except ssl.SSLError as error:
        raise TransportError("the daemon's certificate cannot be understood") from error
    return context
