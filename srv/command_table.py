"""The commands: one table, by group in the order of the help. Parser, help and completion follow from it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from srv.commands import CLIENT_EXITS, Argument, Command
from srv.config import Setting
from srv.exits import Exit
from srv.setting_table import PROCESS_SETTINGS

NUMBER_MAX: Final = 2**53 - 1
"""The largest whole number that the daemon takes."""


def _rows(*names: str) -> list[Setting]:
    return [row for row in PROCESS_SETTINGS if row.name in names]


_DATA_DIR: Final = _rows("data-dir")
_UNASKED: Final = [replace(row, is_option=False) for row in _DATA_DIR]
_DATA_AND_LOGS: Final = [
    # The report says what was done; the log need only say what was wrong.
    replace(row, default=lambda: "warning", default_text="warning") if row.name == "log-level" else row
    for row in _rows("data-dir", "store", "durability", "log-format", "log-level")
]


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= NUMBER_MAX):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {NUMBER_MAX}, got {text[:100]!r}")
    return int(text)


def _text(argument: str) -> str:
    """Take a text. A command line may hold any bytes, and those that are no text come as halves of characters."""
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("must be UTF-8") from error
    return argument


def _daemon_settings() -> Sequence[Setting]:
    from srv import app  # noqa: PLC0415 - the whole daemon: the other commands start faster without

    return app.SETTINGS


def _argument(*flags: str, **settings: Any) -> Argument:
    return Argument(flags, settings)


def _flag(name: str, about: str) -> Argument:
    return _argument(name, action="store_true", help=about)


def _number(name: str, metavar: str, about: str) -> Argument:
    return _argument(name, metavar=metavar, type=_whole_number, help=about)


def _json(method: str) -> Argument:
    return _flag("--json", f"print the result of {method} as JSON")


_DEFINITION_ID: Final = _argument("definition_id", metavar="DEFINITION_ID", type=_text, help="id of the agent")
_SESSION_ID: Final = _argument(
    "--session-id", metavar="ID", type=_text, help="do it only while this is the current session"
)
_ARCHIVE: Final = _number("--archive", "MS", "of the archive of that time, unix ms as `list` shows it")
_FILE: Final = _argument(
    "file", metavar="FILE", nargs="?", default="-", help="file to read; standard input where it is absent or -"
)
_METHOD: Final = _argument("method", metavar="METHOD", help="name of the method")
_PARAMS: Final = _argument(
    "params",
    metavar="PARAMS",
    nargs="?",
    help="JSON object (by name) or array (by position); - reads standard input",
)


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
        lambda: _DATA_AND_LOGS,
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
        lambda: _rows("data-dir", "store", "durability", "free-bytes-warning", "free-bytes-critical"),
        (*CLIENT_EXITS, Exit.STORE_REFUSED),
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
        lambda: _rows("data-dir", "store"),
        (*CLIENT_EXITS, Exit.STORE_REFUSED, Exit.STORE_AWAY),
    ),
    Command(
        "daemon",
        "copy",
        "copy all sessions to another store, while the daemon runs as well",
        "Copy all sessions to another store, of either kind, as they are: ids, revisions and times included. What was copied "
        "is read back, and checksums are compared. FROM is only read, and its daemon may be running meanwhile. Interrupted, or "
        "run again later, it copies only what has changed; so stop the daemon, run it once more, and start on the copy.",
        "srv.copy_command:copy",
        "zonekeeper copy ~/.local/share/zonekeeper postgresql://zonekeeper@db.example/agents",
        (
            _argument(
                "source", metavar="FROM", help="a data directory, a file such as a backup, or a postgresql:// URL"
            ),
            _argument(
                "target",
                metavar="TO",
                help="the same: empty, or a copy of FROM that no daemon has served; a file ends in .db",
            ),
            _flag("--verify-all", "read every file on both sides, also those that were copied before"),
            _flag("--json", "print what was done as JSON"),
        ),
        lambda: [*_UNASKED, *_rows("durability")],
        tuple(code for code in Exit if code not in {Exit.MIGRATION_FAILED, Exit.CANNOT_LISTEN}),
        notes="A password does not belong into FROM or TO, where every process may read it: ~/.pgpass or PGPASSWORD tells it.",
    ),
    Command(
        "daemon",
        "systemd",
        "print the unit that runs the daemon under systemd",
        "Print the unit that runs the daemon under systemd, for yourself or for the whole system. It names this command and "
        "the data directory, and needs no editing.",
        "srv.systemd_command:systemd",
        "zonekeeper systemd > ~/.config/systemd/user/zonekeeper.service",
        (
            _flag(
                "--system",
                "for the system: run as the owner of DIR, or without --data-dir as a user of its own, in /var/lib/zonekeeper",
            ),
            _flag("--socket", "print the unit of the sockets instead: the first caller starts the daemon"),
        ),
        lambda: _DATA_DIR,
    ),
    Command(
        "sessions",
        "agents",
        "list the agents that have a session, current or archived",
        "List the agents that have a session, current or archived, in the order of their ids.",
        "srv.session_commands:agents",
        "zonekeeper agents",
        (
            _number("--limit", "N", "agents at most; all where absent"),
            _argument("--after", metavar="ID", type=_text, help="only those beyond this id"),
            _json("agent:session:list_agents"),
        ),
    ),
    Command(
        "sessions",
        "stat",
        "describe agents by sizes and counts",
        "Describe the current sessions of agents by sizes and counts; no content is read.",
        "srv.session_commands:stat",
        "zonekeeper stat maks mira",
        (
            _argument("definition_ids", metavar="DEFINITION_ID", type=_text, nargs="+", help="ids of the agents"),
            _json("agent:session:stat"),
        ),
    ),
    Command(
        "sessions",
        "read",
        "print the snapshot",
        "Print the snapshot of the current session, or of an archive, as it is stored. Where standard output is a terminal, "
        "control characters are escaped.",
        "srv.session_commands:read",
        "zonekeeper read maks > maks.json",
        (_DEFINITION_ID, _ARCHIVE, _json("agent:session:read, or :read_archive,")),
    ),
    Command(
        "sessions",
        "output",
        "print the output",
        "Print the lines of the output of the current session, or of an archive: all of them, unless told otherwise. Where "
        "standard output is a terminal, control characters are escaped.",
        "srv.output_command:output",
        "zonekeeper output maks --tail 50 --follow",
        (
            _DEFINITION_ID,
            _ARCHIVE,
            _number("--tail", "N", "only the last N lines"),
            _number("--first-line", "N", "only from line N on, counted from 0"),
            _number("--limit", "N", "N lines at most"),
            _flag("--follow", "go on with what is appended, until the session is archived or Ctrl-C is pressed"),
            _flag("--json", "print the results of agent:session:read_output, a page a line"),
        ),
    ),
    Command(
        "sessions",
        "mount",
        "print what a pane needs at once",
        "Print what a pane shows when it opens, of one instant: the facts of the session and its snapshot, and the lines of "
        "output that the snapshot does not cover.",
        "srv.session_commands:mount",
        "zonekeeper mount maks --tail 20",
        (
            _DEFINITION_ID,
            _number("--tail", "N", "the last N of those lines at most"),
            _json("agent:session:mount"),
        ),
    ),
    Command(
        "sessions",
        "write",
        "replace the snapshot",
        "Create the snapshot of the current session, or replace it as a whole, by what a file or standard input holds. "
        "Nothing at all is not taken for a snapshot.",
        "srv.input_commands:write",
        "zonekeeper write maks maks.json --expect-revision 7",
        (
            _DEFINITION_ID,
            _FILE,
            _SESSION_ID,
            _number("--expect-revision", "N", "write only if this revision is stored; 0: only if there is none"),
            _number("--covers-line", "N", "number of output lines that the snapshot already contains"),
            _json("agent:session:write_state"),
        ),
    ),
    Command(
        "sessions",
        "append",
        "append lines to the output",
        "Append the lines of a file or of standard input to the output of the current session, each as soon as it has come, "
        "and exactly once. A last line that lacks its end gets one.",
        "srv.input_commands:append",
        "agent --json | zonekeeper append maks",
        (
            _DEFINITION_ID,
            _FILE,
            _SESSION_ID,
            _flag("--json", "print the results of agent:session:append_output as one, as JSON"),
        ),
    ),
    Command(
        "sessions",
        "archive",
        "archive the current session",
        "Turn the current session into an archive; the next write or append begins a new one.",
        "srv.session_commands:archive",
        "zonekeeper archive maks",
        (_DEFINITION_ID, _SESSION_ID, _json("agent:session:archive")),
    ),
    Command(
        "sessions",
        "list",
        "list the archives",
        "List the archives of an agent, newest first. Where standard output is a terminal, previews are cut to its width.",
        "srv.session_commands:list_archives",
        "zonekeeper list maks --limit 5",
        (
            _DEFINITION_ID,
            _number("--limit", "N", "archives at most; 20 where absent"),
            _number("--before", "MS", "only archives older than this, in unix ms"),
            _json("agent:session:list_archives"),
        ),
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
        "curl",
        "print a curl command that calls a method",
        "Print a line for a shell that calls a method of the running daemon with curl: over its Unix socket where it has one, "
        "else with the token, which the line reads where it is kept and shows to nobody.",
        "srv.curl_command:curl",
        "zonekeeper curl agent:session:read '[\"maks\"]' | sh",
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
