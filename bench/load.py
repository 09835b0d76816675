"""A load: bodies that many connections send round robin, each its next one as soon as the last is answered.

`send` has wrk do it where wrk is installed, else `bench/sender.py`; both run in a process of their own, prepare the
requests beforehand and look at each answer for one word only, so that what is measured is the server. The row "client
alone" shows how fast they are.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.processes import ROOT, Server


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be sent.

    Attributes:
        server: to whom.
        bodies: of the requests; none holds a line end.
        connections: how many send them.
        seconds: for how long; 0 until it is stopped.
        count: how many in all; 0 for as many as fit into the time.
        per_second: how many a second; 0 for as many as are answered.
        get: a path to ask for instead of sending bodies.
        expected: what every answer must hold.
    """

    server: Server
    bodies: Sequence[bytes]
    connections: int
    seconds: float = 0.0
    count: int = 0
    per_second: float = 0.0
    get: str = ""
    expected: str = '"result"'


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back.

    Attributes:
        total: number of answers.
        failures: answers that are no results, and connections that were lost.
        seconds: from the first request to the last answer.
        p50_ms: half of the answers took at most this long.
        p99_ms: 99 of 100 took at most this long.
        max_ms: the longest.
    """

    total: int
    failures: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.total / self.seconds


def generator() -> str:
    """Name what sends the load."""
    return "wrk" if shutil.which("wrk") else "bench/sender.py"


def send(load: Load) -> Answers:
    """Send a load and wait for its end.

    Raises:
        RuntimeError: an answer was not a result; the figures of failed calls would mislead.
    """
    # wrk knows whole seconds only, and neither a count nor a pace.
    if shutil.which("wrk") and load.seconds and load.seconds == int(load.seconds) and not load.count + load.per_second:
        return _answers(_sent_by_wrk(load))
    with going_on(load) as answers:
        return answers()


@contextmanager
def going_on(load: Load) -> Iterator[Callable[[], Answers]]:
    """Have a load sent during the block; what is yielded waits for its end. At the end of the block it is stopped.

    Raises as `send` does.
    """
    with _sender(load) as process:
        assert process.stdout is not None
        printed = process.stdout
        ended: list[Answers] = []

        def answers() -> Answers:
            if not ended:
                ended.append(_answers(printed.readline()))
            return ended[0]

        yield answers
        if not ended:
            process.terminate()
            answers()


def _sent_by_wrk(load: Load) -> str:
    with tempfile.NamedTemporaryFile(prefix="zonekeeper-bench-", suffix=".bodies") as bodies:
        bodies.write(b"\n".join(load.bodies) + b"\n")
        bodies.flush()
        script = str(Path(__file__).with_name("load.lua"))
        options = ["-t1", f"-c{load.connections}", f"-d{load.seconds:.0f}s", "--timeout", "30s", "-s", script]
        url = f"http://127.0.0.1:{load.server.port}/rpc"
        command = ["wrk", *options, url, "--", bodies.name, load.server.token, load.expected]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


@contextmanager
def _sender(load: Load) -> Iterator[subprocess.Popen[str]]:
    orders = asdict(load) | {"bodies": [body.decode() for body in load.bodies]}
    with subprocess.Popen(
        [sys.executable, "-m", "bench.sender"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(orders))
            process.stdin.close()
            process.stdout.readline()  # it has begun
            yield process
        finally:
            process.kill()


def _answers(line: str) -> Answers:
    facts: dict[str, Any] = json.loads(line)
    answers = Answers(**{each.name: facts[each.name] for each in fields(Answers)})
    if answers.failures or not answers.total:
        raise RuntimeError(f"{answers.failures} of {answers.total} answers were not results")
    return answers
