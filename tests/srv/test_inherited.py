"""Sockets that were opened before the daemon was started, and are handed over to it as systemd does it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.srv.daemon import WAIT_SECONDS, Daemon, environment_with, read_response, rpc_body
from tests.srv.outside import needs


def tcp(host: str = "127.0.0.1") -> socket.socket:
    """Listen on a free port."""
    return socket.create_server((host, 0))


def unix(path: Path, *, file_mode: int = 0o600, directory_mode: int = 0o700) -> socket.socket:
    """Listen at a path."""
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(directory_mode)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(file_mode)
    listener.listen()
    return listener


@contextmanager
def opened(*sockets: socket.socket) -> Iterator[tuple[socket.socket, ...]]:
    """Hold sockets open, as a service manager does."""
    with ExitStack() as held:
        yield tuple(held.enter_context(each) for each in sockets)


def status_over(connection: socket.socket) -> int:
    """Call `srv:status` without a token, and return the pid that it tells."""
    body = rpc_body("srv:status")
    connection.sendall(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    pid: int = json.loads(read_response(connection)[2])["result"]["pid"]
    return pid


def test_the_daemon_listens_on_what_it_was_given_and_says_so(data_dir: Path, tmp_path: Path) -> None:
    """Both kinds take the place of those that the settings name, and are announced with their own addresses."""
    path = tmp_path / "given" / "z.sock"
    settings = ("--unix-socket", str(tmp_path / "unused.sock"))
    with opened(tcp(), unix(path)) as given, Daemon.start(data_dir, *settings, sockets=given) as daemon:
        assert daemon.port == given[0].getsockname()[1]
        assert daemon.ready["unix_socket"] == str(path)
        assert json.loads((data_dir / "run" / "srv.json").read_text())["unix_socket"] == str(path)
        assert daemon.call("srv:status")["pid"] == daemon.process.pid
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            assert status_over(caller) == daemon.process.pid
        assert not (tmp_path / "unused.sock").exists()


def test_who_calls_between_two_daemons_is_answered_by_the_second(data_dir: Path, tmp_path: Path) -> None:
    """The sockets outlive the daemon, the file of the Unix socket included: nobody is refused while it starts anew."""
    path = tmp_path / "given" / "z.sock"
    with opened(tcp(), unix(path)) as given, socket.socket(socket.AF_UNIX) as caller:
        with Daemon.start(data_dir, sockets=given) as first:
            assert first.stop() == 0
        caller.connect(str(path))
        with Daemon.start(data_dir, sockets=given) as second:
            assert status_over(caller) == second.process.pid
        second.wait()
        assert path.is_socket()


def test_what_was_not_given_is_opened_as_the_settings_say(data_dir: Path, tmp_path: Path) -> None:
    """A daemon that was handed a Unix socket alone, private by its directory, opens its port itself."""
    path = tmp_path / "given" / "z.sock"
    with opened(unix(path, file_mode=0o666)) as given, Daemon.start(data_dir, sockets=given) as daemon:
        assert daemon.request("GET", "/healthz")[0] == 200
        assert daemon.ready["unix_socket"] == str(path)


def test_what_was_meant_for_another_process_is_not_touched(data_dir: Path) -> None:
    """A variable that a parent was started with, and passed on, says nothing of our handles."""
    with opened(tcp()) as given, Daemon.start(data_dir, sockets=given, environment={"LISTEN_PID": "1"}) as daemon:
        assert daemon.port != given[0].getsockname()[1]


def datagram(_folder: Path) -> list[socket.socket]:
    """Take one that is no stream."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("127.0.0.1", 0))
    return [found]


def abstract(folder: Path) -> list[socket.socket]:
    """Take one that has no file."""
    found = socket.socket(socket.AF_UNIX)
    found.bind(f"\0{folder}"[:100])
    found.listen()
    return [found]


def removed(folder: Path) -> list[socket.socket]:
    """Take one whose file has gone."""
    found = unix(folder / "given" / "z.sock")
    (folder / "given" / "z.sock").unlink()
    return [found]


WRONG: dict[str, Callable[[Path], list[socket.socket]]] = {
    "must be a TCP socket or a Unix stream socket": datagram,
    "does not listen": lambda _folder: [socket.socket()],
    "listens on 0.0.0.0, which is neither a loopback address nor": lambda _folder: [tcp("0.0.0.0")],
    "is open to others": lambda folder: [unix(folder / "given" / "z.sock", file_mode=0o660, directory_mode=0o755)],
    "has no path": abstract,
    "is not at": removed,
    "the inherited socket 4 (two) is a second TCP socket": lambda _folder: [tcp(), tcp()],
    "the inherited socket 4 (two) is a second Unix socket": lambda folder: [
        unix(folder / "given" / name) for name in ("a", "b")
    ],
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_socket_that_breaks_a_rule_is_exit_code_6(data_dir: Path, tmp_path: Path, reason: str) -> None:
    """The daemon says which one it is, by its name as well, and what is wrong with it; nothing is migrated before."""
    with opened(*WRONG[reason](tmp_path)) as given:
        daemon = Daemon(data_dir, sockets=given, environment={"LISTEN_FDNAMES": "one:two"})
        assert daemon.wait() == 6
        assert reason in daemon.log()
        assert not data_dir.exists()


@pytest.mark.parametrize(
    ("count", "reason"), [("2", "the inherited socket 4 "), ("many", "LISTEN_FDS"), ("999", "LISTEN_FDS")]
)
def test_a_count_that_is_wrong_is_exit_code_6(data_dir: Path, count: str, reason: str) -> None:
    """Whatever says more than there are, or no number, is told so."""
    with opened(tcp()) as given:
        daemon = Daemon(data_dir, sockets=given, environment={"LISTEN_FDS": count})
        assert daemon.wait() == 6
        assert reason in daemon.log()


def test_systemd_s_own_tool_hands_sockets_over(data_dir: Path, tmp_path: Path) -> None:
    """`systemd-socket-activate` starts the daemon for the first caller, who is answered."""
    needs("systemd-socket-activate")
    path = tmp_path / "given" / "z.sock"
    path.parent.mkdir(mode=0o700)
    with tcp() as free:
        port = free.getsockname()[1]
    command = [str(shutil.which("systemd-socket-activate")), "-l", f"127.0.0.1:{port}", "-l", str(path)]
    daemon = [sys.executable, "-m", "srv", "serve", "--data-dir", str(data_dir)]
    with subprocess.Popen(
        [*command, *daemon], env=environment_with(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while f"Listening on {path}" not in process.stderr.readline():
            pass
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(WAIT_SECONDS)
            caller.connect(str(path))
            assert status_over(caller) == process.pid
        assert json.loads(process.stdout.readline())["url"] == f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read().count('"event": "stopped"') == 1
    assert process.returncode == 0
