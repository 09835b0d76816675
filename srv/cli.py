"""The command line: how it is read, and how a failure is told."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import Final

from srv.command_table import COMMANDS
from srv.commands import HELP_WIDTH, load
from srv.config import WrongSettingError, resolve
from srv.exits import Exit, StartFailedError, exit_codes_help
from srv.version import VERSION

_ABOUT: Final = "Keeps the conversations of AI agents, durably, behind JSON-RPC."
_EXAMPLE: Final = """\
example:
  zonekeeper serve                # then, in another terminal
  zonekeeper agents
  zonekeeper output maks --tail 50 --follow"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (`srv.exits.Exit`)."""
    _fill_standard_handles()
    given = sys.argv[1:] if arguments is None else arguments
    parser = parser_of(given)
    options = parser.parse_args(given)
    if options.run is None:
        parser.print_help(sys.stderr)
        return Exit.WRONG_USAGE
    try:
        settings = resolve(options.table, vars(options), os.environ)
        return load(options.run)(options, settings)
    except WrongSettingError as error:
        return _fail(Exit.WRONG_USAGE, str(error))
    except StartFailedError as error:
        return _fail(error.code, str(error))
    except KeyboardInterrupt:
        return _fail(Exit.FAILED, "interrupted")
    except OSError as error:
        # Else a path that may not be looked into, or that is none.
        reason = f"{error.filename or 'the system'}: {error.strerror}"
        return Exit.FAILED if isinstance(error, BrokenPipeError) else _fail(Exit.WRONG_USAGE, reason)


def _fill_standard_handles() -> None:
    """Put something in the place of a standard stream that we were started without.

    Else the next file to be opened, the store perhaps, would be our standard error to whoever writes there.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _fail(code: Exit, reason: str) -> int:
    if sys.stderr is not None:
        sys.stderr.write(f"zonekeeper: {reason}\n")
    return code


class _Parser(argparse.ArgumentParser):
    """The parser of the whole; its help lists the commands by group, which `argparse` does not."""

    def format_help(self) -> str:
        """Write the help."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for command in COMMANDS:
            groups.setdefault(command.group, []).append((command.name, command.summary))
        groups["options"] = [("-h, --help", "show this, or the help of a command"), ("--version", "show the version")]
        listed = (
            "\n".join([f"{title}:", *(f"  {name:<12}{summary}" for name, summary in rows)])
            for title, rows in groups.items()
        )
        pieces = [self.format_usage().rstrip(), textwrap.fill(_ABOUT, HELP_WIDTH), *listed, _EXAMPLE, exit_codes_help()]
        return "\n\n".join(pieces) + "\n"


def parser_of(names: Collection[str]) -> argparse.ArgumentParser:
    """Make the parser.

    Args:
        names: of the commands that get their arguments. What none is asked for need not be made, and `serve` needs the whole
            daemon for it; other words mean nothing.
    """
    parser = _Parser(prog="zonekeeper", usage="%(prog)s [-h] [--version] COMMAND ...")
    parser.add_argument("--version", action="version", version=f"zonekeeper {VERSION}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(metavar="COMMAND", prog="zonekeeper", parser_class=argparse.ArgumentParser)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.summary)
        if command.name in names:
            command.fill(sub)
    return parser
