"""Connections: where the server is, what is asked of it when one is opened, and whom that may not be shown."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from store.postgres.begins import Begins
from store.postgres.handle import LoopFactory, PostgresHandle, close_loop
from store.terms import Terms

_CONNECT_SECONDS: Final = 5.0
"""A server that has not answered by then hangs, or is not there."""

_ANSWER_SECONDS: Final = 10.0
"""How much longer than a statement may take its answer is waited for: the server ends it, unless it hangs itself."""

_GOODBYE_SECONDS: Final = 0.5
"""How long a server that lets us not in is given to close the connection."""

_CACHED_STATEMENTS: Final = 100
_HOST: Final = re.compile(r"(\[[^]]*\]|[^][:]*)(:[0-9]*)?")
_FILES: Final = {"passfile", "sslcert", "sslcrl", "sslkey", "sslrootcert"}

DAEMON: Final = "zonekeeper"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is. Shown anywhere, it is `shown`: without the password.

    Attributes:
        url: for asyncpg, as libpq has it; the password may also stand in `~/.pgpass`, a service file, or `PGPASSWORD`. Of
            several hosts the first one is used that may be written to, unless its `target_session_attrs` says otherwise.
        statement_cache_size: statements that a connection keeps prepared; None where that is found out.
        application: what the server is told of who we are.
    """

    url: str = field(repr=False)
    statement_cache_size: int | None = None
    application: str = DAEMON

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take our own options out of a URL.

        Raises:
            ValueError: it is not one of PostgreSQL's, or an option is not what it must be.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"postgresql", "postgres"}:
            raise ValueError("must be a URL such as postgresql://host/database")
        _check_escaped(parts)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in _FILES & options.keys():
            if not Path(options[name]).is_file():
                raise ValueError(f"{name} names a file that is not there")
        options.setdefault("target_session_attrs", "read-write")
        size = options.pop("statement_cache_size", None)
        if size is not None and not (size.isascii() and size.isdecimal()):
            raise ValueError("statement_cache_size must be a number")
        return cls(urlunsplit(parts._replace(query=urlencode(options))), None if size is None else int(size))

    @property
    def hosts(self) -> int:
        """How many servers it names."""
        parts = urlsplit(self.url)
        return 1 + max(parts.netloc.count(","), dict(parse_qsl(parts.query)).get("host", "").count(","))

    def rotated(self) -> Self:
        """Return the same address with the first server named last."""
        parts = urlsplit(self.url)
        who, at, where = parts.netloc.rpartition("@")
        options = dict(parse_qsl(parts.query))
        moved = {name: _first_last(options[name]) for name in ("host", "port") if name in options}
        url = parts._replace(netloc=f"{who}{at}{_first_last(where)}", query=urlencode(options | moved))
        return replace(self, url=urlunsplit(url))

    def of_a_copy(self) -> Self:
        """Return the same address for whoever is no daemon and must not be taken for one."""
        return replace(self, application="zonekeeper copy")

    @property
    def shown(self) -> str:
        """The URL for people: without user, password and options, but for one that says where it is."""
        parts = urlsplit(self.url)
        options = dict(parse_qsl(parts.query))
        where = parts.netloc.rpartition("@")[2] or options.get("host") or options.get("service", "")
        return f"{parts.scheme}://{where}{parts.path}"


class Connections:
    """Opens the connections of one daemon.

    Attributes:
        is_pooled: there is a pooler between us and the server; known once a connection was opened.
    """

    def __init__(self, address: Address, terms: Terms, new_loop: LoopFactory) -> None:
        """Keep where to, on which terms, and what makes the loop that a connection lives on."""
        self._address = address
        self._statement_seconds = terms.statement_seconds_max + _ANSWER_SECONDS
        self._begins = Begins(terms)
        self._new_loop = new_loop
        self._statement_cache_size = address.statement_cache_size
        self._handles: set[PostgresHandle] = set()
        self._opening: set[asyncio.AbstractEventLoop] = set()
        self._is_given_up = False
        self.is_pooled = False

    def open(self) -> PostgresHandle:
        """Open one. Raises asyncpg's errors and the system's.

        A pooler in transaction mode hands the next transaction to another connection, where what was prepared is not known.
        So the first one that is opened prepares nothing that outlives a transaction, and looks whether there is a pooler.
        """
        handle = self._open(self._statement_cache_size or 0)
        if self._statement_cache_size is not None:
            return handle
        try:
            self.is_pooled = _is_pooled(handle)
        except BaseException:
            handle.close()
            raise
        self._statement_cache_size = 0 if self.is_pooled else _CACHED_STATEMENTS
        if self.is_pooled:
            return handle
        handle.close()
        return self._open(self._statement_cache_size)

    def give_up(self) -> None:
        """Cut all that are open or being opened, and open nothing more; from any thread."""
        self._is_given_up = True
        for handle in list(self._handles):
            handle.cut()
        for loop in list(self._opening):
            with suppress(RuntimeError):  # it is closed by now
                loop.call_soon_threadsafe(_cancel_all, loop)

    def _open(self, statement_cache_size: int) -> PostgresHandle:
        """Open one, to the next server named where one does not answer: asyncpg goes on to it only from one that refuses."""
        for others_left in reversed(range(self._address.hosts)):
            try:
                return self._opened(statement_cache_size)
            except TimeoutError:
                self._address = self._address.rotated()
                if not others_left:
                    raise
        raise AssertionError("there is one host at least")

    def _opened(self, statement_cache_size: int) -> PostgresHandle:
        loop = self._new_loop()
        self._opening.add(loop)
        try:
            connection = loop.run_until_complete(self._connect(statement_cache_size))
            handle = PostgresHandle(connection, loop, self._begins)
        except asyncio.CancelledError as error:
            close_loop(loop)
            raise ConnectionAbortedError from error
        except asyncpg.InvalidAuthorizationSpecificationError:
            # asyncpg then waits for the goodbye of TLS, and so must its loop.
            close_loop(loop, _GOODBYE_SECONDS)
            raise
        except BaseException:
            close_loop(loop)
            raise
        else:
            for each in [each for each in list(self._handles) if each.connection.is_closed()]:
                self._handles.discard(each)
            self._handles.add(handle)
            return handle
        finally:
            self._opening.discard(loop)

    async def _connect(self, statement_cache_size: int) -> Any:
        if self._is_given_up:
            raise ConnectionAbortedError
        return await asyncpg.connect(
            self._address.url,
            timeout=_CONNECT_SECONDS,
            command_timeout=self._statement_seconds,
            statement_cache_size=statement_cache_size,
            server_settings={"application_name": self._address.application},
        )


def _check_escaped(parts: SplitResult) -> None:
    """Refuse a URL of which a password with a `/`, `?` or `#` would be read, and shown, as the host, path or options."""
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if (
        parts.fragment
        or "@" in parts.path
        or parts.path[:1] not in {"", "/"}
        or not all(map(_HOST.fullmatch, hosts))
        or not all("=" in option for option in filter(None, parts.query.split("&")))
    ):
        raise ValueError(
            "cannot be read; in a user or password / is written %2F, ? %3F, # %23, @ %40 and % %25, and a port is a number"
        )


def _first_last(listed: str) -> str:
    first, comma, others = listed.partition(",")
    return f"{others}{comma}{first}"


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _is_pooled(handle: PostgresHandle) -> bool:
    """Tell whether whom we talk to is another process than the one that greeted us."""
    with handle.read_transaction():
        ((pid,),) = handle.rows("backend")
    return bool(pid != handle.connection.get_server_pid())
