"""`Engine` over PostgreSQL: which thread does what.

All writing of a daemon happens on one thread with one connection, a batch at a time; other daemons do the same beside it.
Reading happens on a few threads with a connection each. The event loop never waits for the server, nor for one large answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from store.durability import Durability
from store.engine import Change, Outcome
from store.errors import StoreRefusedError
from store.handle import Handle
from store.pieces import CompressParts
from store.place import older
from store.postgres.batches import Batches
from store.postgres.connections import Address, Connections
from store.postgres.durability import Facts
from store.postgres.failures import is_lost, translated
from store.postgres.handle import LoopFactory
from store.postgres.opening import check_server, opening
from store.postgres.schema import SCHEMA_VERSION, identity_of, upgrade, version_of
from store.postgres.standing import begin_copy, check_target, check_whole, finish_copy, settle
from store.postgres.turn import Turn
from store.readers import Readers
from store.reading import ReadingEngine
from store.records import Standing
from store.terms import Terms
from store.thread import WriterThread
from store.verbs import place_of
from store.zones import Zone

_log = structlog.get_logger()

_CLOSE_SECONDS: Final = 1.0
"""How long a close waits for what is under way, before it is given up."""

_CLEAN_AFTER_BATCHES: Final = 1_000
"""Ids of batches are deleted when so many were added, and as many at a time."""


async def open_postgres(
    url: str,
    new_loop: LoopFactory = asyncio.new_event_loop,
    terms: Terms | None = None,
    *,
    is_target: bool = False,
) -> PostgresEngine:
    """Open the store, make its schema where there is none, and bring its stored form up to date.

    Args:
        url: of the database, as libpq has it, and `statement_cache_size`.
        new_loop: makes the loop of each connection.
        terms: on which the server is used.
        is_target: open it to be copied to.

    Raises:
        ValueError: the URL is none.
        StoreRefusedError: foreign, written by a newer program, less safe than asked for, not to be used in this way, half a
            copy, or a target that has sessions of its own; the database is as it was.
        StoreAwayError: the database cannot be used at the moment.
    """
    address = Address.parse(url)
    engine = PostgresEngine(
        address.of_a_copy() if is_target else address, new_loop, terms or Terms(), is_target=is_target
    )
    try:
        await engine.open()
    except BaseException:
        await engine.close()
        raise
    return engine


class PostgresEngine(ReadingEngine):
    """Keeps sessions in the schema `zonekeeper` of one PostgreSQL database."""

    name = "postgresql"

    def __init__(self, address: Address, new_loop: LoopFactory, terms: Terms, *, is_target: bool = False) -> None:
        """Say where, on which terms and what for; `open` does the rest."""
        self._connections = Connections(address, terms, new_loop)
        super().__init__(Readers("postgres-reader", self._connections.open, translated, is_lost, terms.connections - 1))
        self._shown = address.shown
        self._terms = terms
        self._is_target = is_target
        self._writer = WriterThread("postgres-writer")
        standing = Standing.COPYING if is_target else Standing.OWN
        self._batches = Batches(self._connections.open, terms.durability, standing)
        self._cleaned_at = 0
        self._facts: tuple[str, int] = ("", 0)
        self._durability: Durability
        self._closed = False

    async def open(self) -> None:
        """Open the writing connection. Raises as `open_postgres` does."""
        await self._writer.call(self._open)

    async def is_made(self) -> bool:
        """Tell whether there is a store, instead of `open`: for whoever only reads.

        Raises:
            StoreRefusedError: it is another program's, or in another form than this version's, or not to be used in this way.
            StoreAwayError: the database cannot be used at the moment.
        """
        version = await self._writer.call(self._version)
        if 0 < version < SCHEMA_VERSION:
            raise StoreRefusedError(older(self._shown, version, SCHEMA_VERSION))
        return version > 0

    async def apply(self, batch: Sequence[Change]) -> list[Outcome]:
        """See `Engine.apply`."""
        return await self._writer.call(partial(self._apply, batch))

    async def archives_to_compress(self, limit: int) -> list[Zone]:
        """See `Engine.archives_to_compress`. Parts are compressed here as they are written."""
        del limit
        return []

    async def compressed_parts(self, zone: Zone, before: CompressParts | None) -> CompressParts | None:
        """See `Engine.compressed_parts`. There is none that `archives_to_compress` names."""
        del zone, before
        return None

    @property
    def maintenance_due(self) -> bool:
        """See `Engine.maintenance_due`."""
        return self._batches.applied - self._cleaned_at >= _CLEAN_AFTER_BATCHES

    async def maintain(self) -> None:
        """Delete ids of batches that nobody can ask for any more."""
        await self._writer.call(self._clean)

    async def status(self) -> dict[str, object]:
        """See `Engine.status`. What an acknowledgement means is asked again."""
        facts = await self._readers.ask("the server's settings", _durability_facts)
        self._durability = facts.durability(self._terms.durability)
        return await super().status()

    def figures(self) -> dict[str, object]:
        """See `Engine.figures`. What the server said of itself is as it was at the start, or when it was last asked."""
        server_version, database_bytes = self._facts
        return {
            "postgresql_version": server_version,
            "schema_version": SCHEMA_VERSION,
            "database_bytes": database_bytes,
            "oldest_reader_ms": round(1_000 * self._readers.oldest_seconds),
            "parts_merged": self._batches.changes.parts_merged,
            "is_pooled": self._connections.is_pooled,
            "durability": self._durability.status(),
        }

    async def begin_copy(self) -> None:
        """See `Engine.begin_copy`."""
        await self._writer.call(self._begin_copy)

    async def finish_copy(self) -> None:
        """See `Engine.finish_copy`."""
        await self._writer.call(self._finish_copy)

    @asynccontextmanager
    async def turn(self, stop: Callable[[], bool]) -> AsyncIterator[bool]:
        """See `Engine.turn`."""
        turn = Turn(self._connections.open)
        try:
            with translated(f"the store {self._shown}"):
                is_ours = await asyncio.to_thread(turn.wait, stop)
            yield is_ours
        finally:
            await asyncio.to_thread(turn.end)

    def give_up(self) -> None:
        """See `Engine.give_up`."""
        _log.warning("store_given_up")
        self._batches.give_up()
        self._connections.give_up()

    async def close(self) -> None:
        """See `Engine.close`. What is not answered within a second is given up."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        with opening(self._shown):
            handle = self._batches.handle()
            check_server(handle, self._shown)
            upgrade(handle, self._shown)
            (check_target if self._is_target else settle)(handle, self._shown)
            self._ask_facts()
            with handle.read_transaction():
                facts = _durability_facts(handle)
                self.identity = identity_of(handle)
        self._durability = facts.durability(self._terms.durability)
        if self._durability.level < self._terms.durability:
            raise StoreRefusedError(
                f"--durability {self._terms.durability.word} asks for more than {self._shown} gives, where"
                f" {self._durability.words}; change the server, or ask for less"
            )

    def _version(self) -> int:
        with opening(self._shown):
            handle = self._batches.handle()
            with handle.read_transaction():
                version = version_of(handle, self._shown)
                if version:
                    check_whole(handle, self._shown)
                    self.identity = identity_of(handle)
                return version

    def _begin_copy(self) -> None:
        with translated(f"the store {self._shown}"):
            begin_copy(self._batches.handle(), self._shown)

    def _finish_copy(self) -> None:
        with translated(f"the store {self._shown}"):
            finish_copy(self._batches.handle())

    def _apply(self, batch: Sequence[Change]) -> list[Outcome]:
        self.sync_seconds = 0.0
        if self._readers.found_damage:
            self._readers.found_damage = False
            self._batches.changes.distrust()
        with translated(place_of(batch)):
            outcomes = self._batches.apply(batch)
        self.sync_seconds = self._batches.sync_seconds
        return outcomes

    def _clean(self) -> None:
        self._cleaned_at = self._batches.applied
        with translated("the list of batches"):
            handle = self._batches.handle()
            with handle.transaction():
                handle.rows("delete_old_batches", limit=2 * _CLEAN_AFTER_BATCHES)
            self._ask_facts()

    def _ask_facts(self) -> None:
        handle = self._batches.handle()
        with handle.read_transaction():
            ((server_version, database_bytes),) = handle.rows("facts")
        self._facts = (server_version, database_bytes)

    def _close(self) -> None:
        giving_up = threading.Timer(_CLOSE_SECONDS, self.give_up)
        giving_up.start()
        try:
            self._let_go()
        finally:
            giving_up.cancel()

    def _let_go(self) -> None:
        self._readers.shut_down()
        self._writer.close()
        self._batches.drop()
        for handle in list(self._readers.handles):
            handle.close()


def _durability_facts(handle: Handle) -> Facts:
    ((*facts,),) = handle.rows("durability")
    return Facts(*facts)
