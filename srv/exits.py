"""Exit codes (DESIGN.md section 6), and the failures that end a start."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a process says when it ends."""

    STOPPED = 0
    FAILED = 1
    """A command could not do what it was asked to, or `doctor` found something."""
    WRONG_USAGE = 2
    DATA_DIR_IN_USE = 3
    STORE_REFUSED = 4
    MIGRATION_FAILED = 5
    CANNOT_LISTEN = 6


EXIT_CODES_HELP = """\
exit codes:
  0  stopped, or done
  1  a command could not do what it was asked to; doctor: something is wrong, or left to migrate
  2  wrong usage, a wrong setting, or a data directory that cannot be used
  3  the data directory is in use by another daemon
  4  the store is damaged, foreign, too new or held by another program
  5  a migration failed
  6  cannot listen on the port or the Unix socket"""


class StartFailedError(Exception):
    """The start ends here; the sentence says why, and the code is the process's."""

    def __init__(self, code: Exit, reason: str) -> None:
        """Keep both."""
        super().__init__(reason)
        self.code = code
