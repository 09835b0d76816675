"""Daemons that are ended at random instants under a mixed load, and what must hold afterwards.

    ZONEKEEPER_SOAK_SECONDS=600 ZONEKEEPER_SOAK_SEED=12345 python -m tests.faults.soak

Each round: a crowd works on a running daemon, the daemon is ended in one of the ways of `ENDINGS`, a new one starts on what is
left, and everything in the store is compared with what the crowd knows: read straight from the file and checked by plain SQL,
and read over the wire. The seed fixes what is sent and when the end comes, not how threads and disk interleave.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Final, Self

from tests.faults.causes import locked
from tests.faults.crowd import CALLERS, Crowd
from tests.faults.ledger import Ledger
from tests.faults.stored import sessions_in, sessions_served, store_of
from tests.faults.wire import Caller
from tests.srv.daemon import Daemon, seconds_since

SOAK_SECONDS: Final = 300
STOP_SECONDS_MAX: Final = 5
_ROUNDS_OF_A_STORE: Final = 12
"""After so many rounds a new store begins: what is read again in each round stays small."""

SEED_NAME: Final = "ZONEKEEPER_SOAK_SEED"
SECONDS_NAME: Final = "ZONEKEEPER_SOAK_SECONDS"


@dataclass(frozen=True)
class Plan:
    """How long a soak takes, and the seed of all that is random in it."""

    seed: int
    seconds: float

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], seconds: float) -> Self:
        """Take both from the environment; without them a new seed, and this many seconds."""
        seed = environment.get(SEED_NAME) or SystemRandom().randrange(10**9)
        return cls(int(seed), float(environment.get(SECONDS_NAME) or seconds))


async def killed_at_an_instant(daemon: Daemon, crowd: Crowd, random: Random) -> None:
    """Kill it some time after the crowd has come."""
    await asyncio.sleep(random.uniform(0, 0.6))  # an instant, not something to wait for
    await _kill(daemon, crowd)


async def killed_at_an_answer(daemon: Daemon, crowd: Crowd, random: Random) -> None:
    """Kill it when so many changes are acknowledged."""
    wanted = crowd.ledger.acknowledged + random.randrange(1, 800)
    await crowd.until(lambda: crowd.ledger.acknowledged >= wanted)
    await _kill(daemon, crowd)


async def killed_while_stopping(daemon: Daemon, crowd: Crowd, random: Random) -> None:
    """Ask it to stop, and kill it before it can."""
    wanted = crowd.ledger.acknowledged + random.randrange(1, 400)
    await crowd.until(lambda: crowd.ledger.acknowledged >= wanted)
    daemon.signal()
    await asyncio.sleep(random.uniform(0, 0.05))  # as above
    await _kill(daemon, crowd)


async def killed_while_starting(daemon: Daemon, crowd: Crowd, random: Random) -> None:
    """Kill it, and the next two amid their start, when what was left is taken up."""
    await killed_at_an_answer(daemon, crowd, random)
    for _ in range(2):
        starting = Daemon(daemon.data_dir)
        await asyncio.sleep(random.uniform(0, 0.7))  # as above
        starting.process.kill()
        await asyncio.to_thread(starting.wait)


async def stopped(daemon: Daemon, crowd: Crowd, random: Random) -> None:
    """Ask it to stop: it exits 0, in time."""
    wanted = crowd.ledger.acknowledged + random.randrange(1, 400)
    await crowd.until(lambda: crowd.ledger.acknowledged >= wanted)
    started = time.monotonic()
    daemon.signal()
    await crowd.gone()
    assert await asyncio.to_thread(daemon.wait) == 0, daemon.log()
    assert seconds_since(started) < STOP_SECONDS_MAX


async def stopped_at_once(daemon: Daemon, crowd: Crowd, random: Random) -> None:
    """Ask it to stop, and again while it waits for a store that another program holds: it exits 0, at once."""
    wanted = crowd.ledger.acknowledged + random.randrange(1, 400)
    await crowd.until(lambda: crowd.ledger.acknowledged >= wanted)
    with locked(store_of(daemon.data_dir)):
        daemon.signal()
        await asyncio.to_thread(daemon.wait_for_log, "listening_no_more")
        started = time.monotonic()
        daemon.signal()
        await crowd.gone()
        assert await asyncio.to_thread(daemon.wait) == 0, daemon.log()
        assert seconds_since(started) < 1


async def _kill(daemon: Daemon, crowd: Crowd) -> None:
    daemon.process.kill()
    await crowd.gone()
    await asyncio.to_thread(daemon.wait)


Ending = Callable[[Daemon, Crowd, Random], Awaitable[None]]

ENDINGS: Final[tuple[Ending, ...]] = (
    killed_at_an_instant,
    killed_at_an_answer,
    killed_while_stopping,
    killed_while_starting,
    stopped,
    stopped_at_once,
)


async def check_all(daemon: Daemon, ledger: Ledger) -> None:
    """Check a store that nobody writes to against the ledger, in the file and over the wire."""
    kept = sessions_in(store_of(daemon.data_dir))
    ledger.check(kept)
    caller = await Caller.connect(daemon)
    try:
        served = await sessions_served(caller, sorted(CALLERS))
    finally:
        caller.close()
    told = [session if session.archived_at_ms is None else replace(session, covers_line=None) for session in kept]
    assert served == told, "what is served is not what is stored"


async def soak_store(data_dir: Path, plan: Plan, endings: list[Ending], say: Callable[[str], None]) -> None:
    """Let daemons on one data directory end in these ways, one after the other.

    Raises:
        AssertionError: something did not hold; the message names seed and round.
    """
    started = time.monotonic()
    ledger = Ledger()
    daemon = await asyncio.to_thread(Daemon.start, data_dir)
    number = 0
    try:
        for number, ending in enumerate(endings):
            seed = f"{plan.seed}/{number}"
            async with Crowd(daemon, ledger, seed) as crowd:
                await ending(daemon, crowd, Random(seed))
            assert '"level": "error"' not in daemon.log(), daemon.log()
            daemon = await asyncio.to_thread(Daemon.start, data_dir)
            await check_all(daemon, ledger)
            say(f"{seconds_since(started):5.1f} s  {ending.__name__.replace('_', ' ')}: {_summary(ledger)}")
        assert await asyncio.to_thread(daemon.stop) == 0
        ledger.check(sessions_in(store_of(data_dir)))
    except Exception as error:
        message = f"{SEED_NAME}={plan.seed}, round {number}, {endings[number].__name__}: {error}"
        raise AssertionError(message) from error
    finally:
        if daemon.process.poll() is None:
            daemon.kill()


def _summary(ledger: Ledger) -> str:
    counts = ledger.counts
    refused = sum(count for kind, count in counts.items() if kind.isupper())
    return (
        f"{counts['append']} appends, {counts['write']} writes, {counts['archive']} archives and {counts['read']} reads"
        f" answered, {refused} refused, {ledger.unknown} of unknown fate, {counts['duplicate']} sent twice"
    )


def endings_of(seed: int) -> list[Ending]:
    """Choose the ways in which the daemons of one store end: each at least once."""
    random = Random(seed)
    chosen = [*ENDINGS, *random.choices(ENDINGS, k=_ROUNDS_OF_A_STORE - len(ENDINGS))]
    random.shuffle(chosen)
    return chosen


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Soak one store after the other until the time is over; returns the exit code."""
    plan = Plan.from_environment(os.environ, SOAK_SECONDS)
    started = time.monotonic()
    _say(f"{SEED_NAME}={plan.seed} {SECONDS_NAME}={plan.seconds:g}")
    stores = 0
    while not stores or seconds_since(started) < plan.seconds:
        scratch = Path(tempfile.mkdtemp(prefix="zonekeeper-soak-"))
        each = replace(plan, seed=plan.seed + stores)
        stores += 1
        _say(f"store {stores}, seed {each.seed}, in {scratch}")
        try:
            asyncio.run(soak_store(scratch / "data", each, endings_of(each.seed), _say))
        except AssertionError as error:
            _say(f"FAILED: {error}\nThe store is left in {scratch}")
            return 1
        shutil.rmtree(scratch)
    _say(f"{stores} stores, {seconds_since(started):.0f} s: everything held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
