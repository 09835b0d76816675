"""A body sent to a dispatcher or a daemon, its answer, and what has become of the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.conftest import OpenStore
from tests.fuzz.digest import digest
from tests.fuzz.envelopes import AGENTS, session_mark
from tests.fuzz.judge import check, may_change
from tests.rpc.conftest import Wire
from tests.store.foreign import FILE_NAME

Post = Callable[[bytes], Awaitable[bytes | None]]
"""Sends a body and returns that of the answer, None where there is none."""


async def exchange(body: bytes, stats: list[dict[str, Any]], post: Post, path: Path) -> None:
    """Send a body, and check the answer and what it has done to the store.

    Args:
        body: what `envelopes` has drawn, with marks for the sessions.
        stats: the agents as they are.
        post: sends it.
        path: of the store's file.

    Raises:
        AssertionError: something is not right.
    """
    for stat in stats:
        session_id = stat["session_id"] or "none"
        body = body.replace(session_mark(stat["definition_id"]).encode(), session_id.encode())
    before = digest(path)
    answer = await post(body)
    check(body, answer)
    if not may_change(body, answer):
        assert digest(path) == before, "a call that reads, or was refused, has changed the store"


async def exchange_with(wire: Wire, store: OpenStore, body: bytes) -> None:
    """Do so without a daemon."""
    stats = await wire.call("agent:session:stat", [list(AGENTS)])
    await exchange(body, stats, wire.post, store.directory / FILE_NAME)
