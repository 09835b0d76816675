"""The daemon: the order in which it starts and stops (DESIGN.md section 5), and who works with whom."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import structlog

from migrations.records import BLOCK_ZONES_V1, MigrationFailedError, MigrationInterruptedError, MigrationReport
from migrations.runner import run_migrations
from rpc.dispatch import Dispatcher
from rpc.files import Files
from rpc.methods import method_table, reading, refusing
from rpc.openrpc import encoded
from srv.announce import Announcer, MigrationTicker
from srv.bounds import Bounds
from srv.config import Settings, limit_settings
from srv.data_dir import STORE_FILE, DataDir, DataDirError, DataDirInUseError, make_directory
from srv.entrances import Entrances
from srv.exits import Exit, StartFailedError
from srv.health import Health
from srv.http import Dispatchers, HttpService
from srv.listen import CannotListenError
from srv.logs import hide_in_logs
from srv.metric_families import Counted
from srv.metrics import Metrics
from srv.process import leave_alone_what_stays, new_loop, raise_file_limit, stop_at_signal
from srv.progress import Show
from srv.setting_table import PROCESS_SETTINGS
from srv.stopping import Stop
from srv.supervisor import Supervisor
from srv.version import VERSION
from srv.watches import Watches
from store import moving
from store.compression_worker import CompressionWorker
from store.copying import CopyStoppedError
from store.durability import Level
from store.engine import Engine
from store.errors import (
    StorageDamagedError,
    StorageFullError,
    StoreAwayError,
    StoreError,
    StoreRefusedError,
)
from store.limits import Limits
from store.place import Place
from store.preview_worker import PreviewWorker
from store.sessions import Sessions
from store.sqlite import backup
from store.sqlite.backup import Copied
from store.sqlite.place import FilePlace
from store.terms import Terms
from store.writer import Writer

SETTINGS: Final = (*PROCESS_SETTINGS, *limit_settings(Limits()))
"""The one table of settings, whole: `srv/config.py` may not know `store`."""

ANSWER_SECONDS_MAX: Final = 2.5
"""How long a stop waits for the answers to what has arrived, before it lets the writer refuse the rest."""

DRAIN_SECONDS_MAX: Final = 0.5
"""How long after that it waits for the writer, before it gives up a database that does not answer."""

FLUSH_SECONDS_MAX: Final = 0.5
"""How long a stop waits for answers to leave, once the writer is done."""

_log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Run the daemon until it is asked to stop.

    Raises:
        StartFailedError: it could not start; its code is the process's.
    """
    daemon = Daemon(settings)
    await daemon.run()


def terms_of(settings: Settings) -> Terms:
    """Say on which terms a database is used."""
    return Terms(settings.store_connections, settings.store_statement_seconds_max, Level.of(settings.durability))


def place_of(data_dir: Path, url: str | None = None, terms: Terms | None = None) -> Place:
    """Say where the sessions of a data directory are kept: in its file, or at a URL. Raises as `place_at` does."""
    return place_at(data_dir / STORE_FILE if url is None else url, terms)


def place_at(where: Path | str, terms: Terms | None = None) -> Place:
    """Take the path of a file, or a URL that is to be used on some terms, for the place of a store.

    Raises:
        StartFailedError: the URL is none, or the package is missing that it needs.
    """
    if isinstance(where, Path) and terms is not None and terms.durability > Level.DISK:
        message = f"--durability {terms.durability.word} needs a database with a standby: a file is on one machine"
        raise StartFailedError(Exit.WRONG_USAGE, message)
    if isinstance(where, Path):
        return FilePlace(where)
    try:
        from store.postgres.place import DatabasePlace  # noqa: PLC0415 - asyncpg is there where it was asked for
    except ImportError as error:
        message = "a store at a URL needs the package asyncpg: install zonekeeper[postgres]"
        raise StartFailedError(Exit.WRONG_USAGE, message) from error
    with failures_as_exits():
        return DatabasePlace(where, new_loop, terms)


async def open_store(data_dir: Path, url: str | None = None, terms: Terms | None = None) -> Engine:
    """Open the store of a data directory, or the one at a URL, and make it where there is none.

    Raises:
        StartFailedError: it is damaged, foreign or too new, or cannot be opened at the moment.
    """
    place = place_of(data_dir, url, terms)
    if url is None:
        path = data_dir / STORE_FILE
        try:
            make_directory(path.parent)
        except OSError as error:
            raise StartFailedError(Exit.WRONG_USAGE, f"{path.parent} cannot be used: {error.strerror}") from error
    with failures_as_exits():
        return await place.open()


