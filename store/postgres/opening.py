"""What keeps a store from being opened, said so that whoever starts a daemon knows what to change, or that waiting may do."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from store.errors import StoreAwayError, StoreRefusedError
from store.postgres.failures import CONNECTION_ERRORS
from store.postgres.handle import PostgresHandle

OLDEST_VERSION: Final = 11
"""The first that keeps a part which still grows in its page (`toast_tuple_target`)."""

_REFUSALS: Final = {
    "28P01": "the server does not take the password; it is looked for in ZONEKEEPER_STORE, PGPASSWORD and ~/.pgpass",
    "28000": "the server does not let this role in, or not this way: its pg_hba.conf says who may come, and how",
    "3D000": "there is no such database; make it: createdb --encoding UTF8",
    "42501": "the role has not the rights: zonekeeper migrate as the owner of the database makes the tables, and the README "
    "says which rights a daemon's own role needs on them",
    "42704": "the server does not know an option of the URL, or one that our tables need",
}
_CERTIFICATE: Final = (
    "the server's certificate does not prove that it is the host in the URL; sslrootcert must name the certificate of who has "
    "signed it, and the host must be the one that it was made out to"
)
_READS_ONLY: Final = (
    "the server may only be read: it is a standby, or default_transaction_read_only is on. Name the primary, or all hosts: the "
    "first that may be written to is taken"
)


@contextmanager
def opening(shown: str) -> Iterator[None]:
    """Say why the store cannot be opened.

    Args:
        shown: names the store to people.

    Raises:
        StoreRefusedError: it will not be opened until somebody has changed something.
        StoreAwayError: it cannot be used at the moment.
    """
    try:
        yield
    except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        refusal = _refusal(error)
        if refusal is not None:
            raise StoreRefusedError(f"the store {shown} cannot be opened: {refusal}") from error
        raise StoreAwayError(f"the store {shown} cannot be used at the moment: {_reason(error)}") from error


def check_server(handle: PostgresHandle, shown: str) -> None:
    """Look whether the server can keep a store.

    Raises:
        StoreRefusedError: it is too old, or the database cannot hold every text.
    """
    settings = handle.connection.get_settings()
    if handle.connection.get_server_version().major < OLDEST_VERSION:
        raise StoreRefusedError(
            f"the server of {shown} is PostgreSQL {settings.server_version}; it must be {OLDEST_VERSION} or newer"
        )
    encoding = getattr(settings, "server_encoding", "UTF8")  # a pooler may keep it to itself
    if encoding != "UTF8":
        raise StoreRefusedError(
            f"the database {shown} has the encoding {encoding}, which does not hold every text; make one with UTF8:"
            " createdb --encoding UTF8 --template template0"
        )


def _refusal(error: BaseException) -> str | None:
    """Say what must be changed; None where it is not that."""
    if isinstance(error, asyncpg.PostgresError):
        return _REFUSALS.get(error.sqlstate or "")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE
    if isinstance(error, asyncpg.ClientConfigurationError):
        return str(error).partition("\n")[0]
    return None


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncpg.PostgresError):
        return f"SQLSTATE {error.sqlstate}"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return _READS_ONLY
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    return getattr(error, "strerror", None) or str(error) or "the server cannot be reached"
