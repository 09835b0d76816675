"""`zonekeeper backup`: a consistent copy of the store, checked before it gets its name."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from srv import app, process
from srv.backup_file import PartialFile, remove_leftovers
from srv.config import Settings
from srv.data_dir import STORE_FILE
from srv.escapes import escaped
from srv.exits import Exit, StartFailedError
from srv.health import store_checks
from srv.logs import configure_logs
from srv.output import size_in_words, write_out
from srv.progress import Show, progress_bar
from srv.setting_values import parse_path

_FINDINGS_SHOWN: Final = 3
_DATABASES: Final = ("zones.db", "objects.db", "filestore.db")
_OTHER_NAMES: Final = ("auth.token", "migration_agent_zones_v1.flag", "migration_template_promote_v1.flag")


@dataclass(frozen=True, slots=True)
class Done:
    """What a backup did."""

    path: Path
    size_bytes: int
    sessions: int
    archives: int
    seconds: float

    def as_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(
            {
                "path": str(self.path),
                "size_bytes": self.size_bytes,
                "sessions": self.sessions,
                "archives": self.archives,
                "seconds": round(self.seconds, 3),
            },
            indent=2,
        )

    def as_text(self) -> str:
        """Write it for people."""
        return (
            f"{escaped(str(self.path))}: {self.sessions} sessions, {size_in_words(self.size_bytes)}, "
            f"copied and checked in {self.seconds:.1f} s"
        )


def backup(options: argparse.Namespace, settings: Settings) -> int:
    """Copy the store and print what was done."""
    configure_logs(None, "error")
    if settings.store is None and not settings.data_dir.is_dir():
        raise StartFailedError(Exit.WRONG_USAGE, f"the data directory {settings.data_dir} does not exist")
    destination = destination_of(options.destination, settings.data_dir, time.time())
    if settings.store is None and not (settings.data_dir / STORE_FILE).exists():
        raise StartFailedError(
            Exit.FAILED, f"there is no store in {settings.data_dir} yet, so there is nothing to copy"
        )
    with _stopped_by_signals(), progress_bar() as show:
        done = _back_up(settings, destination, show)
    write_out(done.as_json() if options.json else done.as_text())
    return Exit.STOPPED


def destination_of(text: str, data_dir: Path, now_seconds: float) -> Path:
    """Return the path of the file to make.

    Args:
        text: DEST as it was given: a file that is not there yet, or a directory.
        data_dir: the data directory, whose own files must not be meddled with.
        now_seconds: unix time, for the name of a file in a directory.

    Raises:
        StartFailedError: wrong usage.
    """
    try:
        path = parse_path(text)
    except ValueError as error:
        raise _refused(f"DEST {error}") from error
    if path.is_dir():
        path /= f"zonekeeper-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now_seconds))}Z.db"
    elif text.endswith(os.sep) or not path.parent.is_dir():
        directory = path if text.endswith(os.sep) else path.parent
        raise _refused(f"there is no directory {directory}; make it first")
    if _is_our_own(path, data_dir):
        raise _refused(f"{path} is a name that belongs to the data directory; choose another")
    if os.path.lexists(path):
        raise _refused(f"{path} is there already, and a backup replaces nothing; choose another name or a directory")
    return path


def _back_up(settings: Settings, destination: Path, show: Show) -> Done:
    started = time.monotonic()
    data_dir, directory = settings.data_dir, destination.parent
    remove_leftovers(directory)
    if settings.store is None:
        _check_room(data_dir, directory)
    try:
        with PartialFile(directory) as partial:
            if settings.store is None:
                copied = app.copy_store(data_dir, partial.path, lambda done, total: show("copy", done, total))
            else:
                copied = process.run(app.copy_database(app.place_of(data_dir, settings.store), partial.path, show))
            _verify(partial.path, data_dir, show)
            partial.publish(destination)
    except FileExistsError as error:
        raise _refused(f"{destination} has come into being meanwhile, and a backup replaces nothing") from error
    except OSError as error:
        raise StartFailedError(Exit.FAILED, f"no backup can be made in {directory}: {error.strerror}") from error
    return Done(destination, copied.size_bytes, copied.sessions, copied.archives, time.monotonic() - started)


def _check_room(data_dir: Path, directory: Path) -> None:
    """Say at once where there is not enough room; else it would show at the end, on a disk that is full by then."""
    try:
        needed = (data_dir / STORE_FILE).stat().st_size
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise StartFailedError(Exit.FAILED, f"no backup can be made in {directory}: {error.strerror}") from error
    if free < needed:
        raise StartFailedError(
            Exit.FAILED,
            f"the disk of {directory} has {size_in_words(free)} free, and the store needs {size_in_words(needed)}",
        )


def _verify(copy: Path, data_dir: Path, show: Show) -> None:
    """Check the copy as `doctor` does."""
    wrong = store_checks(copy, lambda what, done, total: show(f"check {what}", done, total)).wrong
    if wrong:
        shown = "".join(f"\n  {escaped(message)}" for message in wrong[:_FINDINGS_SHOWN])
        raise StartFailedError(
            Exit.STORE_REFUSED,
            f"the copy is not sound, so nothing was left; zonekeeper doctor --data-dir {data_dir} tells more:{shown}",
        )


def _is_our_own(path: Path, data_dir: Path) -> bool:
    """Tell whether a name is one that the daemon or a migration uses, there now or not. Case is no difference on a Mac."""
    directory, name = path.parent.resolve(), path.name.lower()
    home = data_dir.resolve()
    if directory == home / "run" or directory.is_relative_to(home / "migration_copies"):
        return True
    if directory not in {home, home / "db"}:
        return False
    return name.startswith(_DATABASES) or name.lstrip(".").startswith(_OTHER_NAMES)


def _refused(reason: str) -> StartFailedError:
    return StartFailedError(Exit.WRONG_USAGE, reason)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end it as Ctrl-C does, so that nothing is left behind."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    for each, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
