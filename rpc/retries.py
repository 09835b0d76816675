"""Trying again: after which failures, how often, and how long to wait in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from rpc.errors import RpcError, TransportError
from store.errors import StorageFullError, StoreError

WAIT_SECONDS_FIRST: Final = 0.05
WAIT_SECONDS_MAX: Final = 2.0
"""Waits double from the one to the other."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a client passes its time.

    Attributes:
        retry_seconds: how long after its first failure a call is tried again; 0 for not at all.
        clock: tells seconds.
        sleep: waits seconds.
        jitter: a number from 0 to 1, so that many clients do not come back at the same instant.
    """

    retry_seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


class Tries:
    """The tries of one call.

    Attributes:
        has_lost_answer: an earlier try was sent and had no answer: it may have been executed.
    """

    def __init__(self, pace: Pace) -> None:
        """Begin; the time runs from the first failure on."""
        self._pace = pace
        self._ends_at: float | None = None
        self._wait_seconds = WAIT_SECONDS_FIRST
        self._is_over = False
        self.has_lost_answer = False

    def end(self) -> None:
        """Let the present try be the last: what it sends cannot be sent again."""
        self._is_over = True

    async def pause(self, failure: Exception) -> None:
        """Wait for the next try, longer each time. Where the time is over, raise the failure."""
        now = self._pace.clock()
        if self._ends_at is None:
            self._ends_at = now + self._pace.retry_seconds
        wait_seconds = self._wait_seconds * (1 + self._pace.jitter()) / 2
        if self._is_over or now + wait_seconds > self._ends_at:
            raise failure
        self._wait_seconds = min(2 * self._wait_seconds, WAIT_SECONDS_MAX)
        await self._pace.sleep(wait_seconds)


def says_try_again(failure: StoreError | RpcError | TransportError) -> bool:
    """Tell whether a failure says that nothing was stored and that the same call may succeed shortly.

    A full disk is none of these: it takes a person to make room.
    """
    if isinstance(failure, TransportError):
        return failure.status == HTTPStatus.SERVICE_UNAVAILABLE
    return failure.retry and not isinstance(failure, StorageFullError)
