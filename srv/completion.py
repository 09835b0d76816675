"""`zonekeeper completion`: a script that makes a shell complete commands and options, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

import shtab

from srv.cli import parser_of
from srv.command_table import COMMANDS
from srv.config import Settings
from srv.exits import Exit
from srv.output import write_out

_PATHS: Final = {"DIR": shtab.DIRECTORY, "PATH": shtab.FILE, "FILE": shtab.FILE, "DEST": shtab.FILE}
"""What stands for a path in the help, and what completes it."""


def completion(options: argparse.Namespace, _settings: Settings) -> int:
    """Print the script for a shell."""
    parser = parser_of([command.name for command in COMMANDS])
    for each in _commands(parser):
        for action in _actions(each):
            if action.metavar in _PATHS:
                # The mark that shtab looks for.
                action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]  # argparse does not know it
    write_out(shtab.complete(parser, options.shell))
    return Exit.STOPPED


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in _actions(parser):
        if isinstance(action.choices, dict):
            yield from action.choices.values()


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no public way to them, and shtab takes this one
