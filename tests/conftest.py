"""A store as the daemon has it, over every engine: what most tests begin with."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from store.compression_worker import CompressionWorker
from store.engine import Engine
from store.limits import Limits
from store.postgres import open_postgres
from store.preview_worker import PreviewWorker
from store.sessions import Sessions
from store.sqlite import open_sqlite
from store.writer import Writer
from tests.postgres.server import DATABASES

# How long an example takes says more of the machine than of the rule; pytest's timeout bounds the whole.
settings.register_profile("zonekeeper", deadline=None)
settings.load_profile("zonekeeper")

# In the background of a shell, or below nohup, these are ignored, and would be by every process that a test starts. What has a
# handler instead is as it is by default there, and as before here.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

BEGINNING_MS = 1_750_000_000_000
"""What the clock says until a test moves it."""


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_ms = BEGINNING_MS

    def __call__(self) -> int:
        """Read it, in unix ms."""
        return self.now_ms


@dataclass(frozen=True)
class EngineKind:
    """One of the engines: every test of the contract runs over each."""

    name: str
    open: Callable[[Path], Awaitable[Engine]]
    """Opens what is stored in a directory, or begins anew there."""

    forget: Callable[[Path], None]
    """Is told that nobody opens this directory any more."""


async def _open_sqlite(directory: Path) -> Engine:
    return await open_sqlite(directory / "zones.db")


async def _open_postgres(directory: Path) -> Engine:
    return await open_postgres(await DATABASES.url_of(directory))


ENGINE_KINDS = (
    EngineKind("sqlite", _open_sqlite, lambda _: None),
    EngineKind("postgresql", _open_postgres, DATABASES.release),
)


class OpenStore:
    """Engine, writer, previews and sessions, put together as the daemon does it; `compressions.sweep` compresses archives."""

    engine: Engine
    writer: Writer
    previews: PreviewWorker
    compressions: CompressionWorker
    sessions: Sessions

    def __init__(self, kind: EngineKind, directory: Path, clock: Clock, limits: Limits) -> None:
        self._kind = kind
        self._limits = limits
        self.directory = directory
        self.clock = clock

    async def open(self) -> None:
        """Start."""
        self.engine = await self._kind.open(self.directory)
        self.writer = Writer(self.engine, self._limits)
        self.previews = PreviewWorker(self.engine, self.writer.submit)
        self.compressions = CompressionWorker(self.engine, self.writer.submit, sleep=lambda _: asyncio.sleep(0))
        self.sessions = Sessions(self.engine, self.writer, self.previews, self._limits, self.clock)
        self.writer.start()
        self.previews.start()

    async def close(self) -> None:
        """Stop, everything answered and let go of."""
        await self.previews.stop()
        await self.writer.drain()
        await self.engine.close()

    async def reopen(self) -> None:
        """Stop and start again: whatever was only in memory is gone."""
        await self.close()
        await self.open()


StoreOpener = Callable[[Limits], Awaitable[OpenStore]]
"""Opens the store of the test's directory within these limits."""


@pytest.fixture(scope="session", autouse=True)
def _loggers_keep_nothing() -> Iterator[None]:
    """Have no logger keep the form that a command, run within a test, has given to the logs of this process."""
    with pytest.MonkeyPatch.context() as patch:
        configure = structlog.configure
        patch.setattr(structlog, "configure", lambda **form: configure(**form | {"cache_logger_on_first_use": False}))
        yield


@pytest.fixture(autouse=True)
def _logs_as_they_were(_loggers_keep_nothing: None) -> Iterator[None]:
    """Take that form back at the test's end."""
    yield
    structlog.reset_defaults()


@pytest.fixture(params=ENGINE_KINDS, ids=lambda kind: kind.name)
def engine_kind(request: pytest.FixtureRequest) -> EngineKind:
    """Return each engine in turn."""
    kind: EngineKind = request.param
    return kind


@pytest.fixture
def clock() -> Clock:
    """Return the clock that the store reads."""
    return Clock()


@pytest.fixture
async def open_store(engine_kind: EngineKind, tmp_path: Path, clock: Clock) -> AsyncIterator[StoreOpener]:
    """Open stores with limits of the test's own; they are closed at its end."""
    opened: list[OpenStore] = []

    async def open_one(limits: Limits) -> OpenStore:
        store = OpenStore(engine_kind, tmp_path, clock, limits)
        await store.open()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()
    engine_kind.forget(tmp_path)


@pytest.fixture
async def store(open_store: StoreOpener) -> OpenStore:
    """Return an empty store with the usual limits; `reopen` restarts it."""
    return await open_store(Limits())


@pytest.fixture
async def engine(store: OpenStore) -> Engine:
    """Return the engine of an empty store, which nobody but the test asks or changes."""
    await store.previews.stop()
    return store.engine


@pytest.fixture
def sessions(store: OpenStore) -> Sessions:
    """Return the verbs over an empty store."""
    return store.sessions
