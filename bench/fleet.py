"""Appends over PostgreSQL: beside SQLite, beside raw inserts, by several daemons on one server; and who is busy with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from bench import inserts, processes
from bench.appends import CONNECTIONS, bodies
from bench.client import Client, result_of
from bench.engines import POSTGRESQL, SQLITE, server
from bench.load import Load, send
from bench.processes import Server
from bench.rows import Row, alternate, at_least
from bench.scale import Scale

_DAEMONS: Final = 3
_CORES_MIN: Final = 8
"""A daemon and its server's process take a core each, and so does the load; with fewer the daemons wait for cores."""

_SHARE_OF_SQLITE: Final = 0.7
_SHARE_OF_INSERTS: Final = 0.8


@dataclass(slots=True)
class _Taken:
    """What a load over PostgreSQL came to, and the microseconds of a core that an append cost."""

    per_second: float
    daemons_us: float
    server_us: float


def fleet(scale: Scale, directory: Path) -> list[Row]:
    """Load a daemon over each engine, raw inserts, and three daemons, in turn."""
    with ExitStack() as stack:
        lite = stack.enter_context(SQLITE.daemon(directory / "lite"))
        url = POSTGRESQL.store_of(directory / "shared")
        daemons = [
            stack.enter_context(processes.daemon(directory / f"daemon-{number}", url)) for number in range(_DAEMONS)
        ]
        embedded: list[_Taken] = []
        alone: list[_Taken] = []
        together: list[_Taken] = []
        _loaded(scale, daemons)  # so that each knows its agents, and how large batches are is known
        batches = _batches(scale, daemons[0])
        on_sqlite, over_postgres, raw, by_three = alternate(
            scale.rounds,
            lambda: _noted(embedded, _loaded(scale, [lite])),
            lambda: _noted(alone, _loaded(scale, daemons[:1])),
            lambda: inserts.per_second(url, batches, scale.load_seconds),
            lambda: _noted(together, _loaded(scale, daemons)),
        )
    lower = [
        min(_SHARE_OF_SQLITE * sqlite, _SHARE_OF_INSERTS * inserted)
        for sqlite, inserted in zip(on_sqlite, raw, strict=True)
    ]
    enough_cores = (os.cpu_count() or 1) >= _CORES_MIN
    name = f"appends of 1 line, {CONNECTIONS} connections"
    rows = [
        Row(name, "/s", over_postgres, on_sqlite, "over SQLite"),
        Row(name, "/s", over_postgres, raw, f"raw inserts, {len(batches[0])} a commit"),
        Row(name, "/s", over_postgres, lower, "0.7 of the first or 0.8 of the second", at_least(1)),
        Row(
            f"{name} each, {_DAEMONS} daemons",
            "/s",
            by_three,
            over_postgres,
            "1 daemon",
            at_least(1.5) if enough_cores else None,
        ),
    ]
    sqlite_us = [each.daemons_us for each in embedded]
    for count, taken in ((1, alone), (_DAEMONS, together)):
        whose = f"core time of an append, {count} {'daemon' if count == 1 else 'daemons'}"
        rows.append(Row(f"{whose}: the daemon's", "µs", [each.daemons_us for each in taken], sqlite_us, "over SQLite"))
        rows.append(Row(f"{whose}: the server's", "µs", [each.server_us for each in taken]))
    return [replace(row, engine=POSTGRESQL.name) for row in rows]


def _noted(taken: list[_Taken], one: _Taken) -> float:
    taken.append(one)
    return one.per_second


def _loaded(scale: Scale, daemons: Sequence[Server]) -> _Taken:
    """Load daemons at once, each for agents of its own."""
    loads = [
        Load(daemon, bodies(scale, f"fleet-{number}"), CONNECTIONS, scale.load_seconds)
        for number, daemon in enumerate(daemons)
    ]
    before = _busy(daemons)
    with ThreadPoolExecutor(len(loads)) as senders:
        answers = list(senders.map(send, loads))
    spent = [after - earlier for after, earlier in zip(_busy(daemons), before, strict=True)]
    total = sum(each.total for each in answers)
    return _Taken(sum(each.per_second for each in answers), *(1e6 * seconds / total for seconds in spent))


def _busy(daemons: Sequence[Server]) -> tuple[float, float]:
    return sum(daemon.busy_seconds() for daemon in daemons), processes.family_seconds(server().pid)


def _batches(scale: Scale, daemon: Server) -> list[list[bytes]]:
    """Make batches as large as the daemon's were, of lines as long as its."""
    with Client(daemon) as client:
        status = result_of(client.exchange(orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "srv:status"})))
    size = max(1, round(status["writer"]["changes"] / status["writer"]["batches"]))
    lines = [f"{orjson.loads(each)['params']['line']}\n".encode() for each in bodies(scale)]
    return [(lines * size)[first : first + size] for first in range(0, len(lines), size)]
