"""Large results come in pieces, and say exactly what small ones would."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc import answers
from rpc.answers import Lines, StoredText, encode
from rpc.bodies import DIRECT_BYTES_MAX, OffLoop, decode
from rpc.memory import SMALL_ANSWER_BYTES
from store.sessions import Sessions
from tests.rpc.conftest import Wire


@settings(max_examples=200)
@given(
    content=st.lists(st.binary(max_size=12) | st.text(max_size=6).map(str.encode), max_size=8), size=st.integers(1, 9)
)
def test_stored_pieces_become_one_string(content: list[bytes], size: int) -> None:
    """Cut anywhere, in the middle of a character too; what is no UTF-8 becomes U+FFFD as if it were decoded at once."""
    whole = b"".join(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "PIECE_CHARACTERS", size)
        encoded = b"".join(StoredText(tuple(content)).pieces())
    assert orjson.loads(encoded) == whole.decode("utf-8", "replace")


@settings(max_examples=200)
@given(texts=st.lists(st.text(max_size=12), max_size=8), size=st.integers(1, 9))
def test_lines_become_one_array(texts: list[str], size: int) -> None:
    """Empty ones and ones longer than a piece included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "PIECE_CHARACTERS", size)
        encoded = b"".join(Lines(texts).pieces())
    assert orjson.loads(encoded) == texts


async def test_pieces_are_woven_into_the_rest() -> None:
    """Each stands in its own place, whatever stands around it."""
    result = {"a": StoredText((b"one", b"\xff\xfe")), "b": "\\u00ff", "c": [Lines(["x", "y"]), 5, StoredText(())]}
    pieces = await encode(result, OffLoop())
    assert len(pieces) > 1
    assert orjson.loads(b"".join(pieces)) == {"a": "one��", "b": "\\u00ff", "c": [["x", "y"], 5, ""]}


@pytest.mark.parametrize("unit", ["x", "é", "😀", '"\\\n', "\x00", '{"nodes": [1, "ÿ"]}'])
@pytest.mark.parametrize(
    "size_bytes", [DIRECT_BYTES_MAX - 1_000, DIRECT_BYTES_MAX + 1_000, SMALL_ANSWER_BYTES + 1_000, 3_000_000]
)
async def test_a_snapshot_of_any_size_comes_back_as_it_was_written(wire: Wire, unit: str, size_bytes: int) -> None:
    """Through the body, the store and the answer, of `read`, `mount` and `read_archive`."""
    content = unit * (size_bytes // len(unit.encode()))
    await wire.call("agent:session:write_state", {"definition_id": "maks", "content": content})
    assert (await wire.call("agent:session:read", ["maks"]))["content"] == content
    assert (await wire.call("agent:session:mount", ["maks"]))["snapshot"]["content"] == content
    archived = await wire.call("agent:session:archive", ["maks"])
    again = await wire.call("agent:session:read_archive", ["maks", archived["archived_at_ms"]])
    assert again["content"] == content


async def test_a_large_answer_is_not_one_piece(wire: Wire) -> None:
    """So that the transport can send the first before it holds the last."""
    content = "x" * 5_000_000
    await wire.call("agent:session:write_state", ["maks", content])
    request = b'{"jsonrpc": "2.0", "id": 1, "method": "agent:session:read", "params": ["maks"]}'
    answer = await wire._dispatcher.answer(request)
    assert answer is not None
    assert len(answer.pieces) > 20
    assert max(map(len, answer.pieces)) < 500_000
    batch = await wire._dispatcher.answer(b"[%b,%b,1]" % (request, request))
    assert batch is not None
    assert len(batch.pieces) > 40
    first, second, third = orjson.loads(b"".join(batch.pieces))
    assert first["result"]["content"] == second["result"]["content"] == content
    assert third["error"]["code"] == -32600


async def test_a_large_page_of_output_comes_whole(wire: Wire) -> None:
    """Many lines, and one alone that is larger than a page."""
    texts = [f"{number} é" * 20 for number in range(5_000)]
    await wire.call("agent:session:append_output", ["maks", texts])
    page = await wire.call(
        "agent:session:read_output", {"definition_id": "maks", "limit": 5_000, "max_bytes": 8_000_000}
    )
    assert page["lines"] == texts
    mount = await wire.call("agent:session:mount", {"definition_id": "maks", "max_bytes": 8_000_000})
    assert mount["output"]["lines"] == texts
    line = '\\"😀' * 500_000
    await wire.call("agent:session:append_output", {"definition_id": "maks", "line": line})
    assert (await wire.call("agent:session:read_output", ["maks"]))["lines"] == [line]


async def test_a_line_over_the_limit_is_too_large(wire: Wire) -> None:
    """One text of more than `append_bytes_max`, however it was decoded."""
    error = await wire.fail("agent:session:append_output", ["maks", "x" * (8 * 2**20)])
    assert error.data["limit"] == "append_bytes_max"
    error = await wire.fail("agent:session:write_state", ["maks", "x" * (64 * 2**20 + 1)])
    assert error.data["limit"] == "snapshot_bytes_max"


async def test_a_long_text_in_any_place_is_treated_as_a_text(wire: Wire) -> None:
    """As a method, a parameter's name, an id of an agent, in an ignored member, twice under one key."""
    long = "x" * 2_000_000
    request: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "agent:session:read",
        "params": {"definition_id": "maks"},
    }

    async def answered(**changed: Any) -> Any:
        return await wire.exchange(orjson.dumps(request | changed))

    assert (await answered(method=long))["error"] == {"code": -32601, "message": "Method not found"}
    assert (await answered(jsonrpc=long))["error"]["code"] == -32600
    assert (await answered(params=long))["error"]["code"] == -32600
    assert (await answered(extra=long))["result"]["content"] is None
    error = (await answered(params={"definition_id": "maks", long: 1}))["error"]
    assert error["message"] == f'unknown parameter "{"x" * 100}…"'
    assert error["data"]["param"] == "x" * 100
    error = (await answered(params={"definition_id": "maks", "if_revision": long}))["error"]
    assert error["message"].endswith(f'got "{"x" * 100}…"')
    assert (await answered(params={"definition_id": long}))["error"]["data"]["limit"] == "definition_id_characters_max"
    assert (await answered(params={"definition_id": "é" + long}))["error"]["data"]["code"] == "INVALID_DEFINITION_ID"
    params = b'{"definition_id":"maks","content":"%b","content":"y"}' % long.encode()
    body = b'{"jsonrpc":"2.0","id":1,"method":"agent:session:write_state","params":%b}' % params
    assert (await wire.exchange(body))["result"]["bytes_written"] == 1


async def test_the_event_loop_goes_on_while_a_large_body_is_decoded_and_answered(wire: Wire) -> None:
    """It gets its turn again and again, where one long step would leave it none."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "agent:session:write_state",
        "params": ["maks", '{"é":1}\n' * 2_000_000],
    }
    body = orjson.dumps(request)
    taking = asyncio.create_task(take_turns())
    await decode(body, 128, OffLoop())
    decoded_by, turns = turns, 0
    await encode(StoredText((body,)), OffLoop())
    taking.cancel()
    assert decoded_by > 5
    assert turns > 5


async def test_a_damaged_end_of_a_large_snapshot_is_shown(wire: Wire, sessions: Sessions) -> None:
    """Bytes that are no UTF-8 become U+FFFD at the very end too."""
    await sessions.write_session_state("maks", b"x" * 1_000_000 + b"\xe2\x82")
    assert (await wire.call("agent:session:read", ["maks"]))["content"] == "x" * 1_000_000 + "�"
