"""`python -m bench`: measure, and print one table."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench import (
    appends,
    archives,
    crowds,
    fleet,
    health,
    logs,
    machine,
    manners,
    migration,
    mounts,
    pages,
    readme,
    snapshots,
    starts,
)
from bench.engines import over_each
from bench.load import generator
from bench.processes import ROOT
from bench.rows import Row
from bench.scale import FULL, QUICK, Scale
from bench.table import HEADER, aligned, cells

MEASUREMENTS: Final[dict[str, Callable[[Scale, Path], list[Row]]]] = {
    "client": appends.client,
    "appends": appends.appends,
    "fleet": fleet.fleet,
    "single": over_each(appends.single),
    "lines": over_each(appends.lines),
    "snapshot": over_each(snapshots.snapshots),
    "space": over_each(snapshots.space),
    "mount": over_each(mounts.mounts),
    "archive": over_each(archives.archive),
    "list": over_each(archives.listing),
    "pages": over_each(pages.pages),
    "crowd": crowds.crowds,
    "start": over_each(starts.starts),
    "migration": migration.migration,
    "health": health.health,
    "manners": manners.manners,
    "log": logs.logs,
}
"""By the name that `--only` takes, in the order of the table."""


def main() -> None:
    """Read the options and do what they ask for."""
    parser = _parser()
    options = parser.parse_args()
    if options.write_readme and (options.only or options.quick):
        parser.error("the README shows a whole run: --write-readme goes with neither --only nor --quick")
    report = json.loads(options.earlier.read_text(encoding="utf-8")) if options.earlier else _measured(parser, options)
    rows = [Row.of(facts) for facts in report["rows"]]
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.json else _table(report, rows))
    if report["failed"]:
        sys.exit(f"not measured: {', '.join(report['failed'])}")
    if options.write_readme:
        readme.write(ROOT / "README.md", report["machine"], rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the daemon beside yardsticks taken in the same run (bench/README.md).",
    )
    names = ", ".join(MEASUREMENTS)
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        choices=MEASUREMENTS,
        metavar="NAME",
        help=f"measure only these of: {names}",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds; the figures mean nothing")
    parser.add_argument("--json", action="store_true", help="print every figure of every round as JSON")
    parser.add_argument("--from", dest="earlier", type=Path, metavar="FILE", help="show what --json printed earlier")
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md as well")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="keep the data there, on the disk to be measured")
    return parser


def _measured(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Any]:
    directory = options.directory or Path(tempfile.gettempdir())
    if machine.is_kept_in_memory(directory) and not options.quick:
        if options.directory:
            parser.error(f"{directory} is kept in memory, where nothing is durable; name a directory on a disk")
        directory = ROOT / "build"
        directory.mkdir(exist_ok=True)
    return run(QUICK if options.quick else FULL, options.only or list(MEASUREMENTS), directory)


def run(scale: Scale, names: Sequence[str], directory: Path) -> dict[str, Any]:
    """Run the measurements, each in a directory that is removed afterwards.

    One that fails is told on standard error and named in what comes back; the others go on.

    Returns:
        The facts of the machine, those of the rows, the names of what failed, and how long it took.
    """
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zonekeeper-bench-", dir=directory) as work:
        facts = {**machine.facts(Path(work)), "load generator": generator()}
    rows: list[Row] = []
    failed = []
    for name in (each for each in MEASUREMENTS if each in names):
        print(f"{time.monotonic() - begin:4.0f} s  {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="zonekeeper-bench-", dir=directory) as work:
            try:
                rows += MEASUREMENTS[name](scale, Path(work))
            except Exception:  # noqa: BLE001 - minutes of figures are not to be lost to one that could not be taken
                traceback.print_exc()
                failed.append(name)
    seconds = round(time.monotonic() - begin)
    return {"machine": facts, "rows": [row.facts() for row in rows], "failed": failed, "seconds": seconds}


def _table(report: dict[str, Any], rows: Sequence[Row]) -> str:
    facts = "\n".join(f"{name}: {value}" for name, value in report["machine"].items())
    wanted = [row for row in rows if row.holds is not None]
    held = sum(row.holds is True for row in wanted)
    end = f"{held} of {len(wanted)} figures hold; measured in {report['seconds']} s"
    return f"{facts}\n\n{aligned(HEADER, cells(rows))}\n\n{end}"


if __name__ == "__main__":
    main()
