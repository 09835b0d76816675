"""What a caller that behaves well notices of others that do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench import processes, rude
from bench.appends import bodies
from bench.load import Load, send
from bench.processes import ROOT, Server
from bench.rows import Row, alternate, at_most
from bench.scale import Scale

_PER_SECOND: Final = 200
_SHOWN: Final = {
    "half-open": f"{rude.HALF_OPEN_CONNECTIONS} half-open connections",
    "slow": "a body of one byte a second",
    "pipelined": f"{rude.PIPELINED_REQUESTS:,} requests pipelined",
}


def manners(scale: Scale, directory: Path) -> list[Row]:
    """Time appends at a moderate pace alone and beside each kind of bad manners, in turn."""
    with processes.daemon(directory / "data") as daemon:
        return [_beside(scale, daemon, kind) for kind in rude.KINDS]


def _beside(scale: Scale, daemon: Server, kind: str) -> Row:
    load = Load(daemon, bodies(scale), 1, scale.load_seconds, per_second=_PER_SECOND)
    send(load)  # what is first is slow, and not of interest

    def beside() -> float:
        with _rude(kind, daemon):
            return send(load).p99_ms

    ours, alone = alternate(scale.rounds, beside, partial(_p99, load))
    return Row(f"append beside {_SHOWN[kind]}: p99", "ms", ours, alone, "alone", at_most(3))


def _p99(load: Load) -> float:
    return send(load).p99_ms


@contextmanager
def _rude(kind: str, server: Server) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.rude", kind, str(server.port), server.token]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
