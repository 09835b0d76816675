"""The way from a client to its daemon: tries again what may be, and follows the daemon to where it was started anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import orjson

from rpc.client_records import Answers, NotUnderstoodError
from rpc.discovery import Address, Discovery
from rpc.errors import (
    BrokenOffError,
    ImpostorError,
    NoDaemonError,
    RpcError,
    TransportError,
    UnreachableError,
    error_told,
)
from rpc.retries import Pace, Tries, says_try_again
from rpc.transport import Transport, refusal

_Result = TypeVar("_Result")


class Link:
    """Speaks to one daemon.

    Attributes:
        pace: how it passes its time.
    """

    def __init__(self, address: Address, pace: Pace, discovery: Discovery | None = None) -> None:
        """Speak to the daemon at an address.

        Args:
            address: where it is.
            pace: how long to go on trying.
            discovery: tells where it is once it is there no more; None where it is there or nowhere.
        """
        self.pace = pace
        self._address = address
        self._discovery = discovery
        self._transport: Transport | None = None
        self._was_reached = False
        self._last_id = 0

    def open(self) -> None:
        """Begin; nothing is sent yet. Needs a running event loop."""
        self._transport = Transport(self._address)

    async def close(self) -> None:
        """Close all connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    def tries(self) -> Tries:
        """Begin to count the tries of a call."""
        return Tries(self.pace)

    async def call(self, answers: Answers[_Result], method: str, params: Any = None) -> _Result:
        """Call a method once.

        Raises:
            RpcError: the daemon answered with an error.
            TransportError: there was no JSON-RPC answer.
        """
        try:
            return await _exchange(self._now(), answers, self._request(method, params))
        except UnreachableError as failure:
            raise self._told(failure) from failure

    async def ask(
        self,
        answers: Answers[_Result],
        method: str,
        params: Mapping[str, Any],
        *,
        repeatable: bool = True,
        tries: Tries | None = None,
    ) -> _Result:
        """Call a method, and try again where that may help.

        Args:
            answers: takes the answer apart.
            method: its name.
            params: by name; what is None is left out.
            repeatable: as in `send`.
            tries: as in `send`.

        Raises as `send` does.
        """
        given = {name: value for name, value in params.items() if value is not None}
        body = self._request(method, given)
        return await self.send(
            lambda transport: _exchange(transport, answers, body), repeatable=repeatable, tries=tries
        )

    async def send(
        self,
        attempt: Callable[[Transport], Awaitable[_Result]],
        *,
        repeatable: bool = True,
        tries: Tries | None = None,
    ) -> _Result:
        """Make one attempt after another, until one succeeds or there is no point in going on.

        Args:
            attempt: sends a request.
            repeatable: whether another attempt does no harm where an earlier one was executed and its answer lost.
            tries: counts them, for a caller who wants to know of lost answers or goes on counting.

        Raises:
            StoreError: the daemon answered with an error of the store.
            RpcError: it answered with another error.
            TransportError: there was no JSON-RPC answer; after a `BrokenOffError` the request may have been executed.
        """
        tries = tries or self.tries()
        while True:
            transport = self._now()
            try:
                result = await attempt(transport)
            except BrokenOffError as failure:
                tries.has_lost_answer = True
                if not repeatable:
                    raise
                await tries.pause(failure)
            except (UnreachableError, ImpostorError) as failure:
                await self._look_again(transport, failure, tries)
            except (RpcError, TransportError) as failure:
                self._was_reached = True
                error = error_told(failure)
                if not says_try_again(error):
                    raise error from (None if error is failure else failure)
                await tries.pause(error)
            else:
                self._was_reached = True
                return result

    async def _look_again(self, transport: Transport, failure: TransportError, tries: Tries) -> None:
        """Go to where the daemon is by now; wait where that is nowhere else.

        Whoever has never answered is not waited for: a daemon that was killed has left its address behind.
        """
        if transport is not self._transport:
            return  # another call has gone there meanwhile
        if self._discovery is None:
            if isinstance(failure, ImpostorError):
                raise failure
            await tries.pause(failure)
            return
        try:
            address = self._discovery.find()
        except TransportError as nobody:
            address, failure = self._address, nobody
        if address != self._address:
            self._address, self._transport = address, Transport(address)
            await transport.close()
            return
        if not self._was_reached:
            raise self._told(failure)
        await tries.pause(self._told(failure))

    def _told(self, failure: TransportError) -> TransportError:
        """Say of a daemon that was found and is not there how to start it."""
        if self._discovery is None or not isinstance(failure, UnreachableError):
            return failure
        return NoDaemonError(self._discovery.data_dir)

    def _now(self) -> Transport:
        if self._transport is None:
            raise TransportError("the client is not open")
        return self._transport

    def _request(self, method: str, params: Any) -> bytes:
        self._last_id += 1
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": self._last_id, "method": method}
        if params is not None:
            request["params"] = params
        return orjson.dumps(request)


async def _exchange(transport: Transport, answers: Answers[_Result], request: bytes) -> _Result:
    answer = await transport.post_rpc(request)
    try:
        return answers.result(answer)
    except NotUnderstoodError as error:
        raise refusal(HTTPStatus.OK, answer) from error
