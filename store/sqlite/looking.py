"""Looking at a store from outside: beside the daemon that owns it, or where none runs, and then without leaving a trace.

A read-only handle to a database with a write-ahead log makes the log and its index where they are missing, and cannot
remove them. So a database at rest, beside which there is no log, is opened as one that nobody changes (`immutable`). If
somebody does change it meanwhile, what was seen counts for nothing, and is looked at again as one that is in use.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from store import reads
from store.errors import StoreRefusedError
from store.records import ZoneStat
from store.sqlite.failures import translated
from store.sqlite.handle import SqliteHandle
from store.sqlite.handles import open_reading
from store.zones import Zone

LOG_SUFFIX: Final = "-wal"
_INDEX_SUFFIX: Final = "-shm"
_JOURNAL_SUFFIX: Final = "-journal"

_Seen = TypeVar("_Seen")
_Arguments = ParamSpec("_Arguments")
_Rest = tuple[int, int, int, int]


def look_at(path: Path, look: Callable[[sqlite3.Connection], _Seen]) -> _Seen:
    """Look at a database through a read-only handle, twice where it was changed while it seemed to be at rest.

    Args:
        path: of the database.
        look: asks what there is to ask; may be called twice, with another handle each time.

    Raises:
        sqlite3.Error: it cannot be opened. Else whatever `look` raises.
    """
    before = _at_rest(path)
    if before is not None:
        try:
            with _opened(path, is_at_rest=True) as connection:
                seen = look(connection)
        except Exception:
            if _at_rest(path) == before:
                raise
        else:
            if _at_rest(path) == before:
                return seen
    with _opened(path, is_at_rest=False) as connection:
        return look(connection)


async def ask_sessions(path: Path, question: Callable[[SqliteSessions], Awaitable[_Seen]]) -> _Seen:
    """Ask about the sessions of a store, twice where it was changed while it seemed to be at rest.

    Args:
        path: of the database.
        question: asks what there is to ask; may be called twice, with other sessions each time.

    Raises:
        StoreError: the store cannot be read. Else whatever `question` raises.
    """
    before = _at_rest(path)
    if before is not None:
        try:
            with translated(f"the store {path}"), _opened(path, is_at_rest=True) as connection:
                answer = await question(SqliteSessions(connection))
        except Exception:
            if _at_rest(path) == before:
                raise
        else:
            if _at_rest(path) == before:
                return answer
    with translated(f"the store {path}"), _opened(path, is_at_rest=False) as connection:
        return await question(SqliteSessions(connection))


class SqliteSessions:
    """Sessions as they are stored, read by somebody who does not own the store; each question is one transaction.

    The verbs are those of `store.place.StoredSessions`. They block: this is for a process that does nothing else meanwhile.
    """

    identity: str | None = None
    """See `Engine.identity`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Keep the handle."""
        self._handle = SqliteHandle(connection)

    async def zone_stat(self, zone: Zone) -> ZoneStat | None:
        """See `Engine.zone_stat`."""
        return self._ask(f"zone {zone}", reads.zone_stat, self._handle, zone)

    async def zones_of(self, definition_id: str) -> list[ZoneStat]:
        """See `Engine.zones_of`."""
        return self._ask(f"the list of zones of agent {definition_id}", reads.zones_of, self._handle, definition_id)

    async def read_bytes(self, zone: Zone, name: str, start_byte: int, max_bytes: int) -> bytes:
        """See `Engine.read_bytes`."""
        place = f"zone {zone}, file {name}"
        return self._ask(place, reads.read_bytes, self._handle, zone, name, start_byte, max_bytes)

    async def origins(self) -> set[str]:
        """See `Engine.origins`."""
        return self._ask("the list of sessions", reads.origins, self._handle)

    def _ask(
        self,
        place: str,
        question: Callable[_Arguments, _Seen],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Seen:
        with translated(place), self._handle.read_transaction():
            return question(*arguments, **named)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Ask everything in the block of one state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def open_for_long(path: Path, *, is_held: bool) -> Iterator[sqlite3.Connection]:
    """Open a database to read it for long; where nobody can change it, and it is at rest, without leaving a trace.

    Args:
        path: of the database.
        is_held: nobody writes as long as the block runs.
    """
    with _opened(path, is_at_rest=is_held and _at_rest(path) is not None) as connection:
        yield connection


@contextmanager
def _opened(path: Path, *, is_at_rest: bool) -> Iterator[sqlite3.Connection]:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise StoreRefusedError(f"{path} is not a file; move it away")  # opening a pipe would wait for its other end
    connection = _open_at_rest(path) if is_at_rest else open_reading(path)
    try:
        # A text that is damaged is still to be named.
        connection.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
        yield connection
    finally:
        connection.close()


def _open_at_rest(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=64)


def _at_rest(path: Path) -> _Rest | None:
    """Return what tells a database from itself once it is changed; None where it is in use, or was not closed."""
    real = os.path.realpath(path)  # SQLite keeps companions beside the file itself, not beside a link to it
    log, index = Path(real + LOG_SUFFIX), Path(real + _INDEX_SUFFIX)
    if size_of(Path(real + _JOURNAL_SUFFIX)) or size_of(log) or (log.exists() and index.exists()):
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def size_of(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
