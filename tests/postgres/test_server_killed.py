"""Daemons and the server beneath them are killed while many callers are at it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.faults.soak import Plan, killed_at_an_instant, soak_store
from tests.postgres.soak import DAEMONS, cluster_site, server_killed, server_restarted

ENDINGS = (server_killed, killed_at_an_instant, server_restarted)


async def test_no_change_is_lost_or_doubled(tmp_path: Path) -> None:
    """One of two daemons is killed and the other goes on; or the server, and both go on by themselves when it is back.

    Whatever was acknowledged by either is there, once, where its answer said; what was refused is not; no change is half.
    """
    plan = Plan.from_environment(os.environ, 0)
    sys.stdout.write(f"{plan}\n")  # shown where the test fails, and by `pytest -s`
    with cluster_site(tmp_path / "data") as site:
        await soak_store(site, plan, ENDINGS, print, DAEMONS)
