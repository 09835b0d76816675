"""The dispatcher as the daemon has it, over a real store; and a daemon that soon gives up on who has stopped sending."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rpc.methods import method_table
from srv.health import Health
from tests.conftest import ENGINE_KINDS, EngineKind, OpenStore
from tests.fuzz.hostile import OPTIONS
from tests.rpc.conftest import Wire
from tests.srv.daemon import Daemon


def wire_of(store: OpenStore) -> Wire:
    """Put a dispatcher before a store, as the daemon has it."""
    health = Health(store.engine, store.writer, [], store.clock)
    return Wire(method_table(store.sessions, health.status))


@pytest.fixture
def engine_kind() -> EngineKind:
    """Return SQLite: that a refused request changes nothing is seen in the bytes of its file."""
    return next(kind for kind in ENGINE_KINDS if kind.name == "sqlite")


@pytest.fixture
def wire(store: OpenStore) -> Wire:
    """Return the wire of an empty store."""
    return wire_of(store)


@pytest.fixture(scope="package")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for all tests that need not know all that it does."""
    with Daemon.start(tmp_path_factory.mktemp("fuzz") / "data", *OPTIONS) as running:
        yield running
