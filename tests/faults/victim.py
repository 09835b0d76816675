"""A process that changes a store without end, and says on standard output what was acknowledged. It is there to be killed.

    python -m tests.faults.victim DIRECTORY RUN

Each line of its output is one acknowledgement, a JSON array; it is written in one piece.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Final

from store.limits import Limits
from store.sessions import Sessions
from tests.conftest import ENGINE_KINDS, Clock, OpenStore

AGENTS: Final = ("one", "two", "three")
SNAPSHOT_BYTES: Final = 200_000
"""Several parts, so that half of a snapshot would be seen."""


def acknowledge(*facts: object) -> None:
    """Say that something is durable."""
    os.write(1, json.dumps(facts).encode() + b"\n")


def snapshot(run: int, number: int) -> bytes:
    """Make a snapshot in which every piece tells which one it is."""
    return f"{run:03d}.{number:06d};".encode() * (SNAPSHOT_BYTES // 11)


async def append(sessions: Sessions, agent: str, run: int, client: int) -> None:
    """Append without end."""
    for number in itertools.count():
        lines = [f"{agent}.{run}.{client}.{number}.{half}" for half in "ab"]
        done = await sessions.append_session_output(agent, lines)
        acknowledge("append", agent, done.session_id, done.offset, lines)


async def write(sessions: Sessions, agent: str, run: int) -> None:
    """Write snapshots without end."""
    for number in itertools.count():
        done = await sessions.write_session_state(agent, snapshot(run, number))
        acknowledge("write", agent, done.session_id, done.revision, number)


async def archive(sessions: Sessions, agent: str) -> None:
    """Archive without end, whenever some lines have come."""
    while True:
        (stat,) = await sessions.stat([agent])
        if stat.total_lines > 40:
            done = await sessions.archive_session(agent)
            acknowledge("archive", agent, done.session_id, done.archived_at_ms)


async def main(directory: Path, run: int) -> None:
    """Open the store and let everyone at it."""
    clock = Clock()
    clock.now_ms = int(time.time() * 1000)
    store = OpenStore(ENGINE_KINDS[0], directory, clock, Limits())
    await store.open()
    sessions = store.sessions
    async with asyncio.TaskGroup() as tasks:
        for agent in AGENTS:
            for client in range(4):
                tasks.create_task(append(sessions, agent, run, client))
            tasks.create_task(write(sessions, agent, run))
            tasks.create_task(archive(sessions, agent))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
