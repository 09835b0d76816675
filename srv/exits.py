"""Exit codes (DESIGN.md section 6), and the failures that end a start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final


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
    STORE_AWAY = 7


_MEANINGS: Final[Mapping[Exit, str]] = {
    Exit.STOPPED: "stopped, or done",
    Exit.FAILED: "a command could not do what it was asked to",
    Exit.WRONG_USAGE: "wrong usage, a wrong setting, or a data directory that cannot be used",
    Exit.DATA_DIR_IN_USE: "the data directory is in use by another daemon",
    Exit.STORE_REFUSED: "the store is damaged, foreign, too new or held by another program",
    Exit.MIGRATION_FAILED: "a migration failed",
    Exit.STORE_AWAY: "the database of --store cannot be used at the moment: try again",
    Exit.CANNOT_LISTEN: "cannot listen on the port or the Unix socket",
}


def exit_codes_help(codes: Iterable[Exit] = Exit) -> str:
    """Write the codes that a command ends with, for its help."""
    return "\n".join(["exit codes:", *(f"  {code:d}  {_MEANINGS[code]}" for code in codes)])


class StartFailedError(Exception):
    """The start ends here; the sentence says why, and the code is the process's."""

    def __init__(self, code: Exit, reason: str) -> None:
        """Keep both."""
        super().__init__(reason)
        self.code = code
