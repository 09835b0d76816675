"""The version of the stored form, and how one daemon brings it up to date while others wait.

A new step is a further group of statements in `store/sql/postgres_schema.sql` and a further row of `_STEPS`. Steps are
never edited once released; a store made anew takes them all. Where nothing is to be done nothing but reading is asked for, so a
role without the right to make tables will do.
"""

from __future__ import annotations

import uuid
from typing import Final

import asyncpg

from store.errors import StoreRefusedError
from store.postgres.handle import PostgresHandle
from store.postgres.statements import load_statements

_DEFINITIONS: Final = load_statements("postgres_schema.sql")
_STATEMENTS: Final = load_statements("postgres_version.sql")
_STEPS: Final = (
    (
        "step_one_agents",
        "step_one_turn",
        "step_one_turn_row",
        "step_one_zones",
        "step_one_zones_by_session",
        "step_one_zones_by_origin",
        "step_one_zones_without_preview",
        "step_one_file_parts",
        "step_one_file_parts_as_they_are",
        "step_one_file_parts_by_line",
        "step_one_batches",
        "step_one_batches_by_time",
    ),
)
SCHEMA_VERSION: Final = len(_STEPS)

_TRIES_MAX: Final = 20
_MADE_MEANWHILE: Final = {"23505", "42P06", "42P07", "XX000", "40001", "40P01"}
"""Somebody else makes the same: `IF NOT EXISTS` looks before it waits for them."""


def upgrade(handle: PostgresHandle, shown: str) -> None:
    """Take the steps that the store lacks, all or none.

    Args:
        handle: for writing.
        shown: names the store to people.

    Raises:
        StoreRefusedError: written by a newer program, or the schema is another program's.
        asyncpg.PostgresError: whatever the server says.
    """
    with handle.read_transaction():
        version = version_of(handle, shown)
    if version == SCHEMA_VERSION:
        return
    for tries_left in reversed(range(_TRIES_MAX)):
        try:
            _take_steps(handle, shown)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _MADE_MEANWHILE or not tries_left:
                raise
        else:
            return


def version_of(handle: PostgresHandle, shown: str) -> int:
    """Return the version of the stored form, 0 for a new store. Raises as `upgrade` does."""
    tables = {name for (name,) in handle.fetch(_STATEMENTS["tables"])}
    if not tables:
        return 0
    if "version" not in tables:
        raise StoreRefusedError(
            f"{shown} has a schema named zonekeeper that is another program's; choose another database. It was not touched"
        )
    ((version, _),) = handle.fetch(_STATEMENTS["version"]) or [(0, None)]
    _check(int(version), shown)
    return int(version)


def identity_of(handle: PostgresHandle) -> str:
    """Return what tells a store from every other one."""
    ((identity,),) = handle.fetch(_STATEMENTS["identity"])
    return str(identity)


def _check(version: int, shown: str) -> None:
    if version > SCHEMA_VERSION:
        raise StoreRefusedError(
            f"{shown} was written by a newer version of Zonekeeper (stored form {version}, this program knows"
            f" {SCHEMA_VERSION}); install that version or a later one. The store was not touched"
        )


def _take_steps(handle: PostgresHandle, shown: str) -> None:
    with handle.transaction():
        if version_of(handle, shown) == 0:
            handle.script(_DEFINITIONS["schema"].text)
            handle.script(_DEFINITIONS["version"].text)
            handle.fetch(_STATEMENTS["first_version"], identity=uuid.uuid4())
        ((version, _),) = handle.fetch(_STATEMENTS["lock_version"])
        _check(version, shown)
        for step in _STEPS[version:]:
            for name in step:
                handle.script(_DEFINITIONS[name].text)
        handle.fetch(_STATEMENTS["set_version"], number=SCHEMA_VERSION)
