"""The table of parts spread over partitions, by the statements of docs/scaling.md."""

from __future__ import annotations

import re

from bench.cluster import database_url, execute
from store.engine import AppendOutput, ArchiveSession, CompleteSession, WriteState
from store.postgres import open_postgres
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.postgres.server import DATABASES
from tests.postgres.test_two_daemons import one, output_of
from tests.test_scaling import PAGE

AGENT = agent_current_zone("maks")


async def test_a_store_whose_parts_are_spread_keeps_sessions_as_any_other(url: str) -> None:
    """Parts come, grow, become one, are replaced, and go to another definition's partition."""
    spread = database_url(url, await DATABASES._new(url))  # not given back: other tests want the table as it is made
    await (await open_postgres(spread)).close()
    (statements,) = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    await execute(spread, statements)
    engine = await open_postgres(spread)
    try:
        lines = [f"{number} ".ljust(900, "x") for number in range(400)]
        for number in range(0, 400, 8):
            text = "".join(f"{line}\n" for line in lines[number : number + 8])
            await one(engine, AppendOutput(AGENT, text.encode(), BEGINNING_MS))
        for content in (b"a" * 200_000, b"a" * 100_000 + b"b" * 50_000):
            await one(engine, WriteState(AGENT, content, BEGINNING_MS))
        assert await output_of(engine, AGENT) == lines
        await one(engine, ArchiveSession(AGENT, BEGINNING_MS))
        other = agent_current_zone("mira")
        await one(engine, WriteState(other, b"{}", BEGINNING_MS))
        archive = agent_archive_zone("maks", BEGINNING_MS)
        await one(engine, CompleteSession(archive, other, ("output",)))
        assert await output_of(engine, other) == lines
        state = await engine.read_session_state(other)
        assert state is not None
        assert b"".join(state.content or ()) == b"{}"
    finally:
        await engine.close()
