"""An engine over one SQLite file, for what only SQLite has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.sqlite import SqliteEngine, open_sqlite
from tests.store.foreign import FILE_NAME


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the store is."""
    return tmp_path / FILE_NAME


@pytest.fixture
async def sqlite(path: Path) -> AsyncIterator[SqliteEngine]:
    """Open an empty store."""
    engine = await open_sqlite(path)
    yield engine
    await engine.close()
