"""Whatever the body: the answer is what JSON-RPC and the OpenRPC document say, and nothing changes that should not."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings

from rpc.contract import METHODS, Row
from tests.conftest import OpenStore
from tests.fuzz.envelopes import AGENTS, BODIES
from tests.fuzz.exchanges import exchange, exchange_with
from tests.fuzz.near_misses import near_misses
from tests.rpc.conftest import Wire
from tests.srv.daemon import Daemon
from tests.store.foreign import FILE_NAME

FIXED: Final = settings(derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The same bodies each time, and one store for all of them: whatever is in it, answers are answers."""


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
async def test_every_odd_value_is_answered_so_in_every_place(wire: Wire, store: OpenStore, row: Row) -> None:
    """What the schemas allow is taken, and what they do not is refused, each parameter and each member by itself."""
    for body in near_misses(row, AGENTS[0]):
        await exchange_with(wire, store, body)


@settings(FIXED, max_examples=300)
@given(body=BODIES)
async def test_any_body_is_answered_by_the_specification_and_the_document(
    wire: Wire, store: OpenStore, body: bytes
) -> None:
    """Results and errors fit their schemas, ids come back as sent, and what reads or is refused changes nothing."""
    await exchange_with(wire, store, body)


@settings(FIXED, max_examples=60)
@given(body=BODIES)
async def test_any_body_is_answered_so_over_a_socket_too(daemon: Daemon, body: bytes) -> None:
    """HTTP adds nothing but a status: 200 for an answer, 204 for none."""

    async def post(body: bytes) -> bytes | None:
        status, _, answer = await asyncio.to_thread(daemon.request, "POST", "/rpc", body)
        assert status == (200 if answer else 204)
        return answer or None

    stats = daemon.call("agent:session:stat", definition_ids=list(AGENTS))
    await exchange(body, stats, post, daemon.data_dir / "db" / FILE_NAME)
