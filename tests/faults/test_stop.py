"""The daemon is asked to stop while many callers are at it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Final

from tests.faults.crowd import Crowd
from tests.faults.ledger import Ledger
from tests.faults.site import Site
from tests.faults.soak import STOP_SECONDS_MAX, Plan, check_all, soak_store, stopped_at_once
from tests.srv.daemon import Daemon, seconds_since

SURELY_ARRIVED_BYTES: Final = 16_384
"""What is sent to a process that stands still waits in its socket whole, up to this size at least."""


async def test_a_stop_under_load_answers_all_that_has_arrived(site: Site) -> None:
    """SIGTERM amid changes and reads: each that was sent before is executed and answered, and the exit is 0 in time.

    Another program holds the store until the daemon has begun to stop: by then some wait for it, others in line, and reads have
    just arrived.
    """
    plan = Plan.from_environment(os.environ, 0)
    ledger = Ledger()
    with site.start() as daemon:
        async with Crowd([daemon], ledger, str(plan)) as crowd:
            await crowd.until(lambda: ledger.acknowledged >= 200)
            with site.locked():
                reads = ledger.counts["read"] + 30
                await crowd.until(lambda: ledger.counts["read"] >= reads)
                daemon.signal(signal.SIGSTOP)
                await asyncio.to_thread(os.waitid, os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)
                await crowd.stand_still()
                arrived = [caller for caller in crowd.callers if caller.request_bytes <= SURELY_ARRIVED_BYTES]
                before = [caller.executed for caller in arrived]
                started = time.monotonic()
                daemon.signal(signal.SIGTERM)
                daemon.signal(signal.SIGCONT)
                await asyncio.to_thread(daemon.wait_for_log, "listening_no_more")
            await crowd.gone()
            executed = [caller.executed > count for caller, count in zip(arrived, before, strict=True)]
            assert all(executed), plan
        assert daemon.wait() == 0
        assert seconds_since(started) < STOP_SECONDS_MAX
        assert "unanswered_requests" not in daemon.log()
    with site.start() as again:
        await check_all(site, again, ledger)


async def test_a_second_signal_under_load_loses_nothing(site: Site) -> None:
    """Whoever asks twice does not wait; the exit is 0, and everything acknowledged is there, once."""
    await soak_store(site, Plan.from_environment(os.environ, 0), [stopped_at_once], print)


def test_signals_up_to_the_very_end_leave_the_exit_code(data_dir: Path) -> None:
    """From `stopped` in the log on all is done: whoever goes on asking, until there is no process any more, gets 0 too."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Daemon.start(data_dir) as daemon:
            daemon.signal()
            daemon.wait_for_log("stopped")
            while daemon.process.poll() is None:
                daemon.signal(number)
            assert daemon.wait() == 0
            assert "stopped_at_once" not in daemon.log()
            assert "Traceback" not in daemon.log()
