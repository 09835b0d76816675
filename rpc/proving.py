"""TCP connections that are handed out only once who is at the other end has proved to be the daemon (`rpc/proof.py`)."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.http_exceptions import HttpProcessingError

from rpc import proof
from rpc.errors import ImpostorError, TransportError, UnreachableError

_PROOF_SECONDS: Final = 10


class NotHandedOutError(aiohttp.ClientConnectionError):
    """A connection was closed again, before anything was sent over it but the question for a proof.

    Attributes:
        reason: what the caller is to hear.
    """

    def __init__(self, reason: TransportError) -> None:
        """Keep the reason."""
        super().__init__(str(reason))
        self.reason = reason


class ProvingConnector(aiohttp.TCPConnector):
    """Opens connections, and asks on each for a proof before anybody uses it."""

    def __init__(self, token: str, **settings: Any) -> None:
        """Ask for a proof of this token; the rest is aiohttp's."""
        super().__init__(**settings)
        self._token = token

    async def _create_connection(self, req: ClientRequest, *arguments: Any) -> ResponseHandler:
        connection = await super()._create_connection(req, *arguments)
        is_proved = False
        try:
            async with asyncio.timeout(_PROOF_SECONDS):
                await _prove(connection, self._token, req.headers[hdrs.HOST])
            is_proved = True
        except TransportError as reason:
            raise NotHandedOutError(reason) from reason
        except (aiohttp.ClientError, OSError) as error:
            why = str(error) or type(error).__name__
            broken_off = UnreachableError(f"cannot reach the daemon: it broke off, or did not answer: {why}")
            raise NotHandedOutError(broken_off) from error
        finally:
            if not is_proved:
                connection.close()
        return connection


async def _prove(connection: ResponseHandler, token: str, host: str) -> None:
    """Have the other end of a connection prove that it has the token."""
    if connection.transport is None:
        raise aiohttp.ServerDisconnectedError
    nonce = proof.new_nonce()
    question = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n{proof.NONCE_HEADER}: {nonce}\r\n\r\n"
    connection.set_response_params()
    connection.transport.write(question.encode())
    try:
        message, body = await connection.read()
    except HttpProcessingError as error:
        raise ImpostorError(f"who listens at {host} does not speak HTTP, so it was sent nothing") from error
    if message.code == HTTPStatus.SERVICE_UNAVAILABLE:
        raise TransportError("the daemon answered HTTP 503: it has too many connections", message.code)
    answers = message.headers.getall(proof.PROOF_HEADER, ())
    if not proof.is_proved(token, nonce, host, answers):
        said = "gave a wrong proof" if answers else f"gave no proof, and HTTP {message.code}"
        raise ImpostorError(
            f"who listens at {host} is not the daemon that has this token: it {said}; it was sent neither token nor content"
        )
    if message.should_close:
        raise aiohttp.ServerDisconnectedError
    await body.read()
