"""Spoiled requests to a real daemon: it answers or ends each, tells nothing of its inside, and does nothing unasked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from tests.faults.soak import SEED_NAME
from tests.fuzz.hostile import CASES, OPTIONS, Case, Held, Hostile
from tests.srv.daemon import Daemon

SEED: Final = "7"
MEMORY_BYTES_MAX: Final = 24 * 2**20


async def test_spoiled_requests_break_nothing_and_leave_nothing_behind(tmp_path: Path) -> None:
    """No failure, hang, leak, nor two requests where there is one; no change but by a whole call that shows the token."""
    seed = os.environ.get(SEED_NAME, SEED)
    sys.stdout.write(f"{SEED_NAME}={seed}\n")  # shown where the test fails
    with Daemon.start(tmp_path / "data", *OPTIONS) as daemon:
        hostile = Hostile(daemon)
        assert await hostile.round("good", hostile.good("good")) == {"good"}, "what is not spoiled is not served"
        assert await hostile.round("tokenless", hostile.tokenless("tokenless")) == set(), "there needs no token"
        before = await settled(hostile)
        await hostile.round(seed, hostile.framed("framed") + hostile.spoiled(seed, CASES))
        after = await settled(hostile)
        hostile.check_log()
    if before is not None and after is not None:
        assert after.sockets == before.sockets
        assert after.memory_bytes < before.memory_bytes + MEMORY_BYTES_MAX


async def settled(hostile: Hostile) -> Held | None:
    """Look at what the daemon holds when all have gone, of which it hears within a few answers; only Linux tells."""
    if sys.platform != "linux":
        return None
    found = []
    for _ in range(20):
        await hostile.round("look", [Case(hostile.daemon.head("GET", "/healthz"), None, ends=True)])
        found.append(Held.by(hostile.daemon.process.pid))
    return min(found, key=lambda held: held.sockets)
