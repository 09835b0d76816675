"""Where sessions are kept, as a file or a database: what there is to be had from outside a running daemon.

Each engine has its own: `store/sqlite/place.py` and `store/postgres/place.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from store.engine import Engine
from store.handle import Handle
from store.records import ZoneStat
from store.zones import Zone

Answer = TypeVar("Answer")


def half_a_copy(shown: str) -> str:
    """Say that a store cannot be used since a copy to it is under way, or was interrupted."""
    return f"{shown} is a copy that is not whole; run the same zonekeeper copy again, which goes on where it was"


def older(shown: str, version: int, known: int) -> str:
    """Say that a store has to be brought up to date before others than its daemon read it."""
    return (
        f"{shown} was written by an older version of Zonekeeper (stored form {version}, this program knows {known});"
        " the next start of a daemon brings it up to date"
    )


def is_no_target(shown: str) -> str:
    """Say that nothing can be copied to a store."""
    return f"{shown} has sessions of its own; copy to an empty store, or go on with a copy that nobody has served yet"


def taken_meanwhile() -> str:
    """Say that a change would go into a store whose standing is another than when it was opened."""
    return "another program has begun to copy to this store, or finished that, since this one opened it; start it anew"


class StoredSessions(Protocol):
    """What is asked of sessions as they are stored: a part of `store.engine.Engine`, where each verb is described."""

    identity: str | None
    """See `Engine.identity`."""

    async def zone_stat(self, zone: Zone) -> ZoneStat | None:
        """See `Engine.zone_stat`."""

    async def zones_of(self, definition_id: str) -> list[ZoneStat]:
        """See `Engine.zones_of`."""

    async def read_bytes(self, zone: Zone, name: str, start_byte: int, max_bytes: int) -> bytes:
        """See `Engine.read_bytes`."""

    async def origins(self) -> set[str]:
        """See `Engine.origins`."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody else than the daemon, who only reads what is stored, on one thread at a time.

    Attributes:
        shown: names the store to people.
        handle: the connection.
        translated: has errors of the database raised as the store's, given what was read, for people.
        daemons: counts the connections that daemons have to the store, as far as the engine can tell: to a file none.
    """

    shown: str
    handle: Handle
    translated: Callable[[str], AbstractContextManager[None]]
    daemons: Callable[[], int] = lambda: 0

    @contextmanager
    def transaction(self) -> Iterator[Handle]:
        """Ask everything in the block of one state of the store."""
        with self.translated(f"the store {self.shown}"), self.handle.read_transaction():
            yield self.handle


class Place(ABC):
    """A place where a store is, or may be made.

    Attributes:
        shown: names it to people: a path, or a URL without user, password and options.
    """

    shown: str

    @abstractmethod
    async def open(self, *, is_target: bool = False) -> Engine:
        """Open the store as the daemon does: made where there is none, and brought up to date.

        Args:
            is_target: open it to be copied to: it is empty, or a copy that nobody has served yet.

        Raises:
            StoreRefusedError: it is damaged, foreign, too new or half a copy, or cannot be opened; or a target has sessions
                of its own. It is as it was.
            StoreAwayError: the database cannot be used at the moment.
        """

    @abstractmethod
    def reader(self, *, is_held: bool = False, half_too: bool = False) -> AbstractContextManager[Reader]:
        """Open the store to read it for long. Nothing changes, and a daemon may go on writing.

        Args:
            is_held: as in `ask`.
            half_too: read half a copy as well.

        Raises:
            NoStoreYetError: there is none.
            StoreRefusedError: it is in another form than this version's, or half a copy.
            StoreAwayError, StoreError: it cannot be read.
        """

    @abstractmethod
    async def ask(
        self, question: Callable[[StoredSessions | None], Awaitable[Answer]], *, is_held: bool = False
    ) -> Answer:
        """Ask about the sessions, of which there are None where there is no store yet. Nothing changes.

        Args:
            question: asks what there is to ask; may be called twice, with other sessions each time.
            is_held: the caller holds the data directory, so that nobody writes: then no trace is left either, whatever state a
                daemon that was killed has left.

        Raises:
            StoreRefusedError, StoreError: the store cannot be read. Else whatever `question` raises.
        """
