"""PostgreSQL's errors become the store's, by their SQLSTATE: the texts are translated by servers, and may hold statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from store.errors import StorageDamagedError, StorageFullError, StorageUnavailableError, StoreError

CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
)
"""The connection is lost or was never there. `InterfaceError` is what asyncpg says of one that is closed already, and
`InternalClientError` where the server has said goodbye between two questions, or where none of several servers will do."""

_READS_ONLY: Final = "25006"

_FULL: Final = {"53100"}
_DAMAGED: Final = {"XX001", "XX002"}
_RETRIED: Final = {"40001", "40P01"}
_UNKNOWN_COMPLETION: Final = "40003"
"""What distributed engines say of a commit whose end they do not know themselves; PostgreSQL never does."""

_CUT_OFF: Final = ("25P03", "25P04")
"""The server has ended a connection whose transaction was idle, or open at all, for too long."""

_UNPREPARED: Final = {"26000", "42P05"}
"""A statement that was prepared on another connection is not there, or one is there that somebody else has prepared."""

_UNAVAILABLE_CLASSES: Final = {"08", "28", "40", "53", "55", "57", "58", "3D"}
"""Connection, authorization, rollback, resources, object not in state, operator's intervention, the server's system, and a
database that is not there."""
_UNAVAILABLE: Final = {_READS_ONLY, "42501", *_CUT_OFF}
"""The server only reads, such as a replica; a right is missing."""


def is_retried(error: BaseException) -> bool:
    """Tell whether two transactions met, and the server has undone one to let the other go on."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _RETRIED


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection was lost: by its own end, by the server's (57P01 to 57P05, 25P03, 25P04), or as read-only.

    That last one is no longer the primary, and a new connection may come to another server. The answer to a commit is lost as
    well where the server says that it does not know its end.
    """
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(("08", "57P", _READS_ONLY, _UNKNOWN_COMPLETION, *_CUT_OFF))
    return isinstance(error, CONNECTION_ERRORS)


def store_error(error: Exception, place: str) -> StoreError | None:
    """Say an error in the store's words; None where it is a fault of ours, such as a statement that is wrong.

    Args:
        error: what asyncpg raised, or the system.
        place: what was being read or written, for people: `zone … file …`.
    """
    if not isinstance(error, asyncpg.PostgresError):
        return StorageUnavailableError("the database cannot be reached at the moment") if is_lost(error) else None
    state = error.sqlstate or ""
    if state in _FULL:
        return StorageFullError()
    if state in _DAMAGED:
        return StorageDamagedError(f"the database is damaged where {place} is stored")
    if state in _UNPREPARED:
        return StorageUnavailableError(
            "a pooler before the database cannot follow prepared statements: take statement_cache_size out of --store"
        )
    if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES:
        return StorageUnavailableError(f"the database cannot be used at the moment (SQLSTATE {state})")
    return None


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise the store's error in place of the database's; the cause is kept for the log."""
    try:
        yield
    except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        translation = store_error(error, place)
        if translation is None:
            raise
        raise translation from error
