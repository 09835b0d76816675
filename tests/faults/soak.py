"""Daemons that are ended at random instants under a mixed load, and what must hold afterwards.

    ZONEKEEPER_SOAK_SECONDS=600 ZONEKEEPER_SOAK_SEED=12345 python -m tests.faults.soak

Each round: a crowd works on a running daemon, the daemon is ended in one of the ways of `ENDINGS`, a new one starts on what is
left, and everything in the store is compared with what the crowd knows: read straight from the store and checked by plain SQL,
and read over the wire. The seed fixes what is sent and when the end comes, not how threads and disk interleave.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Final, Self

from tests.faults.crowd import CALLERS, Crowd
from tests.faults.ledger import Ledger
from tests.faults.site import Site, SqliteSite
from tests.faults.stored import sessions_served
from tests.faults.wire import Caller
from tests.srv.daemon import Daemon, seconds_since

SOAK_SECONDS: Final = 300
STOP_SECONDS_MAX: Final = 5
_ROUNDS_OF_A_STORE: Final = 12
"""After so many rounds a new store begins: what is read again in each round stays small."""

_CHANGES_AFTER: Final = 60
"""Acknowledged after an ending that some daemon has outlived: it goes on by itself."""

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


@dataclass(frozen=True)
class Round:
    """A crowd at work.

    Attributes:
        site: the store.
        daemon: the one that is ended; there may be others.
        crowd: who calls them.
        random: says when.
    """

    site: Site
    daemon: Daemon
    crowd: Crowd
    random: Random

    async def until_more(self, changes: int) -> None:
        """Wait until so many further changes are acknowledged."""
        wanted = self.crowd.ledger.acknowledged + changes
        await self.crowd.until(lambda: self.crowd.ledger.acknowledged >= wanted)

    async def kill(self) -> None:
        """Kill the daemon, and wait until its callers have noticed."""
        self.daemon.process.kill()
        await self.crowd.gone(self.daemon)
        await asyncio.to_thread(self.daemon.wait)


async def killed_at_an_instant(this: Round) -> None:
    """Kill it some time after the crowd has come."""
    await asyncio.sleep(this.random.uniform(0, 0.6))  # an instant, not something to wait for
    await this.kill()


async def killed_at_an_answer(this: Round) -> None:
    """Kill it when so many changes are acknowledged."""
    await this.until_more(this.random.randrange(1, 800))
    await this.kill()


async def killed_while_stopping(this: Round) -> None:
    """Ask it to stop, and kill it before it can."""
    await this.until_more(this.random.randrange(1, 400))
    this.daemon.signal()
    await asyncio.sleep(this.random.uniform(0, 0.05))  # as above
    await this.kill()


async def killed_while_starting(this: Round) -> None:
    """Kill it, and the next two amid their start, when what was left is taken up."""
    await killed_at_an_answer(this)
    for _ in range(2):
        starting = this.site.starting()
        await asyncio.sleep(this.random.uniform(0, 0.7))  # as above
        starting.process.kill()
        await asyncio.to_thread(starting.wait)


async def stopped(this: Round) -> None:
    """Ask it to stop: it exits 0, in time."""
    await this.until_more(this.random.randrange(1, 400))
    started = time.monotonic()
    this.daemon.signal()
    await this.crowd.gone(this.daemon)
    assert await asyncio.to_thread(this.daemon.wait) == 0, this.daemon.log()
    assert seconds_since(started) < STOP_SECONDS_MAX


async def stopped_at_once(this: Round) -> None:
    """Ask it to stop, and again while it waits for a store that another program holds: it exits 0, at once."""
    await this.until_more(this.random.randrange(1, 400))
    with this.site.locked():
        this.daemon.signal()
        await asyncio.to_thread(this.daemon.wait_for_log, "listening_no_more")
        started = time.monotonic()
        this.daemon.signal()
        await this.crowd.gone(this.daemon)
        assert await asyncio.to_thread(this.daemon.wait) == 0, this.daemon.log()
        assert seconds_since(started) < 1


Ending = Callable[[Round], Awaitable[None]]

ENDINGS: Final[tuple[Ending, ...]] = (
    killed_at_an_instant,
    killed_at_an_answer,
    killed_while_stopping,
    killed_while_starting,
    stopped,
    stopped_at_once,
)


async def check_all(site: Site, daemon: Daemon, ledger: Ledger) -> None:
    """Check a store that nobody writes to against the ledger, by plain SQL and over the wire."""
    kept = site.stored()
    ledger.check(kept)
    caller = await Caller.connect(daemon)
    try:
        served = await sessions_served(caller, sorted(CALLERS))
    finally:
        caller.close()
    told = [session if session.archived_at_ms is None else replace(session, covers_line=None) for session in kept]
    assert served == told, "what is served is not what is stored"


async def soak_store(
    site: Site, plan: Plan, endings: Sequence[Ending], say: Callable[[str], None], daemons: int = 1
) -> Ledger:
    """Let daemons on one store end in these ways, one after the other; where there are several the others go on meanwhile.

    Returns:
        What the callers know in the end.

    Raises:
        AssertionError: something did not hold; the message names seed and round.
    """
    started = time.monotonic()
    ledger = Ledger()
    running = [await asyncio.to_thread(site.start, number) for number in range(daemons)]
    number = 0
    try:
        for number, ending in enumerate(endings):
            await _round(site, running, ledger, f"{plan.seed}/{number}", ending)
            say(f"{seconds_since(started):5.1f} s  {ending.__name__.replace('_', ' ')}: {_summary(ledger)}")
        for daemon in running:
            assert await asyncio.to_thread(daemon.stop) == 0
        ledger.check(site.stored())
    except Exception as error:
        message = f"{SEED_NAME}={plan.seed}, round {number}, {endings[number].__name__}: {error}"
        raise AssertionError(message) from error
    finally:
        for daemon in running:
            if daemon.process.poll() is None:
                daemon.kill()
    return ledger


async def _round(site: Site, running: list[Daemon], ledger: Ledger, seed: str, ending: Ending) -> None:
    """End one of the daemons, start it again where it has gone, and check what all of them serve."""
    random = Random(seed)
    which = random.randrange(len(running))
    async with Crowd(running, ledger, seed, *site.words, reads_too=True) as crowd:
        this = Round(site, running[which], crowd, random)
        await ending(this)
        if len(running) > 1 or this.daemon.process.poll() is None:
            await this.until_more(_CHANGES_AFTER)
    assert site.words or '"level": "error"' not in this.daemon.log(), this.daemon.log()
    if this.daemon.process.poll() is not None:
        running[which] = await asyncio.to_thread(site.start, which)
    for daemon in running:
        await check_all(site, daemon, ledger)


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


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Soak one store after the other until the time is over; returns the exit code."""
    plan = Plan.from_environment(os.environ, SOAK_SECONDS)
    started = time.monotonic()
    say(f"{SEED_NAME}={plan.seed} {SECONDS_NAME}={plan.seconds:g}")
    stores = 0
    while not stores or seconds_since(started) < plan.seconds:
        scratch = Path(tempfile.mkdtemp(prefix="zonekeeper-soak-"))
        each = replace(plan, seed=plan.seed + stores)
        stores += 1
        say(f"store {stores}, seed {each.seed}, in {scratch}")
        try:
            asyncio.run(soak_store(SqliteSite(scratch / "data"), each, endings_of(each.seed), say))
        except AssertionError as error:
            say(f"FAILED: {error}\nThe store is left in {scratch}")
            return 1
        shutil.rmtree(scratch)
    say(f"{stores} stores, {seconds_since(started):.0f} s: everything held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
