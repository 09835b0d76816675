"""What many agents need, on paper: computed from what a line was measured to cost (`bench/cost.py`). See docs/scaling.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final, Self

AGENTS: Final = 1_000_000
LINES_PER_SECOND: Final = 40
"""Of each agent."""

LINE_BYTES: Final = 500
CONNECTIONS_OF_DAEMON: Final = 5

DAEMON_LOAD: Final = 0.6
"""How much of its one core a daemon is given to do."""

SERVER_LOG_BYTES_PER_SECOND: Final = 200_000_000
"""What a server is trusted to write of its log, all the time: its tables, a standby and an archive take the same bytes."""

DAYS_KEPT: Final = 7
DOLLARS_PER_GB_MONTH: Final = 0.08

_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Cost:
    """What a line of `LINE_BYTES` costs.

    Attributes:
        lines_of_call: that came in one call.
        lines_per_second: of one daemon and one server that shared the machine with their load.
        daemon_us: of a core, by the daemon.
        server_us: of a core, by the server.
        log_bytes: of the server's write-ahead log.
        stored_bytes: on the server's disk.
    """

    lines_of_call: int
    lines_per_second: float
    daemon_us: float
    server_us: float
    log_bytes: float
    stored_bytes: float

    @classmethod
    def of(cls, row: str) -> Self:
        """Take it from a row of the table again."""
        count, *figures = (float(figure.replace(",", "")) for figure in re.findall(r"[\d.,]+", row))
        return cls(int(count), *figures)


def measured(costs: Sequence[Cost]) -> str:
    """Show what was measured."""
    head = (
        "lines a call",
        "lines/s",
        "daemon, µs of a core a line",
        "server, µs of a core a line",
        "log, bytes a line",
        "stored, bytes a line",
    )
    forms = ("{}", "{:,.0f}", "{:.1f}", "{:.1f}", "{:,.0f}", "{:,.0f}")
    return _table(
        head, [[form.format(figure) for form, figure in zip(forms, astuple(cost), strict=True)] for cost in costs]
    )


def costs_of(table: str) -> list[Cost]:
    """Take them from what `measured` has shown."""
    return [Cost.of(row) for row in table.splitlines()[2:]]


def computed(costs: Sequence[Cost]) -> str:
    """Show what the agents need."""
    head = (
        "lines a call",
        "calls/s",
        "daemons",
        "server cores",
        "log, GB/s",
        "servers",
        "connections of each",
        "stored, TB a day",
        f"{DAYS_KEPT} days, $ a month",
        "a GB of lines, $ a month",
    )
    return _table(head, [_needs(cost) for cost in costs])


def _needs(cost: Cost) -> list[str]:
    lines = AGENTS * LINES_PER_SECOND
    daemons = lines * cost.daemon_us / 1e6 / DAEMON_LOAD
    log_bytes = lines * cost.log_bytes
    servers = log_bytes / SERVER_LOG_BYTES_PER_SECOND
    stored_bytes = lines * cost.stored_bytes * _DAY_SECONDS
    return [
        f"{cost.lines_of_call}",
        f"{lines / cost.lines_of_call:,.0f}",
        f"{daemons:,.0f}",
        f"{lines * cost.server_us / 1e6:,.0f}",
        f"{log_bytes / 1e9:,.1f}",
        f"{servers:,.0f}",
        f"{daemons / servers * CONNECTIONS_OF_DAEMON:,.0f}",
        f"{stored_bytes / 1e12:,.0f}",
        f"{stored_bytes * DAYS_KEPT / 1e9 * DOLLARS_PER_GB_MONTH:,.0f}",
        f"{cost.stored_bytes / LINE_BYTES * DOLLARS_PER_GB_MONTH:.3f}",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines).replace("| --- ", "|---").replace("|--- |", "|---|")
