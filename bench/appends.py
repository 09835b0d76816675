"""Durable appends: how many a second, how long one takes alone, and how many lines a second where calls carry many."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench import inserts, machine, processes, texts
from bench.client import Client, body
from bench.engines import SQLITE, Engine
from bench.load import Answers, Load, send
from bench.processes import Server
from bench.rows import NOTHING, Row, alternate, at_least, at_most, rank
from bench.scale import Scale

CONNECTIONS: Final = 32
_CONNECTIONS_OF_MANY_LINES: Final = 8
_SYNCS: Final = 300


def client(scale: Scale, directory: Path) -> list[Row]:
    """Load a server that does nothing, beside the echo: the load generator must not be the limit."""
    with processes.responder(directory) as responder, processes.echo(directory, "") as echo:
        alone, bare = alternate(
            scale.rounds,
            lambda: _answers(scale, responder, scale.single_seconds).per_second,
            lambda: _answers(scale, echo, scale.single_seconds).per_second,
        )
    row = Row("client alone: a server that does nothing", "/s", alone, bare, "echo", at_least(2), engine=NOTHING)
    return [row]


def appends(scale: Scale, directory: Path) -> list[Row]:
    """Load the daemon and the echo in turn with the same bodies."""
    with processes.daemon(directory / "data") as daemon, processes.echo(directory, daemon.token) as echo:
        answers: list[Answers] = []

        def ours() -> float:
            answers.append(_answers(scale, daemon, scale.load_seconds))
            return answers[-1].per_second

        taken, bare = alternate(scale.rounds, ours, lambda: _answers(scale, echo, scale.load_seconds).per_second)
        _check_stored(scale, daemon, sum(each.total for each in answers))
    name = f"appends of 1 line, {scale.agents} agents, {CONNECTIONS} connections"
    return [Row(name, "/s", taken, bare, "echo", at_least(0.5, aim=0.65))]


def single(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Time single appends, beside one fdatasync and one echo."""
    requests = bodies(scale)

    def least() -> float:
        synced_ms = rank(machine.sync_waits_ms(directory, _SYNCS), 0.5)
        return synced_ms + send(Load(echo, requests, 1, scale.single_seconds)).p50_ms

    with engine.daemon(directory / "data") as daemon, processes.echo(directory, daemon.token) as echo:
        ours, yardstick = alternate(
            scale.rounds, lambda: send(Load(daemon, requests, 1, scale.single_seconds)).p50_ms, least
        )
    wanted = at_most(1.5) if engine is SQLITE else None
    return [Row("append of 1 line, 1 connection: p50", "ms", ours, yardstick, "fdatasync + echo", wanted)]


def lines(scale: Scale, directory: Path, engine: Engine) -> list[Row]:
    """Append many lines a call, beside the bare database that stores the same bytes.

    SQLite does so in this process, one transaction a call; PostgreSQL in one for all connections.
    """
    return [_many_lines(scale, directory, engine, count) for count in scale.lines_per_call]


def _many_lines(scale: Scale, directory: Path, engine: Engine, count: int) -> Row:
    texts_of = [texts.lines(number * count, count) for number in range(_CONNECTIONS_OF_MANY_LINES)]
    requests = [body("append_output", definition_id=f"many-{n}", lines=each) for n, each in enumerate(texts_of)]
    blobs = ["".join(f"{line}\n" for line in each).encode() for each in texts_of]

    seconds = scale.load_seconds if count == 100 else scale.single_seconds

    def ours() -> float:
        return count * send(Load(daemon, requests, _CONNECTIONS_OF_MANY_LINES, seconds)).per_second

    data_dir = directory / f"data-{count}"

    def bare() -> float:
        if url := engine.store_of(data_dir):
            return count * inserts.per_second(url, [blobs], seconds)
        return count * machine.blobs_per_second(directory, blobs, seconds)

    with engine.daemon(data_dir) as daemon:
        taken, raw = alternate(scale.rounds, ours, bare)
    name = f"lines, {count} a call, {_CONNECTIONS_OF_MANY_LINES} connections"
    against, wanted = ("SQLite in process", at_least(0.6, aim=0.8)) if engine is SQLITE else ("raw inserts", None)
    return Row(name, "/s", taken, raw, against, wanted if count == 100 else None)


def bodies(scale: Scale, kind: str = "agent") -> list[bytes]:
    """Make one append of one line per agent, each named after its kind."""
    return [
        body("append_output", definition_id=agent, line=texts.line(number))
        for number, agent in enumerate(_agents(scale, kind))
    ]


def _agents(scale: Scale, kind: str = "agent") -> list[str]:
    return [f"{kind}-{number:03}" for number in range(scale.agents)]


def _answers(scale: Scale, server: Server, seconds: float) -> Answers:
    return send(Load(server, bodies(scale), CONNECTIONS, seconds))


def _check_stored(scale: Scale, daemon: Server, acknowledged: int) -> None:
    """Make sure that what was acknowledged is stored. More may be: the load ends without waiting for its last answers."""
    with Client(daemon) as caller:
        stored = sum(agent["total_lines"] for agent in caller.call("stat", definition_ids=_agents(scale)))
    if stored < acknowledged:
        raise RuntimeError(f"{acknowledged} lines were acknowledged and {stored} are stored")
