"""What a command is: what it is for, what it takes and who carries it out; and how a parser gets to know of it."""

from __future__ import annotations

import argparse
import importlib
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from srv.config import Setting, Settings, add_options
from srv.exits import Exit, exit_codes_help
from srv.setting_table import PROCESS_SETTINGS

Run = Callable[[argparse.Namespace, Settings], int]

HELP_WIDTH: Final = 100

CLIENT_SETTINGS: Final = [row for row in PROCESS_SETTINGS if row.name in {"data-dir", "token", "read-token"}]
CLIENT_EXITS: Final = (Exit.STOPPED, Exit.FAILED, Exit.WRONG_USAGE)
"""Of the commands that are clients of a running daemon."""

_SETTINGS_HELP: Final = (
    "An option with a name in brackets is also an environment variable of that name; the option counts before it."
)


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a command, as `argparse` takes it."""

    flags: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table (`srv/command_table.py`).

    Attributes:
        group: under which it is listed.
        name: of the command.
        summary: a line about it.
        about: what it does, for its own help.
        run: where it is carried out, `module:function`; imported only when it is.
        example: a command line, and what it is for.
        arguments: what it takes besides settings.
        settings: makes the rows of the settings that it takes.
        exits: the codes it ends with.
        notes: what else is to be known.
    """

    group: str
    name: str
    summary: str
    about: str
    run: str
    example: str
    arguments: tuple[Argument, ...] = ()
    settings: Callable[[], Sequence[Setting]] = lambda: CLIENT_SETTINGS
    exits: tuple[Exit, ...] = CLIENT_EXITS
    notes: str = ""

    def fill(self, parser: argparse.ArgumentParser) -> None:
        """Give a parser what the command takes, and its help."""
        table = self.settings()
        has_options = any(row.is_option for row in table)
        about = f"{self.about} {_SETTINGS_HELP}" if has_options else self.about
        parser.description = textwrap.fill(about, HELP_WIDTH)
        parser.epilog = "\n\n".join(
            [
                f"example:\n{textwrap.indent(self.example, '  ')}",
                exit_codes_help(self.exits),
                *([textwrap.fill(self.notes, HELP_WIDTH)] if self.notes else []),
            ]
        )
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        for argument in self.arguments:
            parser.add_argument(*argument.flags, **argument.settings)
        add_options(parser, table)
        parser.set_defaults(run=self.run, table=table)


def load(run: str) -> Run:
    """Import what carries out a command."""
    module, _, function = run.partition(":")
    loaded: Run = getattr(importlib.import_module(module), function)
    return loaded
