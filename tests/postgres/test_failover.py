"""The server is lost for good, and its replica takes its place."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.faults.soak import Plan, Round, soak_store
from tests.postgres.foreign import connected
from tests.postgres.server import private_cluster
from tests.postgres.soak import DAEMONS, ClusterSite

_REPLICATING: Final = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


async def test_no_change_is_lost_or_doubled_by_a_promoted_replica(tmp_path: Path) -> None:
    """Two daemons whose URL names both servers go on by themselves, with all that was acknowledged.

    Commits wait for the replica. Those whose answers were lost are looked up on it: what the lost server alone had stored
    counts for nothing, and is stored anew, once.
    """
    plan = Plan.from_environment(os.environ, 0)
    sys.stdout.write(f"{plan}\n")  # shown where the test fails, and by `pytest -s`
    with private_cluster() as primary, private_cluster(primary) as replica:

        async def failed_over(this: Round) -> None:
            await this.until_more(this.random.randrange(1, 200))
            await asyncio.to_thread(primary.kill)
            await asyncio.to_thread(replica.promote)

        with connected(primary.url) as connection:
            connection.set_for_all("synchronous_standby_names", "*")
            while not connection.value(_REPLICATING):
                pass
        hosts = quote(f"{primary.directory},{replica.directory}")
        site = ClusterSite(tmp_path / "data", replica, f"postgresql://zonekeeper@/zonekeeper?host={hosts}")
        await soak_store(site, plan, [failed_over], print, DAEMONS)
