"""`Place` over SQLite: a file."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from store.errors import NoStoreYetError, StoreError, StoreRefusedError
from store.place import Answer, Place, Reader, StoredSessions, older
from store.sqlite.engine import SqliteEngine, open_sqlite
from store.sqlite.failures import translated
from store.sqlite.handle import SqliteHandle
from store.sqlite.looking import LOG_SUFFIX, ask_sessions, open_for_long, size_of
from store.sqlite.schema import SCHEMA_VERSION, check_version

_SCRATCH_PREFIX: Final = "zonekeeper-dry-run-"


class FilePlace(Place):
    """A store in one file, and in its log beside it.

    Attributes:
        path: of the file; its directory exists before it is opened.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is touched."""
        self.path = path
        self.shown = str(path)

    async def open(self, *, is_target: bool = False) -> SqliteEngine:
        """See `Place.open`."""
        try:
            return await open_sqlite(self.path, is_target=is_target)
        except StoreError as error:
            raise StoreRefusedError(self._unusable(error)) from error

    async def ask(
        self, question: Callable[[StoredSessions | None], Awaitable[Answer]], *, is_held: bool = False
    ) -> Answer:
        """See `Place.ask`."""
        if is_held:
            return await self._ask_a_copy(question)
        return await (ask_sessions(self.path, question) if size_of(self.path) else question(None))

    @contextlib.contextmanager
    def reader(self, *, is_held: bool = False, half_too: bool = False) -> Iterator[Reader]:
        """See `Place.reader`."""
        if not size_of(self.path):
            raise NoStoreYetError(self.shown)
        with translated(f"the store {self.path}"), open_for_long(self.path, is_held=is_held) as connection:
            version = check_version(connection, self.path, is_target=half_too)
            if version == 0:
                raise NoStoreYetError(self.shown)
            if version < SCHEMA_VERSION:
                raise StoreRefusedError(older(self.shown, version, SCHEMA_VERSION))
            yield Reader(self.shown, SqliteHandle(connection), translated)

    async def _ask_a_copy(self, question: Callable[[StoredSessions | None], Awaitable[Answer]]) -> Answer:
        """Ask a copy, which may be brought up to date, made while nobody writes."""
        with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX) as scratch:
            copy = FilePlace(Path(scratch) / self.path.name)
            for suffix in ("", LOG_SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    await asyncio.to_thread(shutil.copyfile, f"{self.path}{suffix}", f"{copy.path}{suffix}")
            if not copy.path.exists():
                return await question(None)
            try:
                engine = await copy.open()
            except StoreRefusedError as error:
                raise StoreRefusedError(str(error).replace(copy.shown, self.shown)) from error
            try:
                return await question(engine)
            finally:
                await engine.close()

    def _unusable(self, error: StoreError) -> str:
        """Say that the store cannot be opened, why, and what to do."""
        if self.path.is_dir():
            return f"the store {self.path} is a directory, not a file; move it away and start again"
        if getattr(error.__cause__, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return f"the store {self.path} is in use: another program holds it; close that and start again"
        return f"the store {self.path} cannot be opened: {error}. {error.hint}"
