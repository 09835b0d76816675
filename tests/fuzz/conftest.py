"""The dispatcher as the daemon has it, over a real store."""

from __future__ import annotations

import pytest

from rpc.methods import method_table
from tests.conftest import OpenStore
from tests.rpc.conftest import Wire, status


@pytest.fixture
def wire(store: OpenStore) -> Wire:
    """Return the wire of an empty store."""
    return Wire(method_table(store.sessions, status))
