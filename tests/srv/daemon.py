"""A daemon as a process of its own, for tests: started with its ready line read, stopped, or killed."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
WAIT_SECONDS: Final = 60
"""For what must happen: a busy machine may take long, and a test that fails may as well."""


def environment_with(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without any setting of Zonekeeper but these."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ZONEKEEPER_")}
    return {**plain, **(extra or {})}


class Daemon:
    """A running daemon; also a context manager that stops it, or kills it where it was left in a bad way.

    Attributes:
        process: the process.
        data_dir: its data directory.
        said: what it said on standard output so far, decoded.
        ready: its ready line, empty where it was not waited for.
        token: the token of its door.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """Start it on a free port, without waiting for anything; `sockets` are handed over to it (srv/inherited.py)."""
        self.data_dir = data_dir
        self.said: list[dict[str, Any]] = []
        self.ready: dict[str, Any] = {}
        self.token = (environment or {}).get("ZONEKEEPER_TOKEN", "")
        self._log: list[str] = []
        self._log_grew = threading.Condition()
        command = [sys.executable, "-m", "srv", "serve", "--data-dir", str(data_dir), "--port", "0", *arguments]
        handles = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 100) for each in sockets]
        self.process = subprocess.Popen(
            _handing_over(handles, command) if handles else command,
            cwd=ROOT,
            env=environment_with(environment),
            pass_fds=handles,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # `select` sees what the pipe holds, not what a buffer would have taken out of it
        )
        for handle in handles:
            os.close(handle)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        sockets: Sequence[socket.socket] = (),
    ) -> Self:
        """Start it and wait until it listens."""
        daemon = cls(data_dir, *arguments, environment=environment, stdin=stdin, sockets=sockets)
        try:
            while daemon.next_line()["event"] != "listening":
                pass
        except BaseException:
            daemon.kill()
            raise
        daemon.ready = daemon.said[-1]
        if daemon.ready["token_file"] is not None:
            daemon.token = Path(daemon.ready["token_file"]).read_text(encoding="utf-8").strip()
        return daemon

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, if it runs yet."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.wait()
        except BaseException:
            self.kill()
            raise

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.ready["url"])

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def next_line(self) -> dict[str, Any]:
        """Return its next line on standard output."""
        out = self.process.stdout
        assert out is not None
        assert select.select([out], [], [], WAIT_SECONDS)[0], "the daemon says nothing"
        line = out.readline()
        assert line, f"the daemon ended with {self.process.wait(WAIT_SECONDS)}: {self.log()}"
        self.said.append(json.loads(line))
        return self.said[-1]

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.signal()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end, and return its exit code. All it said by then is in `said`."""
        out = self.process.stdout
        assert out is not None
        if not out.closed:
            self.said += [json.loads(line) for line in out]
            out.close()
        code = self.process.wait(WAIT_SECONDS)
        self._reader.join(WAIT_SECONDS)
        return code

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self.wait()

    def log(self) -> str:
        """Return what it has logged so far."""
        with self._log_grew:
            return "".join(self._log)

    def wait_for_log(self, event: str) -> None:
        """Wait until it has logged an event."""
        mark = f'"event": "{event}"'
        with self._log_grew:
            found = self._log_grew.wait_for(lambda: any(mark in line for line in self._log), WAIT_SECONDS)
        assert found, f"{event} was not logged: {self.log()}"

    def events(self, name: str, **facts: Any) -> list[dict[str, Any]]:
        """Return what it has logged so far of an event with these facts."""
        wanted = {"event": name, **facts}.items()
        return [event for event in map(json.loads, self.log().splitlines()) if wanted <= event.items()]

    def wait_for_events(self, name: str, count: int, **facts: Any) -> list[dict[str, Any]]:
        """Wait until it has logged an event with these facts so many times, and return them."""
        with self._log_grew:
            found = self._log_grew.wait_for(lambda: len(self.events(name, **facts)) >= count, WAIT_SECONDS)
        assert found, f"{name} was not logged {count} times: {self.log()}"
        return self.events(name, **facts)

    def connect(self) -> socket.socket:
        """Connect to its port."""
        return socket.create_connection(("127.0.0.1", self.port), WAIT_SECONDS)

    def head(self, method: str, path: str, *lines: str, host: str | None = None) -> bytes:
        """Write the head of a request that shows the token."""
        host = f"127.0.0.1:{self.port}" if host is None else host
        parts = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {self.token}", *lines, "", ""]
        return "\r\n".join(parts).encode("latin-1")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        token: bool = True,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Send a request on a connection of its own; returns status, headers and body."""
        shown = {"Authorization": f"Bearer {self.token}"} if token else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            connection.request(method, path, body, {**shown, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def call(self, method: str, **params: Any) -> Any:
        """Call a JSON-RPC method and return its result."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, _, body = self.request("POST", "/rpc", json.dumps(request).encode())
        answer = json.loads(body)
        assert status == http.HTTPStatus.OK, answer
        assert "result" in answer, answer
        return answer["result"]

    def _read_log(self) -> None:
        pipe = self.process.stderr
        assert pipe is not None
        for line in pipe:
            with self._log_grew:
                self._log.append(line.decode())
                self._log_grew.notify_all()
        pipe.close()


def _handing_over(handles: Sequence[int], command: Sequence[str]) -> list[str]:
    """Have a command started with these handles from 3 on, and told so: it keeps the number of the shell's process."""
    moves = " ".join(f"{place}<&{handle} {handle}<&-" for place, handle in enumerate(handles, 3))
    script = f'LISTEN_FDS=${{LISTEN_FDS-{len(handles)}}} LISTEN_PID=${{LISTEN_PID-$$}} exec "$@" {moves}'
    return ["bash", "-c", script, "bash", *command]


def rpc_body(method: str, request_id: int = 1, **params: Any) -> bytes:
    """Write a JSON-RPC request."""
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()


def read_response(connection: socket.socket) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Read one response from a connection: status, headers and body."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.headers, response.read()


def is_over(connection: socket.socket) -> bool:
    """Wait until the other side has ended a connection; True where it did so without another byte."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def seconds_since(start: float) -> float:
    """Return how long ago a reading of `time.monotonic` was."""
    return time.monotonic() - start