@contextlib.contextmanager
def failures_as_exits() -> Iterator[None]:
    """End by a failure of the store or of a migration with the exit code that it is."""
    try:
        yield
    except MigrationFailedError as error:
        raise StartFailedError(Exit.MIGRATION_FAILED, str(error)) from error
    except (StoreError, StoreRefusedError) as error:
        raise StartFailedError(Exit.STORE_REFUSED, str(error)) from error
    except StoreAwayError as error:
        raise StartFailedError(Exit.STORE_AWAY, str(error)) from error


async def copy_place(
    source: Place,
    target: Place,
    *,
    is_held: bool,
    progress: Show,
    stop: Callable[[], bool],
    verify_all: bool = False,
    at_one_instant: bool = False,
) -> dict[str, Any]:
    """Copy a store to another place; the parameters are those of `store.moving.copy_place`.

    Returns:
        The members of `CopyReport`, and `source_connections`: how many daemons had to the source, as far as its engine tells.

    Raises:
        StartFailedError: it was asked to stop. Else as `store.moving.copy_place`.
    """
    try:
        report, connections = await moving.copy_place(
            source,
            target,
            is_held=is_held,
            progress=progress,
            stop=stop,
            verify_all=verify_all,
            at_one_instant=at_one_instant,
        )
    except CopyStoppedError as error:
        message = "interrupted; " + ("nothing was left" if at_one_instant else "run it again to go on where it stopped")
        raise StartFailedError(Exit.FAILED, message) from error
    return {**asdict(report), "source_connections": connections}


def copy_store(data_dir: Path, copy: Path, progress: Callable[[int, int], None]) -> Copied:
    """Copy the store as it is at one instant into one empty file; a daemon may be running meanwhile.

    Raises:
        StartFailedError: it cannot be read, or the copy not be written.
    """
    with _copy_failures(copy):
        return backup.copy_store(data_dir / STORE_FILE, copy, progress)


async def copy_database(place: Place, copy: Path, progress: Show) -> Copied:
    """Copy a database as it is at one instant into one empty file, as `copy_store` does a file, until a signal stops it.

    Raises:
        StartFailedError: it cannot be read, or the copy not be written, or it was asked to stop.
    """
    with _copy_failures(copy):
        stop = stop_at_signal().is_set
        done = await copy_place(
            place, FilePlace(copy), is_held=False, progress=progress, stop=stop, at_one_instant=True
        )
        if done["failures"]:
            zone, reason = done["failures"][0]
            raise StartFailedError(Exit.STORE_REFUSED, f"{zone}: {reason}; zonekeeper doctor tells more")
        return backup.as_one_file(copy)


@contextlib.contextmanager
def _copy_failures(copy: Path) -> Iterator[None]:
    try:
        yield
    except StorageFullError as error:
        raise StartFailedError(Exit.FAILED, f"the disk of {copy.parent} is full: nothing was left there") from error
    except StoreRefusedError as error:
        raise StartFailedError(Exit.STORE_REFUSED, str(error)) from error
    except StorageDamagedError as error:
        raise StartFailedError(Exit.STORE_REFUSED, f"{error}; zonekeeper doctor tells more") from error
    except StoreAwayError as error:
        raise StartFailedError(Exit.STORE_AWAY, str(error)) from error
    except StoreError as error:
        raise StartFailedError(Exit.FAILED, f"{error}: the store cannot be read, or the copy not be written") from error


def now_ms() -> int:
    """Return the time in unix milliseconds."""
    return time.time_ns() // 1_000_000


