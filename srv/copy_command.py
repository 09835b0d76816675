"""`zonekeeper copy`: all sessions of one store into another, and what was done, for people or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from srv import app, process
from srv.config import Settings
from srv.data_dir import STORE_FILE, DataDir, DataDirError, DataDirInUseError, make_directory
from srv.escapes import escaped
from srv.exits import Exit, StartFailedError
from srv.logs import configure_logs
from srv.output import note, size_in_words, write_out
from srv.progress import progress_bar
from srv.setting_values import holds_password, parse_path, parse_store

_FAILURES_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy.

    Attributes:
        where: path of the file, or URL.
        data_dir: the data directory that the file belongs to, None where there is none.
    """

    where: Path | str
    data_dir: Path | None = None


def copy(options: argparse.Namespace, settings: Settings) -> int:
    """Copy, and print what was done."""
    configure_logs(None, "error")
    source, target = end_of("FROM", options.source), end_of("TO", options.target)
    if source.where == target.where:
        raise StartFailedError(Exit.WRONG_USAGE, "FROM and TO are the same store")
    started = time.monotonic()
    try:
        with _served(source) as holder, _held(target), progress_bar() as show:
            copy_place = partial(
                app.copy_place,
                app.place_at(source.where),
                app.place_at(target.where, app.terms_of(settings)),
                is_held=holder is None and source.data_dir is not None,
                progress=show,
                verify_all=options.verify_all,
            )
            facts = process.run(_stoppable(copy_place))
    except DataDirInUseError as error:
        raise StartFailedError(Exit.DATA_DIR_IN_USE, f"{error}; stop it first") from error
    except DataDirError as error:
        raise StartFailedError(Exit.WRONG_USAGE, str(error)) from error
    is_served = bool(holder) or facts.pop("source_connections") > 0
    facts = {**facts, "source_is_served": is_served, "seconds": round(time.monotonic() - started, 3)}
    write_out(json.dumps(facts, indent=2) if options.json else _as_text(facts))
    if is_served:
        note(
            "FROM is being served: what it takes from now on is not in the copy. Stop its daemons and run this once more"
        )
    return Exit.FAILED if facts["failures"] else Exit.STOPPED


def end_of(name: str, text: str) -> End:
    """Read one end of a copy.

    Args:
        name: what to call it.
        text: a URL, which has `://`, or a path: of a file where it ends in `.db` or is one, else of a data directory.

    Raises:
        StartFailedError: it is none of these.
    """
    try:
        where = parse_store(text) if "://" in text else parse_path(text)
    except ValueError as error:
        or_what = "" if "://" in text else ", or a URL such as postgresql://user@host/database"
        raise StartFailedError(Exit.WRONG_USAGE, f"{name} {error}{or_what}") from error
    if isinstance(where, str):
        if holds_password(where):
            message = f"{name} must not hold a password, which every process may read; ~/.pgpass or PGPASSWORD tells it"
            raise StartFailedError(Exit.WRONG_USAGE, message)
        return End(where)
    path = Path(os.path.realpath(where))
    if path.is_dir() or not (path.is_file() or path.suffix == ".db"):
        path /= STORE_FILE
    data_dir = path.parents[1]
    return End(path, data_dir if data_dir / STORE_FILE == path else None)


async def _stoppable(copy_place: Callable[..., Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    stop = process.stop_at_signal()
    with app.failures_as_exits():
        return await copy_place(stop=stop.is_set)


@contextmanager
def _served(source: End) -> Iterator[str | None]:
    """Hold the source's data directory, where it has one, so that no daemon begins to serve it; or say who does."""
    if source.data_dir is None:
        yield None
        return
    if not source.data_dir.is_dir():
        raise StartFailedError(Exit.WRONG_USAGE, f"the data directory {source.data_dir} does not exist")
    data_dir = DataDir(source.data_dir)
    try:
        data_dir.lock_without_a_trace()
    except DataDirInUseError as error:
        yield error.holder
        return
    with data_dir:
        yield None


@contextmanager
def _held(target: End) -> Iterator[None]:
    """Hold the target's data directory, where it has one, made where it is missing."""
    if target.data_dir is None:
        yield
        return
    data_dir = DataDir(target.data_dir)
    data_dir.lock()
    with data_dir:
        make_directory((target.data_dir / STORE_FILE).parent)
        yield


def _as_text(facts: dict[str, Any]) -> str:
    changed, gone = facts["sessions_changed"], facts["sessions_dropped"]
    copied, compared = size_in_words(facts["bytes_copied"]), size_in_words(facts["bytes_verified"])
    lines = [
        f"{facts['sessions']} sessions: {changed} copied or brought up to date, {gone} deleted as FROM has them no more"
    ]
    lines.append(f"{copied} copied, {compared} read back and compared, in {facts['seconds']:.1f} s")
    if facts["digest"] is not None:
        lines.append(f"digest {facts['digest']}")
    failures = facts["failures"]
    lines += [f"not copied: {escaped(zone)}: {escaped(reason)}" for zone, reason in failures[:_FAILURES_SHOWN]]
    if failures:
        lines.append(f"{len(failures)} sessions could not be copied, so the copy is not whole and no daemon serves it")
    return "\n".join(lines)
