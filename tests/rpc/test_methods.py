"""What each method returns, on the wire, over a real store; every result fits the schema that the document gives."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rpc.contract import METHODS
from rpc.openrpc import document
from store.errors import StoreError
from store.sessions import Sessions
from tests.conftest import BEGINNING_MS, Clock
from tests.rpc.conftest import Schema, Wire

SCHEMAS = {row.name: Schema(row.result) for row in METHODS}


class Agent:
    """Calls the `agent:session:` methods by their short names, and holds each result against its schema."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def __call__(self, verb: str, *params: Any, **named: Any) -> Any:
        """Call with parameters by position or by name."""
        method = f"agent:session:{verb}"
        result = await self._wire.call(method, named or list(params))
        SCHEMAS[method].check(result)
        return result


@pytest.fixture
def agent(wire: Wire) -> Agent:
    """Return the methods of an empty store."""
    return Agent(wire)


async def test_a_fresh_agent_is_not_an_error(agent: Agent) -> None:
    """Every reading method has an answer for an agent nobody has heard of."""
    assert await agent("read", "maks") == {"content": None, "modts": None, "revision": None, "session_id": None}
    assert await agent("read", "maks", 0) == {"content": None, "modts": None, "revision": None, "session_id": None}
    assert await agent("list_archives", "maks") == []
    assert await agent("list_agents") == {"agents": [], "next": None}
    assert await agent("archive", "maks") == {"archive_zoneid": None, "archived_at_ms": None, "session_id": None}
    empty_output = {"lines": [], "first_line": 0, "total_lines": 0, "size_bytes": 0}
    assert await agent("read_output", "maks") == {**empty_output, "next_line": 0, "session_id": None}
    assert await agent("mount", "maks") == {"session_id": None, "snapshot": None, "output": empty_output}
    nothing = {"session_id": None, "revision": None, "modts": None}
    zeros = {"snapshot_bytes": 0, "output_bytes": 0, "total_lines": 0, "archives": 0}
    assert await agent("stat", ["maks"]) == [{"definition_id": "maks", **nothing, **zeros}]
    assert await agent("stat", []) == []


async def test_a_snapshot_is_written_and_read(agent: Agent) -> None:
    """The result of a write tells what a read then shows; an unchanged revision sends no content."""
    written = await agent("write_state", "maks", 'é😀"\n\x00')
    session_id = written["session_id"]
    revision = written["revision"]
    assert written == {"bytes_written": 9, "modts": BEGINNING_MS, "revision": revision, "session_id": session_id}
    stored = {"content": 'é😀"\n\x00', "modts": BEGINNING_MS, "revision": revision, "session_id": session_id}
    assert await agent("read", "maks") == stored
    assert await agent("read", definition_id="maks", if_revision=revision + 1) == stored
    del stored["content"]
    assert await agent("read", definition_id="maks", if_revision=revision) == {"unchanged": True, **stored}


async def test_output_is_appended_and_read(agent: Agent) -> None:
    """An append tells where its bytes are; a page tells where the next begins; a repetition is a duplicate."""
    first = await agent("append_output", "maks", "one")
    session_id = first["session_id"]
    assert first == {
        "bytes_written": 4,
        "offset": 0,
        "size_bytes": 4,
        "total_lines": 1,
        "session_id": session_id,
        "duplicate": False,
    }
    second = {"definition_id": "maks", "lines": ["two\n", "", "three"], "session_id": session_id, "expect_offset": 4}
    expected = {
        "bytes_written": 11,
        "offset": 4,
        "size_bytes": 15,
        "total_lines": 3,
        "session_id": session_id,
        "duplicate": False,
    }
    assert await agent("append_output", **second) == expected
    assert await agent("append_output", **second) == {**expected, "duplicate": True}
    page = {"lines": ["two", "three"], "first_line": 1, "next_line": 3, "total_lines": 3, "size_bytes": 15}
    assert await agent("read_output", definition_id="maks", first_line=1) == {**page, "session_id": session_id}
    assert await agent("read_output", "maks", None, None, 2) == {**page, "session_id": session_id}


async def test_a_session_is_mounted_at_once(agent: Agent) -> None:
    """Snapshot and the lines that it does not cover come together."""
    await agent("append_output", "maks", ["one", "two", "three"])
    written = await agent("write_state", definition_id="maks", content="{}", covers_line=2)
    assert await agent("mount", "maks") == {
        "session_id": written["session_id"],
        "snapshot": {"content": "{}", "modts": BEGINNING_MS, "revision": written["revision"], "covers_line": 2},
        "output": {"lines": ["three"], "first_line": 2, "total_lines": 3, "size_bytes": 14},
    }


