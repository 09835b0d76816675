"""What `zonekeeper doctor` says of all around the store: SQLite and its settings, the disk, permissions, the daemon."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from srv.config import Settings
from srv.data_dir import PRIVATE_FILE, STORE_FILE, DataDir
from srv.doctor_report import Check, Finding, State
from srv.exits import StartFailedError
from srv.health import sqlite_settings
from srv.output import size_in_words
from srv.version import VERSION

AREA: Final = "environment"

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """The daemon that holds the data directory.

    Attributes:
        holder: the process, in words.
        facts: what it says of itself in `run/srv.json`; empty before it listens, and where another command holds it.
    """

    holder: str
    facts: dict[str, Any]


def running_daemon(data_dir: Path) -> RunningDaemon | None:
    """Find out who holds a data directory; None where nobody does."""
    held = DataDir(data_dir)
    holder = held.holder()
    if holder is None:
        return None
    try:
        facts = json.loads(held.run_file.read_bytes())
    except (OSError, ValueError):
        facts = {}
    return RunningDaemon(holder, facts if isinstance(facts, dict) else {})


def environment_checks(
    given: Settings, daemon: RunningDaemon | None, store_url: str | None, store_facts: dict[str, Any] | None
) -> tuple[list[Check], dict[str, Any]]:
    """Check the environment; returns the checks, and the member `environment` of the JSON.

    `store_url` is that of the store that is checked, without its password; None where that is the data directory's file.
    """
    data_dir = given.data_dir
    sqlite, settings = _sqlite()
    free_bytes = shutil.disk_usage(data_dir).free
    checks = [
        *settings_checks(settings, sqlite, daemon, store_facts),
        disk_check(free_bytes, _store_bytes(data_dir), given),
        Check.of(AREA, "permissions", *_permissions(data_dir, daemon)),
        daemon_check(daemon, store_url),
    ]
    facts = {
        "sqlite_version": settings.get("version"),
        "has_wal_reset_bug": settings.get("has_wal_reset_bug"),
        "settings": {name: value for name, value in settings.items() if name not in {"version", "has_wal_reset_bug"}},
        "free_bytes": free_bytes,
        "daemon": None if daemon is None else {"holder": daemon.holder, **daemon.facts},
    }
    return checks, facts


def _sqlite() -> tuple[list[Finding], dict[str, Any]]:
    """Read the settings back from a database of our own, in the system's temporary directory."""
    hint = "Use another build of SQLite or Python, or another temporary directory (TMPDIR)."
    try:
        with tempfile.TemporaryDirectory(prefix="zonekeeper-doctor-") as scratch:
            return [], sqlite_settings(Path(scratch))
    except (StartFailedError, OSError) as error:
        return [Finding("SETTINGS_REFUSED", State.WRONG, f"the settings do not take: {error}", hint)], {}


def settings_checks(
    settings: dict[str, Any], findings: list[Finding], daemon: RunningDaemon | None, store_facts: dict[str, Any] | None
) -> list[Check]:
    """Say which SQLite this is, and which settings the daemon has."""
    version = str(settings.get("version", "unknown"))
    if settings.get("has_wal_reset_bug"):
        version += (
            "; it has the WAL-reset bug (fixed in 3.51.3), which needs a checkpoint on one handle beside a write on another: "
            "here the one writing handle does both, and no other program can write meanwhile"
        )
    shown = " ".join(f"{name}={settings[name]}" for name in settings if name not in {"version", "has_wal_reset_bug"})
    mode = None if store_facts is None else store_facts["journal_mode"]
    if mode not in {None, "wal"} and daemon is not None:
        message = f"the daemon runs, and the store's journal_mode is {mode}, not wal"
        hint = "Stop the daemon and start it again; if it stays so, put the data on a local disk."
        findings = [*findings, Finding("JOURNAL_MODE", State.WRONG, message, hint)]
    return [Check.of(AREA, "sqlite", version), Check.of(AREA, "settings", shown, findings)]


