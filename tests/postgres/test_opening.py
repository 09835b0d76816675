"""Who is let in and how, and what is said where a store cannot be opened: what is wrong, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cluster import database_url, execute
from store.errors import StoreAwayError, StoreRefusedError
from store.postgres import open_postgres, opening
from store.postgres.connections import Address
from store.postgres.place import DatabasePlace
from tests.postgres.own_server import PASSWORD, ROLE, OwnServer

UrlOf = Callable[[OwnServer], str]


def guarded(server: OwnServer, password: str | None = None, host: str | None = None, **options: str) -> str:
    """Return the URL by which the role with the password comes, over TLS that proves whose it is."""
    proven = {"sslmode": "verify-full", "sslrootcert": str(server.certificate)}
    return server.url_of(host or server.host, password, **(proven | options))


async def opens(url: str) -> None:
    """Open a store, ask it something, and close it."""
    engine = await open_postgres(url)
    try:
        assert await engine.zones_of("nobody") == []
    finally:
        await engine.close()


async def test_a_password_comes_with_the_url_the_environment_a_file_or_a_service(
    own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS that proves who the server is: as libpq looks for it, and wherever libpq's other programs have it already."""
    await opens(guarded(own_server, PASSWORD))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    await opens(guarded(own_server))
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".pgpass"
    file.touch(mode=0o600)
    file.write_text(f"{own_server.host}:*:zonekeeper:{ROLE}:{PASSWORD}\n", encoding="utf-8")
    await opens(guarded(own_server))
    service = tmp_path / ".pg_service.conf"
    place = {"host": own_server.host, "port": own_server.port, "dbname": "zonekeeper", "user": ROLE}
    proof = {"sslmode": "verify-full", "sslrootcert": own_server.certificate}
    lines = [f"{name}={value}" for name, value in (place | proof).items()]
    service.write_text("\n".join(["[sessions]", *lines, ""]), encoding="utf-8")
    await opens("postgresql://?service=sessions")


@pytest.mark.parametrize(
    ("url_of", "said"),
    [
        (lambda server: guarded(server, "wrong"), "does not take the password"),
        (lambda server: guarded(server, PASSWORD, sslmode="disable"), "pg_hba.conf"),
        (lambda server: guarded(server, PASSWORD, host="localhost"), "certificate does not prove"),
        (lambda server: guarded(server, PASSWORD, sslmode="sure"), "`sslmode` parameter must be one of"),
        (lambda server: database_url(server.url, "missing"), "createdb --encoding UTF8"),
        (lambda server: f"{server.url}&option=1", "option of the URL"),
    ],
)
async def test_what_somebody_must_change_is_a_refusal(own_server: OwnServer, url_of: UrlOf, said: str) -> None:
    """Each says what, and none shows a password."""
    with pytest.raises(StoreRefusedError, match=said) as caught:
        await opens(url_of(own_server))
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:{}/9@host/sessions",
        "postgresql://ada:7/{}@host/sessions",
        "postgresql://ada:{}#9@host/sessions",
        "postgresql://ada:7#{}@host/sessions",
        "postgresql://ada:{}?9@host/sessions",
        "postgresql://ada:7?{}@host/sessions",
        "postgresql:/ada:{}@host/sessions",
        "postgresql:ada:{}",
        "postgresql://ada@host:{}/sessions",
    ],
)
async def test_a_password_that_is_not_escaped_is_not_shown_as_something_else(url: str) -> None:
    """It is refused before it is taken for a port, a path or an option, which are shown."""
    with pytest.raises(StoreRefusedError, match="%2F") as caught:
        DatabasePlace(url.format(PASSWORD), asyncio.new_event_loop)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://ada:{PASSWORD}@host/sessions", "postgresql://host/sessions"),
        (
            f"postgres://ada:%2F%23{PASSWORD}@[::1]:5432,two:7/sessions?sslmode=require",
            "postgres://[::1]:5432,two:7/sessions",
        ),
        (f"postgresql:///sessions?host=/run&user=ada@home&password={PASSWORD}", "postgresql:///run/sessions"),
        ("postgresql://?service=sessions", "postgresql://sessions"),
    ],
)
def test_what_is_shown_of_a_url_says_where_the_store_is_and_no_more(url: str, shown: str) -> None:
    """Hosts, ports and the database, never who comes and how."""
    assert DatabasePlace(url, asyncio.new_event_loop).shown == shown


async def test_a_file_of_the_url_that_is_not_there_is_named(own_server: OwnServer) -> None:
    """Else the system says that some file is missing, as it does of a socket."""
    with pytest.raises(ValueError, match="sslrootcert names a file that is not there"):
        await open_postgres(guarded(own_server, PASSWORD, sslrootcert="/nowhere"))


async def test_a_database_that_does_not_hold_every_text_is_refused(own_server: OwnServer) -> None:
    """Whatever it would do with it."""
    await execute(own_server.url, "CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreRefusedError, match="has the encoding LATIN1"):
        await opens(database_url(own_server.url, "narrow"))


async def test_a_server_that_is_too_old_is_refused(own_server: OwnServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions are told."""
    monkeypatch.setattr(opening, "OLDEST_VERSION", 1_000)
    with pytest.raises(StoreRefusedError, match=r"is PostgreSQL \d+.*; it must be 1000 or newer"):
        await opens(own_server.url)


async def test_a_server_that_may_only_be_read_may_be_another_one_soon(own_server: OwnServer) -> None:
    """A standby, or a server that its keeper has closed to writes: nothing is wrong with the settings."""
    async with own_server.having(default_transaction_read_only="on"):
        with pytest.raises(StoreAwayError, match="may only be read"):
            await opens(own_server.url)


async def test_a_role_without_rights_is_told_what_it_needs(own_server: OwnServer) -> None:
    """Neither may it make the tables, nor read them."""
    await execute(own_server.url, "CREATE ROLE zonekeeper_nobody LOGIN", "CREATE DATABASE theirs")
    url = database_url(own_server.url, "theirs")
    with pytest.raises(StoreRefusedError, match="has not the rights"):
        await opens(url.replace("zonekeeper@", "zonekeeper_nobody@"))
    await opens(url)
    with pytest.raises(StoreRefusedError, match="has not the rights"):
        await opens(url.replace("zonekeeper@", "zonekeeper_nobody@"))


def test_an_address_does_not_show_its_password() -> None:
    """Wherever one is written out, as in a traceback."""
    assert "secret" not in repr(Address.parse("postgresql://me:secret@host/db"))
