"""A turn: what one process at a time may do to a store, and which ends with its holder, however that ends.

It is the lock of a row, held by a transaction on a connection of its own. No lock of a session: a pooler in transaction mode
would give that to others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import asyncpg

from store.postgres.handle import PostgresHandle
from store.postgres.statements import load_statements

_STATEMENTS: Final = load_statements("postgres_version.sql")

_BEGIN: Final = (
    "BEGIN; SET LOCAL lock_timeout = 500; SET LOCAL idle_in_transaction_session_timeout = 0;"
    " SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 3"
)
"""The lock is asked for again and again, so that whoever waits can stop. It is held however long that takes; of a holder whose
machine has gone without a word the server hears within half a minute."""

_IS_HELD: Final = "55P03"


class Turn:
    """The lock, and who waits for it. Used by one thread at a time."""

    def __init__(self, open_handle: Callable[[], PostgresHandle]) -> None:
        """Say how a connection is opened; `wait` does."""
        self._open = open_handle
        self._handle: PostgresHandle | None = None

    def wait(self, stop: Callable[[], bool]) -> bool:
        """Wait until it is ours, or until `stop` says so. Returns whether it is ours. Raises asyncpg's errors."""
        self._handle = handle = self._open()
        while not self._try(handle):
            if stop():
                return False
        return True

    def end(self) -> None:
        """Let go of it. Doing it twice is harmless."""
        if self._handle is not None:
            self._handle.close()

    def _try(self, handle: PostgresHandle) -> bool:
        handle.script(_BEGIN)
        try:
            handle.fetch(_STATEMENTS["wait_for_turn"])
        except asyncpg.PostgresError as error:
            if error.sqlstate != _IS_HELD:
                raise
            handle.script("ROLLBACK")
            return False
        return True
