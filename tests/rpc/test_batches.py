"""Batches: each member on its own, and those that touch one zone in the order written."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from rpc.methods import Method, method_table
from store.limits import Limits
from tests.conftest import StoreOpener
from tests.rpc.conftest import Wire, status


def member(request_id: Any, method: str, *params: Any) -> dict[str, Any]:
    """Return a request with positional parameters."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


async def results(wire: Wire, members: list[Any]) -> dict[Any, Any]:
    """Send a batch and return what each id got, its result or its error."""
    responses = await wire.exchange(orjson.dumps(members))
    return {response["id"]: response.get("result", response.get("error")) for response in responses}


async def test_calls_on_one_zone_take_effect_in_the_order_written(wire: Wire) -> None:
    """A read sees every change before it and none after it, and changes follow each other."""
    append, read, archive = "agent:session:append_output", "agent:session:read_output", "agent:session:archive"
    members = []
    for round_number in range(20):
        members += [
            member(f"a{round_number}", append, "maks", f"first {round_number}"),
            member(f"b{round_number}", append, "maks", [f"second {round_number}"]),
            member(f"r{round_number}", read, "maks"),
            member(f"c{round_number}", append, "maks", "third"),
            member(f"x{round_number}", archive, "maks"),
            member(f"e{round_number}", read, "maks"),
        ]
    found = await results(wire, members)
    for round_number in range(20):
        assert found[f"r{round_number}"]["lines"] == [f"first {round_number}", f"second {round_number}"]
        assert found[f"x{round_number}"]["session_id"] == found[f"a{round_number}"]["session_id"]
        assert found[f"e{round_number}"]["lines"] == []


async def test_a_large_write_keeps_its_place(wire: Wire) -> None:
    """A snapshot that is decoded in slices is written where it stands, not when it is ready."""
    write, read = "agent:session:write_state", "agent:session:read"
    large = "[{" * 1_000_000
    found = await results(
        wire,
        [
            member(1, write, "maks", "small"),
            member(2, write, "maks", large),
            member(3, "agent:session:archive", "maks"),
            member(4, write, "maks", "last"),
            member(5, read, "maks"),
        ],
    )
    assert found[5]["content"] == "last"
    archive = await wire.call("agent:session:read_archive", ["maks", found[3]["archived_at_ms"]])
    assert archive["content"] == large


async def test_bad_members_do_not_disturb_the_others(wire: Wire) -> None:
    """Each gets its own error, the rest their results, in the order of the batch."""
    responses = await wire.exchange(
        orjson.dumps(
            [
                1,
                member("a", "agent:session:append_output", "maks", "x"),
                {},
                [],
                member("b", "agent:session:append_output", "not valid", "x"),
                {"jsonrpc": "2.0", "method": "agent:session:append_output", "params": ["maks", "y"]},
                member("c", "unknown"),
                {"jsonrpc": "2.0", "method": 5, "id": "d"},
                member("e", "agent:session:read_output", "maks"),
                None,
            ]
        )
    )
    codes = [(response["id"], response.get("error", {}).get("code")) for response in responses]
    assert codes == [
        (None, -32600),
        ("a", None),
        (None, -32600),
        (None, -32600),
        ("b", -32602),
        ("c", -32601),
        ("d", -32600),
        ("e", None),
        (None, -32600),
    ]
    assert responses[7]["result"]["lines"] == ["x", "y"]


async def test_a_batch_of_notifications_is_done_and_not_answered(wire: Wire) -> None:
    """Its changes are there when the call returns."""
    batch = [
        {"jsonrpc": "2.0", "method": "agent:session:append_output", "params": ["maks", str(number)]}
        for number in range(200)
    ]
    assert await wire.post(orjson.dumps(batch)) is None
    page = await wire.call("agent:session:read_output", ["maks"])
    assert page["lines"] == [str(number) for number in range(200)]


async def test_a_batch_over_the_limit_is_one_error_and_nothing_is_done(wire: Wire) -> None:
    """1 000 members are served, 1 001 are not."""
    batch = [member(number, "agent:session:append_output", "maks", "x") for number in range(1_001)]
    response = await wire.exchange(orjson.dumps(batch))
    assert response["id"] is None
    assert response["error"]["code"] == -32014
    assert response["error"]["data"]["limit"] == "batch_members_max"
    assert (await wire.call("agent:session:read_output", ["maks"]))["total_lines"] == 0
    responses = await wire.exchange(orjson.dumps(batch[:1_000]))
    assert [response["id"] for response in responses] == list(range(1_000))
    assert (await wire.call("agent:session:read_output", ["maks"]))["total_lines"] == 1_000


async def test_changes_of_a_batch_are_handed_over_together() -> None:
    """Those that stand side by side may share a commit: none waits for the answer to another."""
    waiting = 0
    together = asyncio.Event()

    async def change(_params: Any) -> int:
        nonlocal waiting
        waiting += 1
        if waiting == 100:
            together.set()
        await together.wait()
        return waiting

    wire = Wire({"change": Method(change, changes=True)})
    found = await results(wire, [member(number, "change") for number in range(100)])
    assert set(found.values()) == {100}


async def test_a_full_queue_refuses_single_members(open_store: StoreOpener) -> None:
    """Members beyond the writer's queue are OVERLOADED, the others are stored."""
    store = await open_store(Limits(queue_changes_max=10))
    wire = Wire(method_table(store.sessions, status))
    found = await results(
        wire, [member(number, "agent:session:append_output", "maks", str(number)) for number in range(64)]
    )
    stored = [number for number, result in found.items() if "offset" in result]
    refused = [result["data"]["code"] for result in found.values() if "offset" not in result]
    assert stored
    assert set(refused) == {"OVERLOADED"}
    page = await wire.call("agent:session:read_output", ["maks"])
    assert page["lines"] == [str(number) for number in stored]
