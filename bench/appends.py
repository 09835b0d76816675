"""Durable appends per second beside what a bare server answers to the same bodies."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

from bench import processes, texts
from bench.client import Client, body
from bench.load import Answers, Load, other_process, post, send
from bench.scale import Scale
from bench.table import Table, decimal, times, whole


def measure(scale: Scale, directory: Path) -> Table:
    """Load the daemon and the echo server in turn, with as many connections each, one agent per connection."""
    rows = []
    with other_process() as load, processes.daemon(directory) as daemon, processes.echo(directory) as echo:
        acknowledged = 0
        for connections in scale.connections:
            bare = _load(load, scale, connections, echo, b'"jsonrpc"')
            ours = _load(load, scale, connections, daemon, b'"result"')
            acknowledged += ours.total
            rows.append(_row(connections, ours, bare))
        with Client(daemon) as client:
            agents = client.call("stat", definition_ids=[_agent(n) for n in range(max(scale.connections))])
    stored = sum(agent["total_lines"] for agent in agents)
    if stored != acknowledged:
        raise RuntimeError(f"{acknowledged} lines were acknowledged and {stored} are stored")
    note = f"One line per append, one agent per connection. {whole(stored)} lines acknowledged, as many stored."
    header = ("connections", "appends/s", "echo/s", "ratio", "p50 ms", "p99 ms", "echo p50", "echo p99")
    return Table("Durable appends beside a bare aiohttp echo of the same bodies", header, rows, note)


def _load(executor: Executor, scale: Scale, connections: int, server: processes.Server, expected: bytes) -> Answers:
    bodies = [body("append_output", definition_id=_agent(n), line=texts.line(n)) for n in range(connections)]
    requests = tuple(post(server.port, each, server.token) for each in bodies)
    load = Load(server.port, requests, expected, scale.load_seconds, scale.warm_up_seconds)
    answers = executor.submit(send, load).result()
    if answers.failures:
        raise RuntimeError(f"{answers.failures} of {answers.total} answers were not what they should be")
    return answers


def _agent(number: int) -> str:
    return f"agent-{number:03}"


def _row(connections: int, ours: Answers, bare: Answers) -> list[str]:
    rates = [whole(ours.per_second), whole(bare.per_second), times(ours.per_second, bare.per_second)]
    waits = [decimal(wait_ms) for wait_ms in (ours.p50_ms, ours.p99_ms, bare.p50_ms, bare.p99_ms)]
    return [str(connections), *rates, *waits]
