"""What was refused is not kept: neither errors nor tracebacks hold contents until the garbage collector comes by."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.srv.daemon import Daemon, rpc_body

MIB = 2**20
CONTENT_BYTES = 7 * MIB
CONTENT = b"x" * CONTENT_BYTES
SNAPSHOT = "/zones/maks/current/output.state.json"

Refused = Callable[[Daemon], None]
"""Sends contents that are refused."""


def stale_write(daemon: Daemon) -> None:
    """Write to a session that is gone."""
    request = rpc_body("agent:session:write_state", definition_id="maks", content=CONTENT.decode(), session_id="gone")
    answer = json.loads(daemon.request("POST", "/rpc", request)[2])
    assert answer["error"]["data"]["code"] == "STALE_SESSION"


def misplaced_append(daemon: Daemon) -> None:
    """Append where the output does not end."""
    request = rpc_body("agent:session:append_output", definition_id="maks", line=CONTENT.decode(), expect_offset=1)
    answer = json.loads(daemon.request("POST", "/rpc", request)[2])
    assert answer["error"]["data"]["code"] == "OFFSET_MISMATCH"


def bound_put(daemon: Daemon) -> None:
    """Put a snapshot whose conditions are met, but not its parameters."""
    assert daemon.request("PUT", f"{SNAPSHOT}?expect_revision=77", CONTENT, {"If-Match": "*"})[0] == 412


def broken_chunks(daemon: Daemon) -> None:
    """Send a chunk and rubbish behind it."""
    chunk = b"%x\r\n%b\r\nrubbish\r\n" % (CONTENT_BYTES, CONTENT)
    with closing(daemon.connect()) as connection, suppress(ConnectionError):
        connection.sendall(daemon.head("PUT", SNAPSHOT, "Transfer-Encoding: chunked") + chunk)
        assert connection.recv(12) == b"HTTP/1.1 400"


def lost_body(daemon: Daemon) -> None:
    """Go amid a body."""
    with closing(daemon.connect()) as connection:
        connection.sendall(daemon.head("PUT", SNAPSHOT, f"Content-Length: {2 * CONTENT_BYTES}") + CONTENT)


def rubbish(daemon: Daemon) -> None:
    """Send much that is no HTTP, time and again."""
    for _ in range(CONTENT_BYTES // 200_000):
        with closing(daemon.connect()) as connection, suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nrubbish\r\n" + CONTENT[:200_000])
            connection.recv(12)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon with a session."""
    with Daemon.start(tmp_path_factory.mktemp("refused") / "data") as running:
        running.call("agent:session:write_state", definition_id="maks", content="{}")
        yield running


def held_bytes(daemon: Daemon) -> int:
    """Return how much memory a daemon has."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="utf-8")
    return 1024 * int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[0])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the memory of another process")
@pytest.mark.parametrize("refused", [rubbish, stale_write, misplaced_append, bound_put, broken_chunks, lost_body])
def test_what_was_refused_leaves_memory(daemon: Daemon, refused: Refused) -> None:
    """However often the same is sent again, as a pane does that has outlived its session, the daemon does not grow."""
    for _ in range(4):
        refused(daemon)
    before = held_bytes(daemon)
    for _ in range(16):
        refused(daemon)
    assert daemon.request("GET", "/healthz")[0] == 200
    assert held_bytes(daemon) - before < 5 * CONTENT_BYTES
