"""What the client tries again, how long, and what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from rpc.client import Client
from rpc.errors import RpcError, TransportError, UnreachableError
from rpc.methods import Method
from rpc.retries import Pace
from store.errors import (
    OverloadedError,
    ShuttingDownError,
    StorageDamagedError,
    StorageFullError,
    StorageUnavailableError,
    StoreError,
)
from tests.rpc.stand_in import StandIn, stand_in

STATUS: Final = {"version": "0"}
REFUSED: Final[dict[str, Any]] = {"status": 503, "text": '{"error": "too many", "code": "OVERLOADED", "retry": true}'}


class Passing:
    """Time that passes only where somebody waits.

    Attributes:
        now: the clock, in seconds.
        waits: what was waited for.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.now += seconds
        self.waits.append(seconds)


class Failing:
    """A method that raises what it is given, the last one first, and then succeeds."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    async def __call__(self, _params: object) -> object:
        """Fail, or not."""
        if self.failures:
            raise self.failures.pop()
        return STATUS


@pytest.fixture
def failing() -> Failing:
    """Return a method that does not fail yet."""
    return Failing()


@pytest.fixture
async def server(failing: Failing, tmp_path: Path) -> AsyncIterator[StandIn]:
    """Run a server whose `srv:status` is that method."""
    async with stand_in({"srv:status": Method(failing)}, tmp_path) as running:
        yield running


@pytest.fixture
def time() -> Passing:
    """Return time that passes by waiting only."""
    return Passing()


@pytest.fixture
async def client(server: StandIn, time: Passing) -> AsyncIterator[Client]:
    """Return a client of that server, in that time."""
    async with Client(server.url) as opened:
        opened._link.pace = Pace(30, lambda: time.now, time.sleep, lambda: 0.5)
        yield opened


@pytest.mark.parametrize("failure", [OverloadedError(), ShuttingDownError(), StorageUnavailableError("locked")])
async def test_what_the_daemon_says_may_help_is_tried_again(
    client: Client, failing: Failing, time: Passing, failure: StoreError
) -> None:
    """The waits grow, and are jittered."""
    failing.failures = [failure] * 4
    assert await client.status() == STATUS
    assert time.waits == pytest.approx([0.0375, 0.075, 0.15, 0.3])


@pytest.mark.parametrize("failure", [StorageFullError(), StorageDamagedError("damaged"), ZeroDivisionError()])
async def test_what_takes_a_person_is_not(client: Client, failing: Failing, time: Passing, failure: Exception) -> None:
    """A full disk, a damaged store and a fault of the daemon are told at once."""
    failing.failures = [failure]
    expected = type(failure) if isinstance(failure, StoreError) else RpcError
    with pytest.raises(expected):
        await client.status()
    assert time.waits == []


async def test_the_time_for_it_is_bounded(client: Client, failing: Failing, time: Passing) -> None:
    """After `retry_seconds` the last failure is raised; no wait is longer than two seconds."""
    failing.failures = [OverloadedError()] * 1_000
    with pytest.raises(OverloadedError):
        await client.status()
    assert 28 < sum(time.waits) <= 30
    assert max(time.waits) == pytest.approx(1.5)


async def test_a_raw_call_is_tried_once(client: Client, failing: Failing, time: Passing) -> None:
    """And raises what came."""
    failing.failures = [OverloadedError()]
    with pytest.raises(RpcError) as raised:
        await client.call("srv:status")
    assert (raised.value.word, raised.value.retry, time.waits) == ("OVERLOADED", True, [])


async def test_a_refusal_of_the_transport_is_the_error_it_names(client: Client, server: StandIn, time: Passing) -> None:
    """Too many connections are tried again, and raised as OVERLOADED in the end; a raw call gets them as they are."""
    server.refusals = [web.Response(**REFUSED) for _ in range(2)]
    assert await client.status() == STATUS
    assert len(time.waits) == 2
    client._link.pace = Pace(0)
    server.refusals = [web.Response(**REFUSED)]
    with pytest.raises(OverloadedError, match=r"^too many$"):
        await client.status()
    server.refusals = [web.Response(**REFUSED)]
    with pytest.raises(TransportError) as raised:
        await client.call("srv:status")
    assert raised.value.status == 503


async def test_a_refusal_for_good_is_not_tried_again(client: Client, server: StandIn, time: Passing) -> None:
    """A wrong token stays wrong."""
    server.refusals = [web.Response(status=401, text='{"error": "show the token"}')]
    with pytest.raises(TransportError):
        await client.status()
    assert time.waits == []


async def test_nobody_there_is_waited_for(tmp_path: Path, time: Passing) -> None:
    """Until the time is over; then that the daemon cannot be reached is raised."""
    async with Client("http://localhost", unix_socket=tmp_path / "nobody") as client:
        client._link.pace = Pace(30, lambda: time.now, time.sleep, lambda: 0.5)
        with pytest.raises(UnreachableError):
            await client.status()
    assert 28 < sum(time.waits) <= 30


async def test_a_daemon_that_is_just_starting_answers_what_came_too_early(tmp_path: Path, failing: Failing) -> None:
    """A refused connection has sent nothing, so any call may be made again."""
    async with AsyncExitStack() as running, Client("http://localhost", unix_socket=tmp_path / "s") as client:

        async def start(_seconds: float) -> None:
            await running.enter_async_context(stand_in({"srv:status": Method(failing)}, tmp_path))

        client._link.pace = Pace(30, sleep=start)
        assert await client.status() == STATUS
