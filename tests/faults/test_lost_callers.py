"""Callers that go away amid a request, or before its answer: what they asked for is done once, whole, or not at all."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from tests.faults.site import Site, SqliteSite
from tests.faults.stored import Stored
from tests.srv.daemon import Daemon, read_response, rpc_body

REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "append_output": {"lines": ["first of a call", "second of a call"]},
    "write_state": {"content": "{}" * 100, "covers_line": 1},
    "archive": {},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon for the tests that only look at agents of their own."""
    with Daemon.start(tmp_path_factory.mktemp("lost") / "data") as running:
        yield running


def request(daemon: Daemon, method: str, **params: Any) -> bytes:
    """Write a whole request. Without its last bytes its body is whole JSON yet, and is not what was declared."""
    body = rpc_body(f"agent:session:{method}", **params) + b"  "
    return daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body


def lose(connection: socket.socket, *, reset: bool) -> None:
    """Close a connection in order, or as where the other machine has gone."""
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def stored(site: Site, agent: str) -> list[Stored]:
    """Read all sessions of an agent, straight from the store."""
    return [each for each in site.stored() if each.agent == agent]


def noticed(daemon: Daemon) -> dict[str, Any]:
    """Let the daemon notice all that has happened to its connections by now; returns its status."""
    for _ in range(3):
        status: dict[str, Any] = daemon.call("srv:status")
    return status


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", REQUESTS)
def test_a_request_cut_off_at_any_byte_does_nothing(daemon: Daemon, method: str, reset: bool) -> None:
    """Wherever in head or body the connection is lost, nothing is stored; others are served, and the log has no complaint."""
    agent = f"cut-{method}-{reset}"
    site = SqliteSite(daemon.data_dir)
    daemon.call("agent:session:append_output", definition_id=agent, line="before")
    before = stored(site, agent)
    whole = request(daemon, method, definition_id=agent, **REQUESTS[method])
    for end in range(1, len(whole)):
        connection = daemon.connect()
        connection.sendall(whole[:end])
        lose(connection, reset=reset)
    noticed(daemon)
    assert stored(site, agent) == before
    assert "Traceback" not in daemon.log()
    assert '"level": "error"' not in daemon.log()


def test_a_lost_answer_can_be_asked_for_again(site: Site) -> None:
    """Each call is sent on a connection that is lost before the answer is read, then again: it has happened exactly once."""
    with site.start() as daemon:
        for reset in (False, True):
            check_asked_again(site, daemon, f"again-{reset}", reset=reset)


def check_asked_again(site: Site, daemon: Daemon, agent: str, *, reset: bool) -> None:
    """Lose the answers to fifty appends and an archive."""
    size = 0
    for number in range(50):
        call = {"definition_id": agent, "lines": [f"{number}a", f"{number}b"], "expect_offset": size}
        connection = daemon.connect()
        connection.sendall(request(daemon, "append_output", **call))
        lose(connection, reset=reset)
        size = daemon.call("agent:session:append_output", **call)["size_bytes"]
    (session,) = stored(site, agent)
    assert session.output.decode().split() == [f"{number}{half}" for number in range(50) for half in "ab"]
    archived = {"definition_id": agent, "session_id": session.session_id}
    connection = daemon.connect()
    connection.sendall(request(daemon, "archive", **archived))
    lose(connection, reset=reset)
    again = daemon.call("agent:session:archive", **archived)
    assert [each.archived_at_ms for each in stored(site, agent)] == [again["archived_at_ms"]]


def test_callers_that_leave_while_they_wait_for_the_store(site: Site) -> None:
    """The change on its way to the store is completed; those of lost callers behind it are dropped, and who stays is answered.

    Who has only ended its own side may still read, so its change is done. The lock that another program holds for a moment is
    waited for: nobody is refused.
    """
    with site.start() as daemon:
        for reset in (False, True):
            check_left(site, daemon, f"left-{reset}", reset=reset)


def check_left(site: Site, daemon: Daemon, agent: str, *, reset: bool) -> None:
    """Lose a caller whose change is on its way, and twenty who wait behind it."""
    with ExitStack() as connections:

        def waiting(line: str) -> socket.socket:
            connection = connections.enter_context(daemon.connect())
            lines = [f"{line}, a", f"{line}, b"]
            connection.sendall(request(daemon, "append_output", definition_id=agent, lines=lines))
            return connection

        with site.locked():
            on_its_way = waiting("on its way")
            noticed(daemon)
            behind = [waiting(f"behind {number}") for number in range(20)]
            stays = waiting("stays")
            assert any(noticed(daemon)["writer"]["queued_changes"] == 21 for _ in range(500))
            for connection in (on_its_way, *behind):
                lose(connection, reset=reset)
            noticed(daemon)
        done = ["on its way", *(f"behind {number}" for number in range(20 * (not reset))), "stays"]
        assert json.loads(read_response(stays)[2])["result"]["total_lines"] == 2 * len(done)
        (session,) = stored(site, agent)
        assert session.output.decode().splitlines() == [f"{line}, {half}" for line in done for half in "ab"]
