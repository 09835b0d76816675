"""What `zonekeeper doctor` says: its checks and findings, as a table, as plain lines or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from srv.escapes import escaped
from srv.version import VERSION


class State(StrEnum):
    """How a check ended, and how much a finding weighs."""

    OK = "ok"
    SKIPPED = "skipped"
    """It could not be done, because of what another check found."""
    WARNING = "warning"
    LEFT = "left"
    """There is old data left to migrate."""
    WRONG = "wrong"


FAILING: Final = frozenset({State.LEFT, State.WRONG})
"""What makes the exit code 1."""

_ORDER: Final = list(State)
_STYLES: Final = {
    State.OK: "green",
    State.SKIPPED: "dim",
    State.WARNING: "yellow",
    State.LEFT: "yellow bold",
    State.WRONG: "red bold",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, left to migrate, or to be known.

    Attributes:
        word: what kind of thing it is; does not change.
        level: how much it weighs.
        message: a sentence for people; names zone, file and byte where it concerns one.
        hint: what to do about it.
        zone: the zone it concerns.
        file: the file it concerns.
        start_byte: where in the file the stored part begins that it concerns.
    """

    word: str
    level: State
    message: str
    hint: str
    zone: str | None = None
    file: str | None = None
    start_byte: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table.

    Attributes:
        area: `store`, `migration` or `environment`.
        name: what was checked.
        state: how it ended: that of the worst finding.
        detail: what was seen, for people.
        findings: what was found.
    """

    area: str
    name: str
    state: State
    detail: str
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, area: str, name: str, detail: str, findings: Sequence[Finding] = ()) -> Check:
        """Make a check whose state follows from its findings."""
        state = max((finding.level for finding in findings), key=_ORDER.index, default=State.OK)
        return cls(area, name, state, detail, tuple(findings))


@dataclass(slots=True)
class Report:
    """All that was found.

    Attributes:
        data_dir: the data directory.
        checks: in the order of the table.
        facts: members of the JSON that are not checks: `store`, `migration`, `environment`.
        findings_left_off: how many findings there are beyond those that the checks hold.
    """

    data_dir: Path
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    findings_left_off: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong, and nothing left to migrate."""
        return not any(check.state in FAILING for check in self.checks)

    def as_json(self) -> str:
        """Write it as JSON, in the shape that the README describes."""
        checks = [{key: value for key, value in asdict(check).items() if key != "findings"} for check in self.checks]
        findings = [
            {"area": check.area, "check": check.name, **asdict(finding)}
            for check in self.checks
            for finding in check.findings
        ]
        report = {
            "version": VERSION,
            "data_dir": str(self.data_dir),
            "ok": self.is_ok,
            "checks": checks,
            "findings": findings,
            "findings_left_off": self.findings_left_off,
            **self.facts,
        }
        return json.dumps(report, indent=2)

    def as_text(self) -> str:
        """Write it for people: as a table on a terminal, else in plain lines."""
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        pieces = [self._table() if is_terminal else self._plain(), *self._findings(), self._end()]
        return "\n".join(pieces)

    def _table(self) -> str:
        from rich.console import Console  # noqa: PLC0415 - takes a while, and the daemon never needs it
        from rich.table import Table  # noqa: PLC0415 - the same
        from rich.text import Text  # noqa: PLC0415 - the same

        table = Table("", "check", "state", "what was seen")
        area = ""
        for check in self.checks:
            cells = (check.area if check.area != area else "", check.name, Text(check.state, _STYLES[check.state]))
            table.add_row(*cells, Text(escaped(check.detail)))
            area = check.area
        console = Console(file=sys.stdout)
        with console.capture() as captured:
            console.print(table)
        return captured.get()

    def _plain(self) -> str:
        return "\n".join(
            f"{check.area:<12}{check.name:<13}{check.state:<9}{escaped(check.detail)}" for check in self.checks
        )

    def _findings(self) -> list[str]:
        lines = []
        for check in self.checks:
            for finding in check.findings:
                lines += ["", f"{finding.level}: {escaped(finding.message)}", f"  {escaped(finding.hint)}"]
        if self.findings_left_off:
            lines += ["", f"and {self.findings_left_off} more of the same"]
        return lines

    def _end(self) -> str:
        number = sum(finding.level in FAILING for check in self.checks for finding in check.findings)
        number += self.findings_left_off
        return f"\n{self.data_dir}: " + ("everything is in order" if self.is_ok else f"{number} to look at")
