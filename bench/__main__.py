"""`python -m bench`: measure everything and print it, one table after the other."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import appends, archives, health, machine, pages, snapshots
from bench.scale import FULL, QUICK, Scale
from bench.table import Table

_MEASUREMENTS: Final[dict[str, Callable[[Scale, Path], Table]]] = {
    "appends": appends.measure,
    "archive": archives.archive,
    "listing": archives.listing,
    "pages": pages.measure,
    "snapshots": snapshots.measure,
    "health": health.measure,
}


def main() -> None:
    """Read the options and run what they ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the daemon beside a bare echo server."
    )
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"measure only these of: {', '.join(_MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds; the figures mean nothing")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="measure the disk of this directory")
    options = parser.parse_args()
    unknown = set(options.only) - set(_MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    run(QUICK if options.quick else FULL, options.only or list(_MEASUREMENTS), options.directory)


def run(scale: Scale, names: list[str], directory: Path | None) -> None:
    """Run the measurements, each on a daemon of its own in a directory that is removed afterwards."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zonekeeper-bench-", dir=directory) as work:
        print(machine.facts(Path(work)), flush=True)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="zonekeeper-bench-", dir=directory) as work:
            print(_MEASUREMENTS[name](scale, Path(work)), flush=True)
    print(f"measured in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
