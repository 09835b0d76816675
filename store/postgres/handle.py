"""`Handle` over PostgreSQL: a connection and the event loop that it lives on, for one thread at a time.

What asks is written in plain sequence, like what asks SQLite, and on a thread where it may wait; asyncpg is asynchronous. So
each handle has a loop of its own, which runs while a question is under way. To start and stop a loop takes longer than a small
question: where several are known beforehand, `wait` is given all of them as one coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg

from store.codec import packed
from store.handle import Handle, PartRow, SessionKey
from store.postgres.begins import Begins
from store.postgres.failures import CONNECTION_ERRORS, is_lost
from store.postgres.statements import Statement, load_statements
from store.zones import Zone

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_ZONES: Final = load_statements("postgres_zones.sql")
_PARTS: Final = load_statements("postgres_parts.sql")
_STATEMENTS: Final = _ZONES | _PARTS | load_statements("postgres_batches.sql")

_SLICE_PARTS: Final = 32
"""Parts asked for at once: 2 MiB, so that a page costs few round trips and an output of any size little memory."""

_BYTE_MAX: Final = 2**63 - 1
_CLOSE_SECONDS: Final = 0.2
"""How long a connection is given to say goodbye, before it is cut: at a stop several may hang, one after the other."""

_Result = TypeVar("_Result")


class Key(NamedTuple):
    """What a session is known by in the tables."""

    home: str
    session_id: str


class PostgresHandle(Handle):
    """Asks one connection. A session's key is a `Key`.

    Attributes:
        connection: the connection.
        begins: how its transactions begin.
    """

    __slots__ = ("_begins_with", "_loop", "begins", "connection")

    def __init__(self, connection: asyncpg.Connection, loop: asyncio.AbstractEventLoop, begins: Begins) -> None:
        """Take them over."""
        self.connection = connection
        self.begins = begins
        self._loop = loop
        self._begins_with = ""

    def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Wait for something to be asked of the connection."""
        return self._loop.run_until_complete(work)

    def script(self, text: str) -> None:
        """Carry out statements without values and without rows, in one message."""
        self.wait(self.connection.execute(text))

    def fetch(self, statement: Statement, **values: Any) -> list[Sequence[Any]]:
        """Carry out a statement of another file than those of `rows`."""
        return self.wait(self._fetched(statement, values))

    async def ask(self, statement: str, **values: Any) -> list[Sequence[Any]]:
        """Carry out a statement as `rows` does, within a `wait`; its rows come as the database tells them."""
        return await self._fetched(_STATEMENTS[statement], values)

    async def store(self, rows: Sequence[PartRow], grown: Sequence[PartRow]) -> None:
        """Store parts as `put_parts` does, within a `wait`.

        A row that is there is stored anew without touching an index, so all go in one statement. Each part is compressed where
        that helps, here, on the thread that stores it.
        """
        if grown:
            # A statement may not meet a row twice.
            rows = list({(row[0], row[1], row[2]): row for row in (*grown, *rows)}.values())
        keys, *columns, datas = zip(*rows, strict=True)
        homes, session_ids = zip(*keys, strict=True)
        codecs, stored = zip(*map(packed, datas), strict=True)
        # The statement names its values in the order of its columns.
        await self.connection.execute(_PARTS["put_parts"].text, homes, session_ids, *columns, codecs, stored)

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """See `Handle.rows`."""
        for name in ("preview", "session_id"):
            if isinstance(text := values.get(name), str):
                # A preview may have a zero byte, which is no text here, and no session has one in its id.
                values[name] = text.encode() if name == "preview" else text.replace("\0", "\ufffd")
        records = self.fetch(_STATEMENTS[statement], **values)
        if statement in _ZONES:
            return [tuple(map(_told, record)) for record in records]
        return [tuple(record) for record in records]

    def each(self, statement: str, **values: Any) -> Generator[tuple[Any, ...], None, None]:
        """See `Handle.each`."""
        values |= {"parts_max": _SLICE_PARTS, "before_byte": _BYTE_MAX}
        while records := self.fetch(_PARTS[statement], **values):
            yield from map(tuple, records)
            if len(records) < _SLICE_PARTS:
                return
            values["start_byte"] = values["before_byte"] = records[-1][0]
            if statement == "parts_from":
                statement = "parts_after"

    def put_parts(self, rows: Sequence[PartRow], grown: Sequence[PartRow] = ()) -> None:
        """See `Handle.put_parts`."""
        self.wait(self.store(rows, grown))

    def insert_zone(
        self, zone: Zone, session_id: str, created_at_ms: int, covers_line: int | None, origin: str | None
    ) -> SessionKey:
        """See `Handle.insert_zone`."""
        self.rows(
            "insert_zone",
            zone=zone,
            session_id=session_id,
            created_at_ms=created_at_ms,
            covers_line=covers_line,
            origin=origin,
        )
        return Key(zone.definition_id, session_id)

    def rename_zone(self, key: SessionKey, source: Zone, target: Zone) -> None:
        """See `Handle.rename_zone`."""
        is_within = source.definition_id == target.definition_id
        self.rows("rename_zone" if is_within else "move_zone", key=key, source=source, target=target)

    @contextmanager
    def change_apart(self) -> Iterator[None]:
        """See `Handle.change_apart`."""
        self.script("SAVEPOINT change")
        try:
            yield
        except BaseException as error:
            self._cut_if_lost(error)
            if not self.connection.is_closed():
                self.script("ROLLBACK TO SAVEPOINT change; RELEASE SAVEPOINT change")
            raise
        self.script("RELEASE SAVEPOINT change")

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """See `Handle.read_transaction`. It begins with the first statement."""
        self._begins_with = self.begins.reading
        try:
            yield
        except BaseException as error:
            self._cut_if_lost(error)
            raise
        finally:
            if not self._begins_with and not self.connection.is_closed():
                self.script("ROLLBACK")
            self._begins_with = ""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block changes, or nothing of it where it raises."""
        try:
            self.script(self.begins.writing)
            yield
            self.script("COMMIT")
        except BaseException as error:
            self._cut_if_lost(error)
            if not self.connection.is_closed():
                self.script("ROLLBACK")
            raise

    def is_changed_elsewhere(self) -> bool:
        """See `Handle.is_changed_elsewhere`. Every change has a revision of its own here, which is looked at under a lock."""
        return False

    def close(self) -> None:
        """See `Handle.close`."""
        if self._loop.is_closed():
            return
        try:
            self.wait(self.connection.close(timeout=_CLOSE_SECONDS))
        except (asyncpg.PostgresError, *CONNECTION_ERRORS):
            self.connection.terminate()
        finally:
            close_loop(self._loop)

    def cut(self) -> None:
        """Have whatever is under way fail, from any thread."""
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self.connection.terminate)

    def _cut_if_lost(self, error: BaseException) -> None:
        """Ask nothing more of a connection whose answer did not come: the next one might be waited for as long."""
        if is_lost(error):
            self.connection.terminate()

    async def _fetched(self, statement: Statement, values: dict[str, Any]) -> list[Sequence[Any]]:
        if self._begins_with:
            await self.connection.execute(self._begins_with)
            self._begins_with = ""
        fetched: list[Sequence[Any]] = await self.connection.fetch(statement.text, *statement.picked(values))
        return fetched


def close_loop(loop: asyncio.AbstractEventLoop, seconds: float = 0) -> None:
    """Close a connection's loop, with a turn before that, or so long, in which what was cut tells its transport so."""
    loop.run_until_complete(_wind_up(seconds))
    loop.close()


async def _wind_up(seconds: float) -> None:
    """End what asyncpg has left running, such as asking a server that hangs to cancel."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.sleep(seconds)


def _told(value: Any) -> Any:
    """Return a value of a session's row as the engine's contract has it."""
    if isinstance(value, list):
        return Key(*value)
    return value.decode() if isinstance(value, bytes) else value
