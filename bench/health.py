"""How long `/healthz` takes while large snapshots are written and read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final

from bench import processes, texts
from bench.client import Client, body
from bench.load import Answers, Load, other_process, send
from bench.processes import Server
from bench.scale import Scale
from bench.table import Table, decimal, size, whole

_REQUEST: Final = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
_PAUSE_SECONDS: Final = 0.002


def measure(scale: Scale, directory: Path) -> Table:
    """Ask `/healthz` of the idle daemon, then while large snapshots replace each other, and of the echo server."""
    contents = [texts.snapshot(scale.health_snapshot_bytes, mark) for mark in ("one", "two")]
    writes = [body("write_state", definition_id="agent", content=content) for content in contents]
    read = body("read", definition_id="agent")
    with other_process() as load, processes.daemon(directory) as daemon, processes.echo(directory) as echo:
        idle = _ask(load, daemon, scale.health_seconds / 4)
        rows = [_row("idle daemon", idle.result(), 0)]
        for name, server, bodies in (
            ("daemon, written and read", daemon, [writes[0], read, writes[1], read]),
            ("echo of the same bodies", echo, writes),
        ):
            asked = _ask(load, server, scale.health_seconds)
            done = _keep_busy(server, bodies, asked)
            rows.append(_row(name, asked.result(), done))
    title = f"/healthz while snapshots of {size(len(contents[0]))} are written and read"
    header = ("server", "large calls", "asked", "p50 ms", "p99 ms", "max ms")
    return Table(title, header, rows, "The promise: 50 ms at p99, 100 ms at most (DESIGN.md section 3).")


def _ask(executor: Executor, server: Server, seconds: float) -> Future[Answers]:
    load = Load(server.port, (_REQUEST % server.port,), b" 200 ", seconds, pause_seconds=_PAUSE_SECONDS)
    return executor.submit(send, load)


def _keep_busy(server: Server, bodies: Sequence[bytes], until: Future[Answers]) -> int:
    """Send the bodies round and round until the asking is over; returns how many went through."""
    done = 0
    with Client(server) as client:
        while not until.done():
            answer = client.exchange(bodies[done % len(bodies)])
            if b'"error"' in answer[:200]:
                raise RuntimeError(f"the server answered {answer[:1000]!r}")
            done += 1
    return done


def _row(name: str, answers: Answers, large_calls: int) -> list[str]:
    if answers.failures:
        raise RuntimeError(f"{answers.failures} answers of /healthz were not what they should be")
    waits = [decimal(wait_ms) for wait_ms in (answers.p50_ms, answers.p99_ms, answers.max_ms)]
    return [name, whole(large_calls), whole(answers.count), *waits]
