"""Rubbish of every kind for as long as wanted, new at each run, and what must hold whatever comes.

    ZONEKEEPER_SOAK_SECONDS=600 ZONEKEEPER_SOAK_SEED=12345 python -m tests.fuzz.soak

Each round has a seed of its own: spoiled requests to a real daemon, then bodies out of the OpenRPC document to a dispatcher
over a real store, as in the tests. The seed fixes what is sent, but for token and port, not how threads interleave.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, seed, settings

from srv.logs import configure_logs
from store.limits import Limits
from tests.conftest import ENGINE_KINDS, Clock, OpenStore
from tests.faults.soak import SECONDS_NAME, SEED_NAME, SOAK_SECONDS, Plan
from tests.fuzz.conftest import wire_of
from tests.fuzz.envelopes import BODIES
from tests.fuzz.exchanges import exchange_with
from tests.fuzz.hostile import CASES, OPTIONS, Hostile
from tests.srv.daemon import Daemon, seconds_since

_BODIES: Final = 1_000
_ROUNDS_OF_A_DAEMON: Final = 20
"""After so many rounds a new daemon begins, so that its log, which is read after each, stays small."""


async def soak_daemon(hostile: Hostile, round_seed: int) -> None:
    """Send spoiled requests to a daemon. Raises `AssertionError` where something does not hold."""
    await hostile.round(str(round_seed), hostile.spoiled(str(round_seed), CASES))
    hostile.check_log()


def soak_dispatcher(directory: Path, round_seed: int) -> None:
    """Send bodies to a dispatcher over a store of its own. Raises `AssertionError` where something does not hold."""
    directory.mkdir()
    store = OpenStore(ENGINE_KINDS[0], directory, Clock(), Limits())
    with asyncio.Runner() as runner:
        runner.run(store.open())
        wire = wire_of(store)

        @seed(round_seed)
        @settings(max_examples=_BODIES, database=None, suppress_health_check=list(HealthCheck))
        @given(body=BODIES)
        def each(body: bytes) -> None:
            runner.run(exchange_with(wire, store, body))

        try:
            each()
        finally:
            runner.run(store.close())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _soak(scratch: Path, plan: Plan, started: float) -> int:
    """Soak one daemon; returns how many rounds there were."""
    with Daemon.start(scratch / "data", *OPTIONS) as daemon:
        hostile = Hostile(daemon)
        for number in range(_ROUNDS_OF_A_DAEMON):
            round_seed = plan.seed + number
            try:
                asyncio.run(soak_daemon(hostile, round_seed))
                soak_dispatcher(scratch / str(number), round_seed)
            except Exception as error:
                raise AssertionError(f"{SEED_NAME}={round_seed}: {error!r}") from error
            _say(f"{seconds_since(started):6.1f} s  seed {round_seed}: {CASES} spoiled requests, {_BODIES} bodies")
            if seconds_since(started) >= plan.seconds:
                return number + 1
    return _ROUNDS_OF_A_DAEMON


def main() -> int:
    """Soak one daemon after the other until the time is over; returns the exit code."""
    configure_logs("console", "error")
    plan = Plan.from_environment(os.environ, SOAK_SECONDS)
    started = time.monotonic()
    _say(f"{SEED_NAME}={plan.seed} {SECONDS_NAME}={plan.seconds:g}")
    rounds = 0
    while not rounds or seconds_since(started) < plan.seconds:
        scratch = Path(tempfile.mkdtemp(prefix="zonekeeper-fuzz-"))
        try:
            rounds += _soak(scratch, replace(plan, seed=plan.seed + rounds), started)
        except AssertionError as error:
            _say(f"FAILED: {error}\nThe store is left in {scratch}")
            return 1
        shutil.rmtree(scratch)
    _say(f"{rounds} rounds, {seconds_since(started):.0f} s: everything held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