async def test_a_session_is_archived_listed_and_read(agent: Agent, clock: Clock) -> None:
    """An archive has its own time; rows are newest first; its snapshot and output stay readable."""
    snapshot = '{"nodes":[{"type":"user_message","message":"hello"}]}'
    written = await agent("write_state", "maks", snapshot)
    await agent("append_output", "maks", "one")
    archived = await agent("archive", "maks")
    name = f"agent:maks:archive:{BEGINNING_MS}"
    assert archived == {
        "archive_zoneid": name,
        "archived_at_ms": BEGINNING_MS,
        "session_id": written["session_id"],
    }
    assert await agent("archive", "maks", written["session_id"]) == archived
    assert await agent("list_archives", "maks") == [
        {
            "archive_zoneid": name,
            "archived_at_ms": BEGINNING_MS,
            "preview": "hello",
            "node_count": 1,
            "total_lines": 1,
            "size_bytes": len(snapshot) + 4,
            "session_id": written["session_id"],
        }
    ]
    assert (await agent("read_archive", "maks", BEGINNING_MS))["content"] == snapshot
    assert (await agent("read_output", "maks", BEGINNING_MS))["lines"] == ["one"]
    clock.now_ms += 5
    await agent("append_output", "maks", "two")
    await agent("archive", "maks")
    rows = await agent("list_archives", "maks")
    assert [row["archived_at_ms"] for row in rows] == [BEGINNING_MS + 5, BEGINNING_MS]
    assert await agent("list_archives", "maks", 1) == rows[:1]
    assert await agent("list_archives", "maks", None, BEGINNING_MS + 5) == rows[1:]
    without_snapshot = await agent("read_archive", "maks", BEGINNING_MS + 5)
    assert without_snapshot["content"] is None
    assert without_snapshot["session_id"] == rows[0]["session_id"]


async def test_agents_are_described_and_listed_in_pages(agent: Agent) -> None:
    """`stat` answers in the order asked; `next` leads from page to page."""
    for name in ("b", "a", "c"):
        written = await agent("write_state", name, "{}")
    described = await agent("stat", ["c", "unknown", "c"])
    assert (
        described[0]
        == described[2]
        == {
            "definition_id": "c",
            "session_id": written["session_id"],
            "snapshot_bytes": 2,
            "revision": written["revision"],
            "output_bytes": 0,
            "total_lines": 0,
            "modts": BEGINNING_MS,
            "archives": 0,
        }
    )
    first = await agent("list_agents", limit=2)
    assert [row["definition_id"] for row in first["agents"]] == ["a", "b"]
    assert first["next"] == "b"
    second = await agent("list_agents", limit=2, after="b")
    assert second == {"agents": [described[0]], "next": None}


async def test_every_error_of_a_session_reaches_the_client(agent: Agent, wire: Wire) -> None:
    """Each has its number, its word and the facts that help to go on."""
    await agent("write_state", "maks", "{}")
    await agent("append_output", "maks", "one")
    write, append = "agent:session:write_state", "agent:session:append_output"
    base = {"definition_id": "maks"}
    cases: list[tuple[str, dict[str, Any], int, str, dict[str, Any]]] = [
        (write, {"content": "x", "session_id": "old"}, -32010, "STALE_SESSION", {}),
        (write, {"content": "x", "expect_revision": 77}, -32011, "REVISION_MISMATCH", {"revision": 1}),
        (append, {"line": "x", "expect_offset": 77}, -32012, "OFFSET_MISMATCH", {"size_bytes": 4}),
        ("agent:session:read_archive", {"archived_at_ms": 1}, -32013, "ZONE_NOT_FOUND", {}),
        ("agent:session:read_output", {"archived_at_ms": 1}, -32013, "ZONE_NOT_FOUND", {}),
        (append, {"lines": ["x"] * 10_001}, -32014, "TOO_LARGE", {"limit": "append_lines_max", "max": 10_000}),
        (append, {"lines": []}, -32602, "INVALID_PARAMS", {"param": "lines"}),
    ]
    for method, params, number, word, facts in cases:
        error = await wire.fail(method, base | params)
        assert (error.code, error.word) == (number, word)
        assert error.data["retry"] is False
        assert error.hint
        assert {key: error.data[key] for key in error.data.keys() - {"code", "hint", "retry"}} == facts
    error = await wire.fail("agent:session:stat", {"definition_ids": ["a"] * 1_001})
    assert error.data["limit"] == "stat_definitions_max"
    error = await wire.fail("agent:session:read", {"definition_id": "a" * 513})
    assert error.data["limit"] == "definition_id_characters_max"


async def test_the_document_is_discovered(wire: Wire) -> None:
    """`rpc.discover` returns the very document that is served as a file."""
    assert await wire.call("rpc.discover") == orjson.loads(orjson.dumps(document()))


async def test_stored_bytes_that_are_no_text_are_replaced(agent: Agent, sessions: Sessions) -> None:
    """Migrated content may be invalid UTF-8; it is shown, not refused."""
    await sessions.write_session_state("maks", b"a\xffb\xe2\x82")
    assert (await agent("read", "maks"))["content"] == "a�b�"


def test_the_store_error_is_what_methods_raise() -> None:
    """Every error that the table names is one that the store has."""
    words = {kind.word for kind in _kinds(StoreError)}
    for row in METHODS:
        assert set(row.errors) <= words


def _kinds(base: type[StoreError]) -> list[type[StoreError]]:
    return [kind for each in base.__subclasses__() for kind in (each, *_kinds(each))]
