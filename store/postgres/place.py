"""`Place` over PostgreSQL: a database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from store.errors import StoreRefusedError
from store.place import Answer, Place, StoredSessions
from store.postgres.connections import Address
from store.postgres.engine import PostgresEngine, open_postgres
from store.postgres.handle import LoopFactory
from store.terms import Terms


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

    async def open(self) -> PostgresEngine:
        """See `Place.open`."""
        return await open_postgres(self._url, self._new_loop, self._terms)

    async def ask(
        self, question: Callable[[StoredSessions | None], Awaitable[Answer]], *, is_held: bool = False
    ) -> Answer:
        """See `Place.ask`. A reader leaves no trace here in any case."""
        del is_held
        engine = PostgresEngine(self._address, self._new_loop, self._terms)
        try:
            return await question(engine if await engine.is_made() else None)
        finally:
            await engine.close()