class Daemon:
    """One daemon, from its start to its end."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; nothing happens before `run`. Needs a running event loop."""
        self._settings = settings
        self._limits = Limits(**settings.limits)
        self._data_dir = DataDir(settings.data_dir)
        self._entrances = Entrances(settings, self._limits.head_seconds_max)
        self._supervisor = Supervisor(os.environ)
        self._announcer = Announcer(self._supervisor)
        self._stop = Stop(self._announcer.stopping, self._clean_up)

    async def run(self) -> None:
        """Start, serve until asked to stop, and stop. Raises as `serve` does."""
        raise_file_limit(self._limits.connections_max)
        self._stop.listen(exit_with_parent=self._settings.exit_with_parent)
        _log.info("starting", version=VERSION, pid=os.getpid(), data_dir=str(self._settings.data_dir))
        try:
            self._entrances.prepare(os.environ)
            self._data_dir.lock()
            with self._data_dir:
                if self._data_dir.is_open_to_others:
                    path = str(self._settings.data_dir)
                    _log.warning("data_directory_open", path=path, hint="close it to others: chmod go-w")
                try:
                    await self._run_locked()
                finally:
                    self._clean_up()
        except DataDirInUseError as error:
            raise StartFailedError(Exit.DATA_DIR_IN_USE, str(error)) from error
        except DataDirError as error:
            raise StartFailedError(Exit.WRONG_USAGE, str(error)) from error
        except CannotListenError as error:
            raise StartFailedError(Exit.CANNOT_LISTEN, str(error)) from error
        except MigrationInterruptedError:
            _log.info("migration_interrupted", hint="the next start goes on where this one stopped")
        finally:
            self._stop.listen_no_more()
            self._supervisor.close()
        _log.info("stopped")

    async def _run_locked(self) -> None:
        with MigrationTicker(BLOCK_ZONES_V1, self._announcer.migrating) as ticker:
            engine = await open_store(self._data_dir.path, self._settings.store, terms_of(self._settings))
            try:
                with failures_as_exits():
                    reports = await run_migrations(
                        self._data_dir.path, engine, now_ms=now_ms, progress=ticker.progress, stop=self._stop.is_asked
                    )
            except BaseException:
                await engine.close()
                raise
        try:
            if not self._stop.is_asked():
                await self._serve(engine, reports)
        finally:
            await engine.close()

    async def _serve(self, engine: Engine, reports: list[MigrationReport]) -> None:
        """Serve until asked to stop; then answer what has arrived, and let the writer finish."""
        writer = Writer(engine, self._limits)
        previews = PreviewWorker(engine, writer.submit)
        compressions = CompressionWorker(engine, writer.submit, lambda: writer.batch_changes.total)
        sessions = Sessions(engine, writer, previews, self._limits, now_ms, compressions.notify)
        health = Health(engine, writer, reports, now_ms)
        watches = Watches(self._settings, writer.met_full_disk)
        service = self._service(sessions, writer, health)
        health.tell_of(free_space=watches.free_space.status, event_loop=watches.loop_lag.status)
        writer.start()
        previews.start()
        compressions.start()
        try:
            async with watches:
                await self._listen(service)
                leave_alone_what_stays()
                await self._stop.wait()
        finally:
            await compressions.stop()
            await self._entrances.close()
            service.begin_to_stop()
            _log.info("listening_no_more")
            await _wait_at_most(ANSWER_SECONDS_MAX, service.answered())
            service.refuse_all()
            await _drain(writer, engine)
            await _wait_at_most(FLUSH_SECONDS_MAX, service.answered())
            await service.close(FLUSH_SECONDS_MAX)
            await previews.stop()

    def _service(self, sessions: Sessions, writer: Writer, health: Health) -> HttpService:
        methods = method_table(sessions, health.status)
        full = Dispatcher(methods, self._limits)
        counted = Counted(full.counts, writer.batch_changes, writer.commit_seconds, writer.sync_seconds)
        service = HttpService(
            Dispatchers(full, full.over(reading(methods)), full.over(refusing(methods))),
            files=Files(sessions, full.memory, full.counts),
            is_ready=health.is_ready,
            metrics=Metrics(health.status, counted).page,
            openrpc=encoded(),
            bounds=Bounds(**{each.name: getattr(self._limits, each.name) for each in fields(Bounds)}),
            slow_call_ms=self._settings.slow_call_ms,
        )
        health.tell_of(
            calls=full.counts.status,
            transport=service.status,
            memory=lambda: {"body_bytes": service.body_memory_bytes, "answer_bytes": full.memory.held_bytes},
        )
        return service

    async def _listen(self, service: HttpService) -> None:
        """Open the entrances, then say so."""
        settings = self._settings
        self._entrances.bind()
        tokens = self._data_dir.new_tokens(settings.token, settings.read_token)
        hide_in_logs(tokens)
        await self._entrances.open(service, tokens)
        facts = {
            **self._entrances.facts,
            "pid": os.getpid(),
            "version": VERSION,
            "token_file": None if settings.token is not None else str(self._data_dir.token_file),
        }
        has_read_token_file = settings.token is None and settings.read_token is None
        store = place_of(self._data_dir.path, settings.store).shown
        further = {
            "store": None if settings.store is None else store,
            "read_token_file": str(self._data_dir.read_token_file) if has_read_token_file else None,
            "tls_cert": None if settings.tls_cert is None else str(settings.tls_cert),
        }
        self._data_dir.write_run_file(facts | further)
        self._announcer.listening(facts)
        _log.info("listening", url=facts["url"], unix_socket=facts["unix_socket"], store=store)

    def _clean_up(self) -> None:
        self._data_dir.remove_run_files()
        self._entrances.remove()


async def _drain(writer: Writer, engine: Engine) -> None:
    """Let the writer finish what it has taken, unless its database does not answer: then that fails now."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            await writer.drain()
    except TimeoutError:
        engine.give_up()
        await writer.drain()


async def _wait_at_most(seconds: float, work: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        _log.warning("unanswered_requests", after_seconds=seconds)
