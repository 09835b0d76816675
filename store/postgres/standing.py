"""Whose the sessions of a store are (`store.records.Standing`): kept beside the version of its stored form."""

from __future__ import annotations

from typing import Final

from store.errors import StorageUnavailableError, StoreRefusedError
from store.place import half_a_copy, is_no_target, taken_meanwhile
from store.postgres.handle import PostgresHandle
from store.postgres.statements import load_statements
from store.records import Standing

_STATEMENTS: Final = load_statements("postgres_version.sql")


def settle(handle: PostgresHandle, shown: str) -> None:
    """Make a copy that is whole the daemon's own, where the store is one. Else nothing is written.

    Raises:
        StoreRefusedError: it is half a copy.
    """
    with handle.transaction():
        if _whole(_locked(handle), shown) is Standing.COPIED:
            _set_standing(handle, Standing.OWN)


def check_whole(handle: PostgresHandle, shown: str) -> None:
    """Look whether the store may be read. Raises as `settle` does."""
    ((_, standing),) = handle.fetch(_STATEMENTS["version"])
    _whole(Standing(standing), shown)


def check_target(handle: PostgresHandle, shown: str) -> None:
    """Look whether the store may be copied to.

    Raises:
        StoreRefusedError: it has sessions of its own.
    """
    with handle.transaction():
        _target(handle, shown)


def begin_copy(handle: PostgresHandle, shown: str) -> None:
    """Make the store half a copy, which no daemon opens.

    Raises:
        StoreRefusedError: a daemon is connected, or one has taken the store since it was looked at.
    """
    with handle.transaction():
        standing = _target(handle, shown)
        _set_standing(handle, Standing.COPYING)
    # Afterwards, since whoever connects from now on sees the standing.
    with handle.transaction():
        connections = daemons(handle)
        if connections:
            _set_standing(handle, standing)
    if connections:
        raise StoreRefusedError(f"{shown} is in use: daemons have {connections} connections to it; stop them first")


def finish_copy(handle: PostgresHandle) -> None:
    """Make half a copy a whole one, which a daemon may take.

    Raises:
        StorageUnavailableError: it is half a copy no longer. Another run has finished it, and a daemon may have it by now.
    """
    with handle.transaction():
        if _locked(handle) is not Standing.COPYING:
            raise StorageUnavailableError(taken_meanwhile())
        _set_standing(handle, Standing.COPIED)


def _locked(handle: PostgresHandle) -> Standing:
    """Return the standing, which nobody else changes until the commit: a daemon and a copy may both want the store."""
    ((_, standing),) = handle.fetch(_STATEMENTS["lock_version"])
    return Standing(standing)


def _whole(standing: Standing, shown: str) -> Standing:
    if standing is Standing.COPYING:
        raise StoreRefusedError(half_a_copy(shown))
    return standing


def _target(handle: PostgresHandle, shown: str) -> Standing:
    standing = _locked(handle)
    if standing is Standing.OWN and handle.rows("any_session"):
        raise StoreRefusedError(is_no_target(shown))
    return standing


def _set_standing(handle: PostgresHandle, standing: Standing) -> None:
    """Say whose the sessions are from now on, in the transaction that is open."""
    handle.fetch(_STATEMENTS["set_standing"], standing=standing)


def daemons(handle: PostgresHandle) -> int:
    """Count the connections of daemons to this database."""
    ((connections,),) = handle.fetch(_STATEMENTS["daemons"])
    return int(connections)
