"""Connections: where the server is, what is asked of it when one is opened, and whom that may not be shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from store.postgres.handle import LoopFactory, PostgresHandle

_CONNECT_SECONDS: Final = 10.0
_STATEMENT_SECONDS: Final = 60.0
"""For one statement; the largest change, a snapshot of 64 MiB, takes one."""

_CACHED_STATEMENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is. Shown anywhere, it is `shown`: without the password.

    Attributes:
        url: for asyncpg, as libpq has it; the password may also stand in `~/.pgpass`, a service file, or `PGPASSWORD`.
        statement_cache_size: statements that a connection keeps prepared; 0 where a pooler cannot follow them.
    """

    url: str = field(repr=False)
    statement_cache_size: int = _CACHED_STATEMENTS

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take our own options out of a URL.

        Raises:
            ValueError: it is not one of PostgreSQL's, or an option is not what it must be.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"postgresql", "postgres"}:
            raise ValueError("must be a URL such as postgresql://host/database")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        size = options.pop("statement_cache_size", str(_CACHED_STATEMENTS))
        if not size.isascii() or not size.isdecimal():
            raise ValueError("statement_cache_size must be a number")
        return cls(urlunsplit(parts._replace(query=urlencode(options))), int(size))

    @property
    def shown(self) -> str:
        """The URL for people: without user, password and options."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def open(self, new_loop: LoopFactory) -> PostgresHandle:
        """Open a connection and the loop it lives on. Raises asyncpg's errors and the system's."""
        loop = new_loop()
        try:
            return PostgresHandle(loop.run_until_complete(self._connect()), loop)
        except BaseException:
            loop.close()
            raise

    async def _connect(self) -> Any:
        return await asyncpg.connect(
            self.url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_STATEMENT_SECONDS,
            statement_cache_size=self.statement_cache_size,
            server_settings={"application_name": "zonekeeper"},
        )
