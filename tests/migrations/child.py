"""A process that migrates a data directory and can be killed at any instant of it.

    python -m tests.migrations.child DATA_DIR

Prints a line at each instant and goes on when a line comes in: `before N` and `after N` around the N-th transaction of
the store, `read N` before the N-th chunk of old content inside one, `done` at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from migrations import run_migrations
from store.engine import Change, Engine, ImportSession, Outcome
from store.records import ImportFile
from store.sqlite import open_sqlite
from tests.migrations.conftest import NOW_MS

_reads = itertools.count(1)


def say(what: str) -> None:
    """Tell the instant, and wait."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()
    sys.stdin.readline()


def noted(chunks: Callable[[], Iterable[bytes]]) -> Callable[[], Iterator[bytes]]:
    """Wrap the reading of a file."""

    def read() -> Iterator[bytes]:
        for chunk in chunks():
            say(f"read {next(_reads)}")
            yield chunk

    return read


def watched(change: Change) -> Change:
    """Wrap the files of a session that is taken over."""
    if not isinstance(change, ImportSession):
        return change
    return replace(change, files=tuple(_file(file) for file in change.files))


def _file(file: ImportFile) -> ImportFile:
    return replace(file, chunks=noted(file.chunks))


def watch(engine: Engine) -> None:
    """Tell of every change of a store."""
    apply = engine.apply
    numbers = itertools.count(1)

    async def apply_watched(batch: Sequence[Change]) -> list[Outcome]:
        number = next(numbers)
        say(f"before {number}")
        outcomes = await apply([watched(change) for change in batch])
        say(f"after {number}")
        return outcomes

    engine.apply = apply_watched  # type: ignore[method-assign]  # the one place where it can be told


async def main(data_dir: Path) -> None:
    """Migrate."""
    engine = await open_sqlite(data_dir / "db" / "zones.db")
    watch(engine)
    await run_migrations(
        data_dir, engine, now_ms=lambda: NOW_MS, progress=lambda _: None, stop=lambda: False, busy_ms=1_000
    )
    await engine.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
