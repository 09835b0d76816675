"""How a command speaks to the running daemon, and what it says where that fails."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from rpc.client import Client
from rpc.errors import CALL_ERRORS, METHOD_NOT_FOUND, RpcError, TransportError
from srv.commands import Run
from srv.config import Settings
from srv.escapes import escaped
from srv.exits import Exit, StartFailedError

_Result = TypeVar("_Result")

_NO_METHOD_HINT: Final = "zonekeeper call rpc.discover describes every method."


def client_command(work: Callable[[Client, argparse.Namespace], Awaitable[None]]) -> Run:
    """Make a command out of what it does with a client of the running daemon."""

    def run(options: argparse.Namespace, settings: Settings) -> int:
        ask(settings, lambda client: work(client, options))
        return Exit.STOPPED

    return run


def ask(settings: Settings, work: Callable[[Client], Awaitable[_Result]]) -> _Result:
    """Do something with a client of the daemon that runs on the data directory.

    Raises:
        StartFailedError: no daemon runs there, or it answered with an error; the sentence tells, with a hint what to do.
    """

    async def connected() -> _Result:
        token = settings.token or settings.read_token
        async with Client.find(settings.data_dir, token=token) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except CALL_ERRORS as error:
        # The protocol's own errors have a number and neither a word nor a hint.
        word = error.word or (str(error.code) if isinstance(error, RpcError) else "")
        sentence = str(error) if str(error).startswith(f"{word}: ") else f"{word}: {error}"
        hint = error.hint or ("" if word != str(METHOD_NOT_FOUND.code) else _NO_METHOD_HINT)
        raise StartFailedError(Exit.FAILED, "\n".join(escaped(each) for each in (sentence, hint) if each)) from error
    except TransportError as error:
        raise StartFailedError(Exit.FAILED, escaped(str(error))) from error
