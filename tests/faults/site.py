"""Where a store is that daemons serve, over each engine: how they are started, and what is seen and done from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.faults.causes import locked
from tests.faults.stored import Stored, sessions_at, sessions_in, store_of
from tests.postgres.foreign import connected
from tests.srv.daemon import Daemon


class Site(ABC):
    """A store.

    Attributes:
        data_dir: of the first daemon; a further one has a directory beside it.
        environment: what makes a daemon serve this store.
        words: of errors that its callers may meet, each worth a retry.
    """

    words: tuple[str, ...] = ()

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.environment = environment

    def starting(self, number: int = 0) -> Daemon:
        """Start a daemon without waiting for anything."""
        return Daemon(self._directory(number), environment=self.environment)

    def start(self, number: int = 0, token: str | None = None) -> Daemon:
        """Start a daemon and wait until it listens; it writes its token into a file where none is given."""
        environment = self.environment if token is None else {**self.environment, "ZONEKEEPER_TOKEN": token}
        return Daemon.start(self._directory(number), environment=environment)

    @abstractmethod
    def stored(self) -> list[Stored]:
        """Read all that is stored by plain SQL, and check it; see `sessions_in`."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Hold what every change needs, as another program may."""

    def _directory(self, number: int) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}-{number}") if number else self.data_dir


class SqliteSite(Site):
    """A store in the file of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, {})

    def stored(self) -> list[Stored]:
        """See `Site.stored`."""
        return sessions_in(store_of(self.data_dir))

    def locked(self) -> AbstractContextManager[None]:
        """See `Site.locked`."""
        return locked(store_of(self.data_dir))


class PostgresSite(Site):
    """A store in a database, which daemons with directories of their own serve."""

    def __init__(self, data_dir: Path, url: str) -> None:
        super().__init__(data_dir, {"ZONEKEEPER_STORE": url})
        self.url = url

    def stored(self) -> list[Stored]:
        """See `Site.stored`."""
        with connected(self.url) as connection:
            return sessions_at(connection)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Site.locked`. Whoever reads goes on, as beside a lock of SQLite's."""
        with connected(self.url) as connection:
            connection.execute("BEGIN; LOCK TABLE agents IN EXCLUSIVE MODE")
            yield
