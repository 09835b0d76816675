"""What answers may hold in memory: bounded, however many are asked for at once, and without small ones having to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter

import orjson
import pytest

from rpc.dispatch import Answer, Dispatcher
from rpc.memory import AnswerMemory, Room
from rpc.methods import Method
from store.limits import MIB, Limits
from store.trace import NOBODY_S, TRACE, Trace
from tests.rpc.conftest import Wire
from tests.rpc.test_batches import member, results

READ, APPEND = "agent:session:read", "agent:session:append_output"
LARGE = "x" * (2 * MIB)


@pytest.fixture
def dispatcher(methods: Mapping[str, Method]) -> Dispatcher:
    """Return a dispatcher with room for two large answers while they are made, for four as they are sent."""
    return Dispatcher(methods, Limits(answer_memory_bytes_max=9 * MIB, batch_answer_bytes_max=3 * MIB))


@pytest.fixture
async def body(wire: Wire) -> bytes:
    """Store a large snapshot, and return the request that reads it."""
    await wire.call("agent:session:write_state", ["maks", LARGE])
    await wire.call(APPEND, ["maks", "line"])
    return orjson.dumps(member(1, READ, "maks"))


async def large_answers(dispatcher: Dispatcher, body: bytes) -> list[Answer]:
    """Take large answers until there is no room, and hold them."""
    answers = [await dispatcher.answer(body) for _ in range(3)]
    return [answer for answer in answers if answer is not None]


async def test_a_large_answer_waits_until_there_is_room(dispatcher: Dispatcher, body: bytes) -> None:
    """It is made when another one has left; what is given back twice counts once."""
    answers = await large_answers(dispatcher, body)
    trace = Trace("waiting")
    TRACE.set(trace)
    waiting = asyncio.ensure_future(dispatcher.answer(body))
    TRACE.set(NOBODY_S)
    assert await dispatcher.answer(orjson.dumps(member(2, APPEND, "maks", "line")))
    assert not waiting.done()
    answers[0].release()
    answers[0].release()
    assert not answers[0].pieces
    last = await waiting
    assert last
    assert len(last.pieces) > 1
    assert 0 < trace.memory_wait_seconds <= perf_counter() - trace.began
    again = asyncio.ensure_future(dispatcher.answer(body))
    assert await dispatcher.answer(orjson.dumps(member(3, APPEND, "maks", "line")))
    assert not again.done()
    last.release()
    assert await again


@pytest.mark.parametrize(
    "call",
    [
        member(1, READ, "nobody"),
        member(1, "agent:session:read", "maks", 1),
        member(1, "agent:session:read_output", "maks"),
        member(1, "agent:session:list_archives", "maks"),
        member(1, "srv:status"),
        [member(1, APPEND, "maks", "a"), member(2, "agent:session:stat", ["maks"])],
        [member(1, READ, "nobody"), member(2, "agent:session:read_output", "maks")],
    ],
    ids=lambda call: str(call)[:60],
)
async def test_what_is_small_never_waits(dispatcher: Dispatcher, body: bytes, call: object) -> None:
    """Clients that ask for much and take nothing hold up those that ask for much, and nobody else."""
    assert await large_answers(dispatcher, body)
    waiting = asyncio.ensure_future(dispatcher.answer(body))
    assert await dispatcher.answer(orjson.dumps(call))
    assert not waiting.done()
    waiting.cancel()


@pytest.mark.parametrize(
    "call",
    [
        member(1, "agent:session:mount", "maks"),
        member(1, "agent:session:mount", "maks", 5, 8 * MIB),
        member(1, "agent:session:read_output", "maks", None, 0, 10, 8 * MIB),
        [member(1, READ, "maks")],
    ],
    ids=lambda call: str(call)[:60],
)
async def test_whatever_may_be_large_waits(dispatcher: Dispatcher, body: bytes, call: object) -> None:
    """Mounts, pages of many bytes and batches that read as well; what is given up lets others in."""
    answers = await large_answers(dispatcher, body)
    waiting = asyncio.ensure_future(dispatcher.answer(orjson.dumps(call)))
    given_up = asyncio.ensure_future(dispatcher.answer(body))
    assert await dispatcher.answer(orjson.dumps(member(2, APPEND, "maks", "line")))
    assert not waiting.done()
    given_up.cancel()
    for answer in answers:
        answer.release()
    found = await waiting
    assert found
    assert b"error" not in b"".join(found.pieces)


async def test_what_fails_or_turns_out_small_holds_nothing(dispatcher: Dispatcher, body: bytes) -> None:
    """Room is kept for answers that are there, not for those that were expected."""
    assert body
    for params in (["b d"], ["maks", None, 0, 10, 8 * MIB], ["nobody", None, None, None, 8 * MIB]):
        for _ in range(5):
            assert await dispatcher.answer(orjson.dumps(member(1, "agent:session:read_output", *params)))
    assert len(await large_answers(dispatcher, body)) == 3


async def test_a_batch_whose_answers_are_too_large_refuses_those_that_do_not_fit(
    methods: Mapping[str, Method], body: bytes
) -> None:
    """Members within the limit are answered, the others are TOO_LARGE, and changes are not among them."""
    assert body
    wire = Wire(methods, Limits(batch_answer_bytes_max=5 * MIB))
    reads = [member(number, READ, "maks") for number in range(10)]
    found = await results(wire, [*reads, member("a", APPEND, "maks", "line")])
    answered = [number for number in range(10) if "content" in found[number]]
    assert len(answered) == 2
    refused = [found[number]["data"] for number in range(10) if number not in answered]
    assert {(data["code"], data["limit"], data["max"]) for data in refused} == {
        ("TOO_LARGE", "batch_answer_bytes_max", 5 * MIB)
    }
    assert found["a"]["total_lines"] == 2


async def test_who_comes_first_is_served_first_and_more_than_there_is_gets_all() -> None:
    """A large one at the head is not overtaken for ever by small ones behind it."""
    memory = AnswerMemory(10 * MIB)
    first, second, third = Room(memory), Room(memory), Room(memory)
    await first.expect(3 * MIB)
    served: list[str] = []

    async def wait(name: str, room: Room, size_bytes: int) -> None:
        await room.expect(size_bytes)
        served.append(name)

    waiting = [
        asyncio.ensure_future(wait("huge", second, 100 * MIB)),
        asyncio.ensure_future(wait("last", third, 2 * MIB)),
    ]
    await asyncio.wait(waiting, timeout=0)
    assert served == []
    first.release()
    await waiting[0]
    assert served == ["huge"]
    second.settle(5 * MIB)
    await waiting[1]
    assert served == ["huge", "last"]


async def test_who_waits_too_long_is_overloaded_and_takes_nothing(
    dispatcher: Dispatcher, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says so, and may be tried again; of a batch, the member is refused."""
    monkeypatch.setattr("rpc.memory.WAIT_SECONDS_MAX", 0)
    answers = await large_answers(dispatcher, body)
    for request in (body, orjson.dumps([orjson.loads(body)])):
        refused = await dispatcher.answer(request)
        assert refused
        said = orjson.loads(b"".join(refused.pieces))
        error = (said[0] if isinstance(said, list) else said)["error"]
        assert (error["data"]["code"], error["data"]["retry"]) == ("OVERLOADED", True)
        assert "large answers" in error["message"]
    for answer in answers:
        answer.release()
    assert len(await large_answers(dispatcher, body)) == 3


async def test_large_batches_wait_for_each_other(
    methods: Mapping[str, Method], body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are places for two; a third is answered once one has left, and small batches need none."""
    dispatcher = Dispatcher(methods, Limits())
    batch = b"[%b, %b]" % (body, body)
    held = [await dispatcher.answer(batch) for _ in range(2)]
    assert await dispatcher.answer(b"[%b]" % orjson.dumps(member(1, READ, "nobody")))
    monkeypatch.setattr("rpc.memory.WAIT_SECONDS_MAX", 0)
    refused = await dispatcher.answer(batch)
    assert refused
    assert {row["error"]["data"]["code"] for row in orjson.loads(b"".join(refused.pieces))} == {"OVERLOADED"}
    assert held[0]
    held[0].release()
    held[0].release()
    monkeypatch.undo()
    answered = await dispatcher.answer(batch)
    assert answered
    assert len(b"".join(answered.pieces)) > 2 * len(LARGE)
