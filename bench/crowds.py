"""Appending and mounting in a store of many agents, beside a store of few: a call must not feel the others."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import fill, machine, processes, texts
from bench.client import Client, body
from bench.fill import Call
from bench.rows import Row, alternate, at_most, rank
from bench.scale import Scale

_FEW: Final = 100
_CALLS: Final = 5


def crowds(scale: Scale, directory: Path) -> list[Row]:
    """Call in turn for as many agents in each store, then for agents all over each."""
    many, few = directory / "many", directory / "few"
    _fill(many, scale.crowd_agents, scale.crowd_archives)
    _fill(few, _FEW, scale.crowd_archives)
    with (
        processes.daemon(many) as many_daemon,
        processes.daemon(few) as few_daemon,
        Client(many_daemon) as many_client,
        Client(few_daemon) as few_client,
    ):
        rows = []
        for method, params in (("append_output", {"line": texts.line(0)}), ("mount", {})):
            for active, which in ((_FEW, f"{_FEW} of"), (scale.crowd_agents, "all over")):
                ours, yardstick = alternate(
                    scale.short_rounds,
                    _taker(scale, many_client, method, active, params),
                    _taker(scale, few_client, method, _FEW, params),
                )
                name = f"{method.partition('_')[0]}, {which} {scale.crowd_agents:,} agents: p50"
                rows.append(Row(name, "ms", ours, yardstick, f"of {_FEW} agents", at_most(1.2)))
    return rows


def _fill(data_dir: Path, agents: int, archives: int) -> None:
    """Make a store. Its previews are made up: the daemon would work them out for minutes, beside what is measured."""
    with processes.daemon(data_dir) as daemon, Client(daemon) as client:
        fill.in_batches(client, _agents(agents, archives))
    with machine.durable_database(data_dir / "db" / "zones.db") as store:
        store.execute(machine.SQL["know_previews"])


def _agents(count: int, archives: int) -> Iterator[Call]:
    """Make the calls that give each agent its archives and a current session."""
    line, content = texts.line(0, 200), texts.snapshot(600)
    for number in range(count):
        agent = {"definition_id": f"agent-{number:05}"}
        for _ in range(archives):
            yield "append_output", {**agent, "line": line}
            yield "archive", agent
        yield "append_output", {**agent, "line": line}
        yield "write_state", {**agent, "content": content}


def _taker(scale: Scale, client: Client, method: str, agents: int, params: dict[str, str]) -> Callable[[], float]:
    chance = random.Random(agents)

    def take() -> float:
        chosen = [f"agent-{chance.randrange(agents):05}" for _ in range(scale.repetitions * _CALLS)]
        return rank([client.timed(body(method, definition_id=agent, **params)) for agent in chosen], 0.5)

    return take
