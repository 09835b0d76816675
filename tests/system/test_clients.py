"""Many clients at once, over the wire."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from rpc.client import Client
from tests.srv.daemon import Daemon

CLIENTS, LINES = 64, 25
AGENT = "busy"


async def test_64_clients_appending_and_one_archiving_lose_nothing_and_duplicate_nothing(tmp_path: Path) -> None:
    """Every acknowledged line is in exactly one session, and the lines of a client are in its order."""
    with Daemon.start(tmp_path / "data") as daemon:
        async with Client(daemon.url, daemon.token) as client:
            appending = asyncio.gather(*(append_lines(client, number) for number in range(CLIENTS)))
            archived = await archive_until(client, appending)
            await appending
            stored = await lines_of_all(client)
    assert archived, "the archiver never met the appenders"
    assert Counter(stored) == Counter(f"{number}:{line}" for number in range(CLIENTS) for line in range(LINES))
    for number in range(CLIENTS):
        mine = [line for line in stored if line.startswith(f"{number}:")]
        assert mine == [f"{number}:{line}" for line in range(LINES)]


async def append_lines(client: Client, number: int) -> None:
    """Append a client's lines, one after the other."""
    for line in range(LINES):
        await client.call("agent:session:append_output", {"definition_id": AGENT, "line": f"{number}:{line}"})


async def archive_until(client: Client, appending: asyncio.Future[list[None]]) -> int:
    """Archive in a loop until the others are done; returns how many archives there are."""
    archived = 0
    while not appending.done():
        answer = await client.call("agent:session:archive", {"definition_id": AGENT})
        archived += answer["archive_zoneid"] is not None
    return archived


async def lines_of_all(client: Client) -> list[str]:
    """Read the output of every session of the agent, oldest first."""
    archives = []
    before: dict[str, int] = {}
    while rows := await client.call("agent:session:list_archives", {"definition_id": AGENT, "limit": 100, **before}):
        archives += rows
        before = {"before_ms": rows[-1]["archived_at_ms"]}
    lines: list[str] = []
    for row in reversed(archives):
        lines += await all_lines(client, {"archived_at_ms": row["archived_at_ms"]})
    return lines + await all_lines(client, {})


async def all_lines(client: Client, of: dict[str, int]) -> list[str]:
    """Read one session's output, page by page."""
    lines: list[str] = []
    while True:
        wanted = {"definition_id": AGENT, "first_line": len(lines), "limit": 1_000, **of}
        page = await client.call("agent:session:read_output", wanted)
        if not page["lines"]:
            assert page["total_lines"] == len(lines)
            return lines
        lines += page["lines"]