def disk_check(free_bytes: int, store_bytes: int, levels: Settings) -> Check:
    """Compare the free space with its levels, and with what is stored."""
    detail = f"{size_in_words(free_bytes)} free, the store has {size_in_words(store_bytes)}"
    findings = []
    if free_bytes < levels.free_bytes_critical:
        message = f"the disk of the data directory is nearly full: {detail}"
        hint = "Free some space; writes fail when there is none, and work again when there is."
        findings.append(Finding("DISK_NEARLY_FULL", State.WRONG, message, hint))
    elif free_bytes < levels.free_bytes_warning:
        message = f"the disk of the data directory is filling up: {detail}"
        hint = "Free some space before writes fail, or set another --free-bytes-warning."
        findings.append(Finding("DISK_LOW", State.WARNING, message, hint))
    elif free_bytes < store_bytes:
        message = f"there is no room for a second copy of the store on its disk: {detail}"
        findings.append(Finding("DISK_LOW", State.WARNING, message, "Put backups on another disk."))
    return Check.of(AREA, "disk", detail, findings)


def daemon_check(daemon: RunningDaemon | None, store_url: str | None) -> Check:
    """Say whether a daemon runs, which, and whether it serves the store that is checked."""
    if daemon is None:
        return Check.of(AREA, "daemon", "none runs")
    version, url = daemon.facts.get("version"), daemon.facts.get("url")
    findings = []
    if version is not None and version != VERSION:
        message = f"the daemon is version {version}, and this is {VERSION}"
        findings.append(
            Finding("OTHER_VERSION", State.WARNING, message, "Start the daemon again to have them the same.")
        )
    served = daemon.facts.get("store", store_url)
    if served != store_url:
        file = "the data directory's file"
        message = f"the daemon serves {served or file}, and what was checked is {store_url or file}"
        findings.append(Finding("OTHER_STORE", State.WARNING, message, "Give --store as the daemon has it."))
    where = "does not listen" if url is None else f"listens on {url}, version {version}"
    return Check.of(AREA, "daemon", f"{daemon.holder}; {where}", findings)


def _permissions(data_dir: Path, daemon: RunningDaemon | None) -> tuple[str, list[Finding]]:
    findings = list(permission_findings(data_dir, daemon))
    return ("as they should be" if not findings else f"{len(findings)} are not as they should be"), findings


def permission_findings(data_dir: Path, daemon: RunningDaemon | None) -> Iterator[Finding]:
    """Look for what others could read or change, and for what we could not."""
    store = data_dir / STORE_FILE
    held = DataDir(data_dir)
    for directory in (data_dir, store.parent, held.run_file.parent):
        if _mode(directory) & _OTHERS_WRITE:
            yield _others(directory, "OTHERS_WRITE", "write to", "go-w")
    for suffix in ("", "-wal", "-shm"):
        path = store.with_name(store.name + suffix)
        if _mode(path) & _OTHERS_WRITE:
            yield _others(path, "OTHERS_WRITE", "change", "600")
        elif _mode(path) & _OTHERS_READ:
            yield _others(path, "OTHERS_READ", "read the conversations in", "600", State.WARNING)
    if _mode(held.token_file) & _OTHERS:
        yield _others(held.token_file, "TOKEN_EXPOSED", "read the token in", "600", more=" and start the daemon again")
    if _mode(held.run_file) & _OTHERS_WRITE:
        yield _others(held.run_file, "OTHERS_WRITE", "change", "600")
    socket = None if daemon is None else daemon.facts.get("unix_socket")
    if isinstance(socket, str):
        yield from _socket_findings(Path(socket))
    if not os.access(data_dir, os.W_OK | os.X_OK):
        message = f"{data_dir} cannot be written by this user, nor could a daemon that this user starts"
        yield Finding("DATA_DIR_READ_ONLY", State.WARNING, message, "Run the daemon as the user who owns it.")


def _socket_findings(socket: Path) -> Iterator[Finding]:
    """A socket needs no token from its owner: others must neither reach it nor put another in its place."""
    if _mode(socket) & _OTHERS:
        yield _others(socket, "SOCKET_EXPOSED", "reach", f"{PRIVATE_FILE:o}")
    parent = _mode(socket.parent)
    if parent & _OTHERS_WRITE and not parent & stat.S_ISVTX:
        yield _others(socket.parent, "SOCKET_EXPOSED", "put a socket of their own into", "go-w")


def _others(path: Path, word: str, verb: str, mode: str, level: State = State.WRONG, more: str = "") -> Finding:
    message = f"others can {verb} {path} (mode {stat.S_IMODE(_mode(path)):04o})"
    return Finding(word, level, message, f"chmod {mode} {path}{more}")


def _mode(path: Path) -> int:
    """Return the mode of a file, 0 where there is none."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _store_bytes(data_dir: Path) -> int:
    store = data_dir / STORE_FILE
    return sum(_size(path) for path in (store, store.with_name(store.name + "-wal")))


def _size(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
