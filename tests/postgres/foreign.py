"""Another program on the database: it looks, holds locks, or puts a fault into what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import asyncpg

_Result = TypeVar("_Result")

WAITING: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
"""How many transactions wait for somebody's lock."""


class Foreign:
    """A connection that is asked in plain sequence, whatever loop the test runs on. Tables need no schema before their name."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], connection: asyncpg.Connection) -> None:
        self._run = run
        self._connection = connection

    def execute(self, text: str) -> None:
        """Carry out statements, one transaction for all of them where they do not say otherwise."""
        self._run(self._connection.execute(text))

    def change(self, text: str, *values: object) -> int:
        """Carry out one change, and return how many rows it met."""
        return int(self._run(self._connection.execute(text, *values)).rpartition(" ")[2])

    def set_for_all(self, name: str, value: str) -> None:
        """Change a setting of the whole server, for those who are connected as well."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def rows(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask one question."""
        return [tuple(record) for record in self._run(self._connection.fetch(question, *values))]

    def value(self, question: str, *values: object) -> Any:
        """Ask for one value."""
        return self._run(self._connection.fetchval(question, *values))


@contextmanager
def connected(url: str) -> Iterator[Foreign]:
    """Connect for as long as a block of a test runs; a transaction that is open at its end is undone."""
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1, "foreign") as thread:

        def run(work: Coroutine[Any, Any, _Result]) -> _Result:
            return thread.submit(loop.run_until_complete, work).result()

        try:
            connection = run(asyncpg.connect(url, server_settings={"search_path": "zonekeeper"}))
            try:
                yield Foreign(run, connection)
            finally:
                run(connection.close())
        finally:
            loop.close()


@contextmanager
def refusing_batches(foreign: Foreign, sqlstate: str) -> Iterator[None]:
    """Have the server refuse every batch of the block as its id is stored; the sequence `tries` counts them."""
    foreign.execute(
        "CREATE SEQUENCE tries;"
        " CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM nextval('zonekeeper.tries'); RAISE SQLSTATE '{sqlstate}'; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON batches EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        foreign.execute("DROP FUNCTION refuse CASCADE; DROP SEQUENCE tries")


@contextmanager
def having_by_default(foreign: Foreign, **settings: str) -> Iterator[None]:
    """Have whoever connects to the database within the block begin with these settings."""
    name = foreign.value("SELECT current_database()")
    for setting, value in settings.items():
        foreign.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    try:
        yield
    finally:
        foreign.execute(f"ALTER DATABASE {name} RESET ALL")
