"""`Place` over PostgreSQL: a database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from store.errors import NoStoreYetError, StoreRefusedError
from store.place import Answer, Place, Reader, StoredSessions, older
from store.postgres.connections import Address, Connections
from store.postgres.engine import PostgresEngine, open_postgres
from store.postgres.failures import translated
from store.postgres.handle import LoopFactory, PostgresHandle
from store.postgres.opening import opening
from store.postgres.schema import SCHEMA_VERSION, version_of
from store.postgres.standing import check_whole, daemons
from store.terms import Terms

_READ_SECONDS_MAX: Final = 600
"""Whoever reads for long stays in one transaction while a target stores what was read."""


class DatabasePlace(Place):
    """A store in the schema `zonekeeper` of a database."""

    def __init__(self, url: str, new_loop: LoopFactory, terms: Terms | None = None) -> None:
        """Name the database; nothing is asked of it.

        Args:
            url: as `open_postgres` takes it.
            new_loop: makes the loop of each connection.
            terms: on which the server is used.

        Raises:
            StoreRefusedError: the URL is none.
        """
        try:
            self._address = Address.parse(url)
        except ValueError as error:
            raise StoreRefusedError(f"the URL of the store {error}") from error
        self._url = url
        self._new_loop = new_loop
        self._terms = terms or Terms()
        self.shown = self._address.shown

    async def open(self, *, is_target: bool = False) -> PostgresEngine:
        """See `Place.open`."""
        return await open_postgres(self._url, self._new_loop, self._terms, is_target=is_target)

    @contextmanager
    def reader(self, *, is_held: bool = False, half_too: bool = False) -> Iterator[Reader]:
        """See `Place.reader`."""
        del is_held
        terms = replace(self._terms, statement_seconds_max=_READ_SECONDS_MAX)
        with opening(self.shown):
            handle = Connections(self._address.of_a_copy(), terms, self._new_loop).open()
        with translated(f"the store {self.shown}"):
            try:
                self._check(handle, half_too=half_too)
                yield Reader(self.shown, handle, translated, lambda: daemons(handle))
            finally:
                handle.close()

    def _check(self, handle: PostgresHandle, *, half_too: bool) -> None:
        with handle.read_transaction():
            version = version_of(handle, self.shown)
            if version and not half_too:
                check_whole(handle, self.shown)
        if version == 0:
            raise NoStoreYetError(self.shown)
        if version < SCHEMA_VERSION:
            raise StoreRefusedError(older(self.shown, version, SCHEMA_VERSION))

    async def ask(
        self, question: Callable[[StoredSessions | None], Awaitable[Answer]], *, is_held: bool = False
    ) -> Answer:
        """See `Place.ask`. A reader leaves no trace here in any case."""
        del is_held
        engine = PostgresEngine(self._address.of_a_copy(), self._new_loop, self._terms)
        try:
            return await question(engine if await engine.is_made() else None)
        finally:
            await engine.close()
