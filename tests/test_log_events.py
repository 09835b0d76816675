"""The log events: few, named, and listed in the README with their levels."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.test_layering import ROOT, modules, parsed
from tests.test_readme import rows

_LEVELS: Final = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
"""Of the methods of a logger."""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of a module's logger, each with its method."""
    for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("_log"), attr=method)):
                yield method, node


def logged() -> set[tuple[str, str]]:
    """Return the events that the code logs, with their levels."""
    found = set()
    for path in modules():
        for method, call in calls(ROOT / path):
            match call.args:
                case [ast.Constant(str(event))]:
                    found.add((event, _LEVELS[method]))
                case _:
                    raise AssertionError(f"{path}:{call.lineno}: the event must stand there as a literal")
    return found


def test_every_event_is_a_word() -> None:
    """A word can be searched for and counted; the rest of the line are facts beside it."""
    assert [event for event, _ in logged() if not re.fullmatch(r"[a-z]+(_[a-z]+)*", event)] == []


def test_the_readme_lists_the_events_of_the_code_with_their_levels() -> None:
    """Both ways: none is missing, and none is listed that is no longer logged."""
    listed = [(event, row[1]) for row in rows("Log events") for event in re.findall(r"`(\w+)`", row[0])]
    assert len(listed) == len(set(listed))
    assert set(listed) == logged()


def test_every_module_calls_its_logger_by_the_one_name() -> None:
    """So that the walk sees all that is logged."""
    for path in modules():
        text = (ROOT / path).read_text(encoding="utf-8")
        assert text.count("structlog.get_logger(") == text.count("_log = structlog.get_logger()"), path
