"""Every error of the store: a stable word, a sentence for people, a hint what to do, and whether to try again.

The words are those of DESIGN.md section 2; `rpc/errors.py` gives them their JSON-RPC numbers.
"""

from __future__ import annotations

from typing import Any, ClassVar

from store.limits import QUOTE_CHARACTERS_MAX

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quote(text: str) -> str:
    """Quote a value for a message: escaped, and cut at 100 characters, so that it can neither forge lines nor flood logs."""
    cut = text[:QUOTE_CHARACTERS_MAX]
    escaped = "".join(_ESCAPES.get(c, c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in cut)
    return f'"{escaped}{"…" if len(text) > QUOTE_CHARACTERS_MAX else ""}"'


class StoreError(Exception):
    """Something the caller is told about. `str(error)` is the sentence for people.

    Attributes:
        word: the stable word, `error.data.code` on the wire.
        hint: what to do about it.
        retry: whether the same call may succeed later, unchanged.
        facts: further members of `error.data`, such as the stored revision.
    """

    word: ClassVar[str]
    hint: ClassVar[str]
    retry: ClassVar[bool] = False

    def __init__(self, message: str, **facts: Any) -> None:
        """Keep the sentence and the facts."""
        super().__init__(message)
        self.facts = facts


class InvalidParamsError(StoreError):
    """A parameter is wrong, missing, unknown or ill-typed."""

    word = "INVALID_PARAMS"
    hint = "Correct the parameter; rpc.discover describes every method."

    def __init__(self, param: str, message: str) -> None:
        """Name the parameter."""
        super().__init__(message, param=param)


class InvalidDefinitionIdError(InvalidParamsError):
    """A definition id does not match `[A-Za-z0-9_-]+`. The message begins with the word (DESIGN.md section 2)."""

    word = "INVALID_DEFINITION_ID"
    hint = "Use the id of the agent definition: ASCII letters, digits, _ and - only."

    def __init__(self, message: str) -> None:
        """Put the word before the message."""
        super().__init__("definition_id", f"{self.word}: {message}")


class StaleSessionError(StoreError):
    """`session_id` was given and is not that of the session. Nothing is written."""

    word = "STALE_SESSION"
    hint = (
        "It is another session by now. Mount the agent again, or list its archives, and use the session_id found there."
    )


class RevisionMismatchError(StoreError):
    """`expect_revision` is not the stored revision."""

    word = "REVISION_MISMATCH"
    hint = "Someone else wrote the snapshot. Read it again, merge, and write with the revision found there."

    def __init__(self, expected: object, revision: int, param: str = "expect_revision") -> None:
        """Tell what was expected and by what, and the stored revision, 0 where there is no snapshot."""
        super().__init__(f"{param} is {expected}, but the stored revision is {revision}", revision=revision)


class OffsetMismatchError(StoreError):
    """`expect_offset` is not the size of the output, and the bytes stored there are not the ones sent."""

    word = "OFFSET_MISMATCH"
    hint = "Someone else appended. Continue from size_bytes, after reading what is there."

    def __init__(self, expected: int, size_bytes: int) -> None:
        """Tell the size of the output in bytes."""
        super().__init__(f"expect_offset is {expected}, but the output has {size_bytes} bytes", size_bytes=size_bytes)


class ReadOnlyError(StoreError):
    """The caller has shown a token that only reads. Nothing is written."""

    word = "READ_ONLY"
    hint = "Show the other token, the one in auth.token or of the parent process, to change anything."

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the token shown may only read; nothing was written")


class ZoneNotFoundError(StoreError):
    """There is no such archive, or no such file in it or in the current session."""

    word = "ZONE_NOT_FOUND"
    hint = "See what there is: agent:session:stat tells of current sessions, agent:session:list_archives of archives."


class TooLargeError(StoreError):
    """Something is over a limit of `store/limits.py`."""

    word = "TOO_LARGE"
    hint = "Send less at once, or raise the limit where zonekeeper serve --help lists a setting for it."

    def __init__(self, limit: str, maximum: int, actual: int | None = None) -> None:
        """Name the limit and its maximum."""
        found = "" if actual is None else f", got {actual}"
        super().__init__(f"over the limit {limit}: at most {maximum}{found}", limit=limit, max=maximum)


class StorageFullError(StoreError):
    """The disk is full. Nothing of the change is stored; reads go on."""

    word = "STORAGE_FULL"
    hint = "Free some space on the disk of the data directory; writes work again as soon as there is room."
    retry = True

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the disk is full; nothing was stored")


class StorageUnavailableError(StoreError):
    """The engine is locked, unreachable or cannot read or write its files."""

    word = "STORAGE_UNAVAILABLE"
    hint = "Try again shortly. If it goes on, look at the log, and at the disk or the database."
    retry = True


class StorageDamagedError(StoreError):
    """A stored part fails its checksum or is missing. Everything else stays readable."""

    word = "STORAGE_DAMAGED"
    hint = "Restore this session from a backup; other sessions are not affected."


class OverloadedError(StoreError):
    """Too much waits already, for the disk or for memory. Nothing was stored."""

    word = "OVERLOADED"
    hint = "Slow down and try again shortly."
    retry = True

    def __init__(self, what: str = "too many changes are waiting for the disk") -> None:
        """Say what there is too much of."""
        super().__init__(f"{what}; nothing was stored")


class ShuttingDownError(StoreError):
    """The daemon is draining. Nothing was stored."""

    word = "SHUTTING_DOWN"
    hint = "Wait for the daemon to start again, then try again."
    retry = True

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the daemon is shutting down; nothing was stored")


class StoreAwayError(Exception):
    """The database cannot be reached or used at the moment. Ends the start-up with exit code 7: a later one may do."""


class StoreRefusedError(Exception):
    """The store cannot be opened: foreign, damaged, or written by a newer program. Ends the start-up with exit code 4."""


class NoStoreYetError(StoreRefusedError):
    """There is no store yet, and whoever only reads makes none."""

    def __init__(self, shown: str) -> None:
        """Say where."""
        super().__init__(f"there is no store {shown} yet")
