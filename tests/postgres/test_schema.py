"""The stored form on PostgreSQL: who makes it, who may open it, and that its statements are SQLite's by name and value."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from bench.cluster import execute
from store.errors import StoreRefusedError
from store.postgres import handle, open_postgres, schema
from store.postgres.place import DatabasePlace
from store.postgres.statements import compiled
from store.sql import load
from tests.postgres.conftest import Opener
from tests.postgres.foreign import WAITING, connected
from tests.waiting import until

_ONLY_SQLITE = {"put_part", "grow_part"}
_ONLY_POSTGRES = {"put_parts", "parts_after", "move_zone"}


async def test_a_newer_store_is_refused_untouched(open_engine: Opener, url: str) -> None:
    """The sentence tells both versions, and what to do; to whoever only reads as well."""

    async def read(_sessions: object) -> None:
        raise AssertionError("nothing of it can be understood")

    await (await open_engine(url)).close()
    await execute(url, f"UPDATE zonekeeper.version SET number = {schema.SCHEMA_VERSION + 1}")
    said = f"stored form {schema.SCHEMA_VERSION + 1}, this program knows"
    with pytest.raises(StoreRefusedError, match=said):
        await open_postgres(url)
    with pytest.raises(StoreRefusedError, match=said):
        await DatabasePlace(url, asyncio.new_event_loop).ask(read)
    await execute(url, f"UPDATE zonekeeper.version SET number = {schema.SCHEMA_VERSION}")


async def test_another_program_s_schema_is_refused_untouched(open_engine: Opener, url: str) -> None:
    """A schema of our name without our version is somebody else's."""
    await (await open_engine(url)).close()
    await execute(url, "ALTER TABLE zonekeeper.version RENAME TO something")
    with pytest.raises(StoreRefusedError, match="another program's"):
        await open_postgres(url)
    await execute(url, "ALTER TABLE zonekeeper.something RENAME TO version")


async def test_a_step_is_taken_once(open_engine: Opener, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one daemon takes it another one waits, and finds nothing left to do."""
    await (await open_engine(url)).close()
    version = schema.SCHEMA_VERSION
    monkeypatch.setattr(schema, "SCHEMA_VERSION", version + 1)
    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, ("next_step",)))
    monkeypatch.setitem(schema._DEFINITIONS, "next_step", compiled("INSERT INTO zonekeeper.taken VALUES (2)"))
    with connected(url) as first, connected(url) as looker:
        looker.execute("CREATE TABLE taken (step integer)")
        try:
            first.execute("BEGIN; SELECT FROM version FOR UPDATE; INSERT INTO taken VALUES (2)")
            opened = asyncio.ensure_future(open_engine(url))
            await until(lambda: looker.value(WAITING) == 1)
            first.execute(f"UPDATE version SET number = {version + 1}; COMMIT")
            await opened
            assert looker.value("SELECT count(*) FROM taken") == 1
        finally:
            looker.execute(f"DROP TABLE taken; UPDATE version SET number = {version}")


async def test_every_statement_is_one_that_the_server_takes(open_engine: Opener, url: str) -> None:
    """Each can be prepared; a statement that is wrong is found here and not in the night."""
    await (await open_engine(url)).close()
    connection = await asyncpg.connect(url)
    for statement in handle._STATEMENTS.values():
        prepared = await connection.prepare(statement.text)
        assert len(prepared.get_parameters()) == len(statement.picks)
    await connection.close()


def test_both_engines_have_the_same_statements_with_the_same_values() -> None:
    """What is above the engines asks by name; how often parts are asked for at a time is the engine's own."""
    for name in ("zones", "parts"):
        ours, other = load(f"postgres_{name}.sql"), load(f"sqlite_{name}.sql")
        assert set(ours) - _ONLY_POSTGRES == set(other) - _ONLY_SQLITE
        for statement in set(ours) & set(other):
            known = {name for name, _ in compiled(ours[statement]).picks} - {"parts_max", "before_byte"}
            needed = set(re.findall(r":([a-z_]+)", other[statement]))
            # Of a zone SQLite takes the parts and the whole by names of their own, and by a session's key it finds the row.
            zones = {"zone", "source", "target"}
            whole = {"definition_id", "archived_at_ms", *zones} if known & zones else set()
            assert known | whole == needed | whole, statement


def test_a_value_is_numbered_once_and_a_cast_or_a_text_is_left_alone() -> None:
    """The same name is the same value; a field of a value is one of its own."""
    statement = compiled("SELECT ':no', :one::text, :one, :two.three, 'x' || :two.four")
    assert statement.text == "SELECT ':no', $1::text, $1, $2, 'x' || $3"
    assert [name for name, _ in statement.picks] == ["one", "two", "two"]
