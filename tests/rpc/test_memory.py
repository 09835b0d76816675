"""What answers may hold in memory: bounded, however many are asked for at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
import pytest

from rpc.dispatch import READING_AT_ONCE, Dispatcher
from rpc.methods import Method
from store.limits import MIB, Limits
from tests.rpc.conftest import Wire
from tests.rpc.test_batches import member, results

READ = "agent:session:read"
LARGE = "x" * (2 * MIB)


@pytest.fixture
def dispatcher(methods: Mapping[str, Method]) -> Dispatcher:
    """Return a dispatcher over an empty store."""
    return Dispatcher(methods, Limits())


@pytest.fixture
async def body(wire: Wire) -> bytes:
    """Store a large snapshot, and return the request that reads it."""
    await wire.call("agent:session:write_state", ["maks", LARGE])
    return orjson.dumps(member(1, READ, "maks"))


async def test_large_answers_are_made_only_while_there_are_places(dispatcher: Dispatcher, body: bytes) -> None:
    """One more than there are places waits until one of the others has left."""
    answers = [await dispatcher.answer(body) for _ in range(READING_AT_ONCE)]
    waiting = asyncio.ensure_future(dispatcher.answer(body))
    change = orjson.dumps(member(2, "agent:session:append_output", "maks", "line"))
    assert await dispatcher.answer(change), "changes need no place"
    assert not waiting.done()
    assert answers[0]
    answers[0].release()
    answers[0].release()
    last = await waiting
    assert last
    assert len(last.pieces) > 1
    again = asyncio.ensure_future(dispatcher.answer(body))
    assert await dispatcher.answer(change)
    assert not again.done(), "one place was given back, not two"
    last.release()
    assert await again


async def test_a_place_is_given_back_by_what_is_small_fails_or_is_given_up(dispatcher: Dispatcher, body: bytes) -> None:
    """Only an answer that is large and not sent yet holds a place."""
    for params in (["nobody"], ["b d"], ["maks", 1]):
        for _ in range(READING_AT_ONCE + 1):
            assert await dispatcher.answer(orjson.dumps(member(1, READ, *params)))
    held = [await dispatcher.answer(body) for _ in range(READING_AT_ONCE)]
    given_up = asyncio.ensure_future(dispatcher.answer(body))
    await asyncio.wait([given_up], timeout=0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    for answer in held:
        assert answer
        answer.release()
    assert await dispatcher.answer(body)


async def test_a_batch_whose_answers_are_too_large_refuses_those_that_do_not_fit(
    methods: Mapping[str, Method], body: bytes
) -> None:
    """Members within the limit are answered, the others are TOO_LARGE, and changes are not among them."""
    assert body
    wire = Wire(methods, Limits(batch_answer_bytes_max=5 * MIB))
    reads = [member(number, READ, "maks") for number in range(10)]
    found = await results(wire, [*reads, member("a", "agent:session:append_output", "maks", "line")])
    answered = [number for number in range(10) if "content" in found[number]]
    assert len(answered) == 2
    refused = [found[number]["data"] for number in range(10) if number not in answered]
    assert {(data["code"], data["limit"], data["max"]) for data in refused} == {
        ("TOO_LARGE", "batch_answer_bytes_max", 5 * MIB)
    }
    assert found["a"]["total_lines"] == 1
