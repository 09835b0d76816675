"""The command line: which commands there are, what they take, and how a failure is told."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import structlog

from srv import app, backup, client_commands, doctor, migrate_command
from srv.config import Settings, WrongSettingError, add_options, resolve, unknown_variables
from srv.exits import EXIT_CODES_HELP, Exit, StartFailedError
from srv.logs import configure_logs
from srv.version import VERSION

Command = Callable[[argparse.Namespace, Settings], int]

_log = structlog.get_logger()

_DATA_DIR: Final = [row for row in app.SETTINGS if row.name == "data-dir"]
_DATA_DIR_AND_LOGS: Final = [
    # The report says what was done; the log need only say what was wrong.
    replace(row, default=lambda: "warning", default_text="warning") if row.name == "log-level" else row
    for row in app.SETTINGS
    if row.name in {"data-dir", "log-format", "log-level"}
]
_DATA_DIR_AND_TOKEN: Final = [row for row in app.SETTINGS if row.name in {"data-dir", "token"}]

_DESCRIPTION: Final = "Keeps the conversations of AI agents, durably, behind JSON-RPC."
_DOOR_HELP: Final = (
    "ZONEKEEPER_TOKEN sets the token that callers must show. It is not an option, because others can read a command line. "
    "Without it a new one is made at each start, and left in DIR/auth.token."
)
_SETTINGS_HELP: Final = "Every option is also an environment variable, named in brackets; the option counts before it."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (`srv.exits.Exit`)."""
    _fill_standard_handles()
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return Exit.WRONG_USAGE
    command: Command = options.command
    try:
        return command(options, resolve(options.table, vars(options), os.environ))
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zonekeeper",
        description=_DESCRIPTION,
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zonekeeper {VERSION}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_serve(commands)
    _add_migrate(commands)
    _add_doctor(commands)
    _add_backup(commands)
    _add_status(commands)
    _add_call(commands)
    return parser


class _Commands(Protocol):
    """What `add_subparsers` returns has no public type."""

    def add_parser(self, name: str, **settings: Any) -> argparse.ArgumentParser:
        """Add a command."""


def _add_serve(commands: _Commands) -> None:
    about = (
        "Migrate what an AgentMux installation left in the data directory, then listen. Standard output gets one JSON line "
        "when it listens; the log goes to standard error. SIGTERM or SIGINT stops it; a second one ends it at once."
    )
    parser = commands.add_parser(
        "serve",
        help="run the daemon",
        description=textwrap.fill(f"{about} {_SETTINGS_HELP}", 100),
        epilog=f"{EXIT_CODES_HELP}\n\n{textwrap.fill(_DOOR_HELP, 100)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, app.SETTINGS)
    parser.set_defaults(command=_serve, table=app.SETTINGS)


def _add_migrate(commands: _Commands) -> None:
    parser = commands.add_parser(
        "migrate",
        help="carry over the data of an AgentMux installation, without serving",
        description="Carry over what an AgentMux installation left in the data directory. `serve` does the same when it "
        f"starts; the old files are only read. A daemon on the same directory must be stopped first. {_SETTINGS_HELP}",
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing; report what would be done")
    parser.add_argument("--force", action="store_true", help="look again, even where a marker says that all is done")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_options(parser, _DATA_DIR_AND_LOGS)
    parser.set_defaults(command=migrate_command.migrate, table=_DATA_DIR_AND_LOGS)


def _add_doctor(commands: _Commands) -> None:
    parser = commands.add_parser(
        "doctor",
        help="check the store, the migration and the environment",
        description="Check the store to the last byte, whether old data is left to migrate, and the environment. Nothing is "
        "changed, and a daemon may be running meanwhile. Exits 1 where something is wrong, or left to migrate. "
        f"{_SETTINGS_HELP}",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_options(parser, _DATA_DIR)
    parser.set_defaults(command=doctor.doctor, table=_DATA_DIR)


def _add_backup(commands: _Commands) -> None:
    parser = commands.add_parser(
        "backup",
        help="copy the store, while the daemon runs as well",
        description="Copy the store as it is at one instant into one file, check the copy, and only then give it its name. "
        f"A daemon may be running meanwhile. An existing file is never replaced. {_SETTINGS_HELP}",
    )
    parser.add_argument(
        "destination", metavar="DEST", help="file to make, or a directory to make one in, named by the time"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    add_options(parser, _DATA_DIR)
    parser.set_defaults(command=backup.backup, table=_DATA_DIR)


def _add_status(commands: _Commands) -> None:
    parser = commands.add_parser(
        "status",
        help="show how the running daemon is",
        description=f"Ask the daemon that runs on the data directory how it is. {_SETTINGS_HELP}",
    )
    parser.add_argument("--json", action="store_true", help="print the result of srv:status as JSON")
    add_options(parser, _DATA_DIR)
    parser.set_defaults(command=client_commands.status, table=_DATA_DIR_AND_TOKEN)


def _add_call(commands: _Commands) -> None:
    parser = commands.add_parser(
        "call",
        help="call any method of the running daemon",
        description="Call a method of the daemon that runs on the data directory, and print its result as JSON. "
        f"`zonekeeper call rpc.discover` describes every method. {_SETTINGS_HELP}",
        epilog='example: zonekeeper call agent:session:read \'{"definition_id": "maks"}\'',
    )
    parser.add_argument("method", metavar="METHOD", help="name of the method")
    parser.add_argument(
        "params",
        metavar="PARAMS",
        nargs="?",
        help="JSON object (by name) or array (by position); - reads standard input",
    )
    add_options(parser, _DATA_DIR)
    parser.set_defaults(command=client_commands.call, table=_DATA_DIR_AND_TOKEN)


def _serve(_options: argparse.Namespace, settings: Settings) -> int:
    # Whoever we start, such as the reader of a large snapshot, must not inherit the token.
    os.environ.pop("ZONEKEEPER_TOKEN", None)
    configure_logs(settings.log_format, settings.log_level)
    for name in unknown_variables(app.SETTINGS, os.environ):
        _log.warning("unknown_setting", variable=name)
    try:
        app.run(app.serve(settings))
    except StartFailedError as error:
        _log.error("start_failed", code=int(error.code), reason=str(error))
        return error.code
    except Exception:  # noqa: BLE001 - a fault of ours: told in full, and the process ends
        _log.exception("failed")
        return Exit.FAILED
    return Exit.STOPPED
