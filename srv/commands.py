"""The commands: one table of what each is for, what it takes and who carries it out. Parser, help and completion follow."""

from __future__ import annotations

import argparse
import importlib
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from srv.config import PROCESS_SETTINGS, Setting, Settings, add_options
from srv.exits import Exit, exit_codes_help

Run = Callable[[argparse.Namespace, Settings], int]

HELP_WIDTH: Final = 100
_SETTINGS_HELP: Final = (
    "An option with a name in brackets is also an environment variable of that name; the option counts before it."
)
_CLIENT_EXITS: Final = (Exit.STOPPED, Exit.FAILED, Exit.WRONG_USAGE)


def _rows(*names: str) -> list[Setting]:
    return [row for row in PROCESS_SETTINGS if row.name in names]


_DATA_DIR: Final = _rows("data-dir")
_DATA_DIR_AND_TOKEN: Final = _rows("data-dir", "token")
_UNASKED: Final = [replace(row, is_option=False) for row in _DATA_DIR]
_DATA_DIR_AND_LOGS: Final = [
    # The report says what was done; the log need only say what was wrong.
    replace(row, default=lambda: "warning", default_text="warning") if row.name == "log-level" else row
    for row in _rows("data-dir", "log-format", "log-level")
]


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a command, as `argparse` takes it."""

    flags: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table.

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
    settings: Callable[[], Sequence[Setting]] = lambda: _DATA_DIR_AND_TOKEN
    exits: tuple[Exit, ...] = _CLIENT_EXITS
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


def _daemon_settings() -> Sequence[Setting]:
    from srv import app  # noqa: PLC0415 - the whole daemon: the other commands start faster without

    return app.SETTINGS


def _argument(*flags: str, **settings: Any) -> Argument:
    return Argument(flags, settings)


def _flag(name: str, about: str) -> Argument:
    return _argument(name, action="store_true", help=about)


_METHOD: Final = _argument("method", metavar="METHOD", help="name of the method")
_PARAMS: Final = _argument(
    "params",
    metavar="PARAMS",
    nargs="?",
    help="JSON object (by name) or array (by position); - reads standard input",
)


def _json(method: str) -> Argument:
    return _flag("--json", f"print the result of {method} as JSON")


COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        "daemon",
        "serve",
        "run the daemon",
        "Migrate what an AgentMux installation left in the data directory, then listen. Standard output gets one JSON line "
        "when it listens; the log goes to standard error. SIGTERM or SIGINT stops it; a second one ends it at once.",
        "srv.serve_command:serve",
        "zonekeeper serve --port 0 --unix-socket ~/zonekeeper.sock",
        settings=_daemon_settings,
        exits=tuple(Exit),
        notes="ZONEKEEPER_TOKEN sets the token that callers must show. It is not an option, because others can read a command "
        "line. Without it a new one is made at each start, and left in DIR/auth.token; beside it in DIR/auth.read.token "
        "one that only reads, for debugging, which ZONEKEEPER_READ_TOKEN sets.",
    ),
    Command(
        "daemon",
        "status",
        "show how the running daemon is",
        "Ask the daemon that runs on the data directory how it is.",
        "srv.client_commands:status",
        "zonekeeper status",
        (_json("srv:status"),),
    ),
    Command(
        "daemon",
        "migrate",
        "carry over the data of an AgentMux installation, without serving",
        "Carry over what an AgentMux installation left in the data directory. `serve` does the same when it starts; the old "
        "files are only read. A daemon on the same directory must be stopped first.",
        "srv.migrate_command:migrate",
        "zonekeeper migrate --data-dir ~/agentmux --dry-run",
        (
            _flag("--dry-run", "write nothing; report what would be done"),
            _flag("--force", "look again, even where a marker says that all is done"),
            _flag("--json", "print the report as JSON"),
        ),
        lambda: _DATA_DIR_AND_LOGS,
        tuple(code for code in Exit if code is not Exit.CANNOT_LISTEN),
    ),
    Command(
        "daemon",
        "doctor",
        "check the store, the migration and the environment",
        "Check the store to the last byte, whether old data is left to migrate, and the environment. Nothing is changed, and "
        "a daemon may be running meanwhile. Exits 1 where something is wrong, or left to migrate.",
        "srv.doctor:doctor",
        "zonekeeper doctor",
        (_flag("--json", "print the report as JSON"),),
        lambda: _DATA_DIR,
        (*_CLIENT_EXITS, Exit.STORE_REFUSED),
    ),
    Command(
        "daemon",
        "backup",
        "copy the store, while the daemon runs as well",
        "Copy the store as it is at one instant into one file, check the copy, and only then give it its name. A daemon may be "
        "running meanwhile. An existing file is never replaced.",
        "srv.backup:backup",
        "zonekeeper backup ~/backups",
        (
            _argument(
                "destination", metavar="DEST", help="file to make, or a directory to make one in, named by the time"
            ),
            _flag("--json", "print what was done as JSON"),
        ),
        lambda: _DATA_DIR,
        (*_CLIENT_EXITS, Exit.STORE_REFUSED),
    ),
    Command(
        "tools",
        "call",
        "call any method of the running daemon",
        "Call a method of the daemon that runs on the data directory, and print its result as JSON. `zonekeeper call "
        "rpc.discover` describes every method.",
        "srv.client_commands:call",
        'zonekeeper call agent:session:read \'{"definition_id": "maks"}\'',
        (_METHOD, _PARAMS),
    ),
    Command(
        "tools",
        "completion",
        "print what makes a shell complete commands and options",
        "Print a script that makes a shell complete commands, options, files and directories.",
        "srv.completion:completion",
        "source <(zonekeeper completion bash)                     # in ~/.bashrc\n"
        'zonekeeper completion zsh > "${fpath[1]}/_zonekeeper"    # once\n'
        "zonekeeper completion tcsh > ~/.zonekeeper.tcsh          # once, and source that in ~/.tcshrc",
        (_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh"),),
        lambda: _UNASKED,
    ),
)
