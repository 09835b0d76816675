"""Snapshots kept as they go over the wire: what is shown is what is stored, always."""

from __future__ import annotations

import pytest

from rpc.snapshots import Kept, SnapshotsKept
from store.records import SessionState
from tests.rpc.conftest import Wire

READ = "agent:session:read"
MOUNT = "agent:session:mount"
WRITE = "agent:session:write_state"


async def shown(wire: Wire) -> tuple[str | None, str | None]:
    """Return the content that a mount and a read show."""
    snapshot = (await wire.call(MOUNT, ["maks"]))["snapshot"]
    return snapshot and snapshot["content"], (await wire.call(READ, ["maks"]))["content"]


async def test_a_pane_that_comes_back_sees_what_was_written_last(wire: Wire) -> None:
    """However often it was mounted before, and with the mark of the last write."""
    assert await shown(wire) == (None, None)
    for number in range(3):
        await wire.call(WRITE, {"definition_id": "maks", "content": f"state {number}", "covers_line": number})
        for _ in range(2):
            assert await shown(wire) == (f"state {number}", f"state {number}")
            assert (await wire.call(MOUNT, ["maks"]))["snapshot"]["covers_line"] == number


async def test_the_next_session_is_never_shown_as_the_one_before(wire: Wire) -> None:
    """It comes to the same revisions with other content."""
    for number in range(3):
        await wire.call(WRITE, ["maks", f"session {number}"])
        assert await shown(wire) == (f"session {number}", f"session {number}")
        assert (await wire.call(READ, ["maks"]))["revision"] == 1
        await wire.call("agent:session:archive", ["maks"])
        assert await shown(wire) == (None, None)


async def test_what_a_caller_has_is_still_not_sent_again(wire: Wire) -> None:
    """`if_revision` is answered as if nothing were kept."""
    await wire.call(WRITE, ["maks", "state"])
    await shown(wire)
    assert (await wire.call(READ, ["maks", 1]))["unchanged"] is True
    assert (await wire.call(READ, ["maks", 2]))["content"] == "state"


@pytest.mark.parametrize("agents", [3, 50])
def test_what_is_kept_is_bounded(agents: int) -> None:
    """The longest unused go first; what was read last is there."""
    kept = SnapshotsKept(bytes_max=1_000)
    for number in range(agents):
        state = SessionState(f"session {number}", (b"x" * 98,), 1, 1)
        content = kept.content(f"agent {number}", state, None)
        assert content is not None
        assert b"".join(content.pieces()) == b'"' + b"x" * 98 + b'"'
        assert kept.of("agent 0") is not None
    there = [number for number in range(agents) if kept.of(f"agent {number}")]
    assert there == [0, *range(max(1, agents - 9), agents)]
    assert kept.of("agent 0") == Kept("session 0", 1, b'"' + b"x" * 98 + b'"')
