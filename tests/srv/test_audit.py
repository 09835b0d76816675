"""Who did what, on whose account: request ids, archives and refused callers in the log."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rpc.trace import TRACE, Trace
from srv.line_bound import LineBound
from srv.stopping import Stop
from tests.faults.causes import flipped
from tests.srv.conftest import ORIGIN
from tests.srv.daemon import WAIT_SECONDS, Daemon, rpc_body
from tests.waiting import until

MARK = "a line that stands in the store once"


def test_an_archive_is_told_with_who_did_it(daemon: Daemon) -> None:
    """One line with the request's id, its rights, the agent, the zone and the session; nothing archived is nothing told."""
    daemon.request("POST", "/rpc", rpc_body("agent:session:archive", definition_id="audited"))
    appended = daemon.call("agent:session:append_output", definition_id="audited", line="x")
    body = rpc_body("agent:session:archive", definition_id="audited")
    answer = json.loads(daemon.request("POST", "/rpc", body, {"X-Request-Id": "by-hand"})[2])["result"]
    (line,) = daemon.wait_for_events("session_archived", 1, definition_id="audited")
    assert (line["request_id"], line["rights"], line["level"]) == ("by-hand", "full", "info")
    assert (line["zone"], line["session_id"]) == (answer["archive_zoneid"], appended["session_id"])


def test_lines_of_every_layer_bear_the_id_of_their_request(data_dir: Path) -> None:
    """What the door, the dispatcher and the store say of one request can be found by its id, members of a batch included."""
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line=MARK)
    store = data_dir / "db" / "zones.db"
    with Daemon.start(data_dir) as daemon, flipped(store, store.read_bytes().index(MARK.encode()), 0):
        read = {"jsonrpc": "2.0", "id": 1, "method": "agent:session:read_output", "params": ["maks"]}
        archive = {"jsonrpc": "2.0", "id": 2, "method": "agent:session:archive", "params": ["maks"]}
        body = json.dumps([read, archive]).encode()
        answer = json.loads(daemon.request("POST", "/rpc", body, {"X-Request-Id": "batch-1"})[2])
        assert answer[0]["error"]["data"]["code"] == "STORAGE_DAMAGED"
        daemon.request("POST", "/rpc", body, {"X-Request-Id": "stranger-1"}, token=False)
        assert daemon.stop() == 0
        found = {name: daemon.events(name)[0]["request_id"] for name in ("storage_failed", "session_archived")}
        assert found == {"storage_failed": "batch-1", "session_archived": "batch-1"}
        assert daemon.events("caller_refused")[0]["request_id"] == "stranger-1"
        assert "request_id" not in daemon.events("stopping")[0]


def refused(daemon: Daemon, headers: dict[str, str]) -> dict[str, object]:
    """Have a caller refused, and return what the log says of it."""
    before = len(daemon.events("caller_refused"))
    daemon.request("GET", "/readyz", headers=headers, token=False)
    return daemon.wait_for_events("caller_refused", before + 1)[-1]


def test_a_refused_caller_is_told_with_what_it_sent_but_for_tokens(data_dir: Path) -> None:
    """Reason, status, way, host and origin as sent, escaped and cut; what was shown as a token, right or wrong, never."""
    with Daemon.start(data_dir, "--unix-socket", str(data_dir / "s.sock"), "--allow-origin", ORIGIN) as daemon:
        here = f"127.0.0.1:{daemon.port}"
        line = refused(daemon, {"Authorization": "Bearer not-the-token"})
        assert (line["status"], line["peer"], line["host"], line["origin"]) == (401, "tcp", here, None)
        assert str(line["reason"]).startswith("show the token")
        evil = "http://evil.example/\u202e" + "x" * 200
        line = refused(daemon, {"Origin": evil.encode().decode("latin-1"), "X-AuthKey": daemon.token})
        assert line["status"] == 403
        assert line["origin"] == evil.replace("\u202e", "\\u202e")[:100]
        assert refused(daemon, {"Host": "evil.example"})["host"] == "evil.example"
        assert "not-the-token" not in daemon.log()
        assert daemon.token not in daemon.log()


def test_a_refused_caller_of_the_socket_came_over_it(data_dir: Path) -> None:
    """A page that somebody has forwarded to the socket is told from one that came to the port."""
    # A daemon of its own: of the one of all tests others may have had as many refusals told as there are lines in a minute.
    path = str(data_dir / "s.sock")
    with Daemon.start(data_dir, "--unix-socket", path) as daemon, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_SECONDS)
        connection.connect(path)
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 403
        (line,) = daemon.wait_for_events("caller_refused", 1)
    assert (line["peer"], line["origin"]) == ("unix", "null")


async def test_a_signal_is_on_no_request_s_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever request it interrupts: what is said of the stop does not bear its id."""
    TRACE.set(Trace("interrupted"))
    stop = Stop(lambda _: None, lambda: None)
    asked: list[str | None] = []
    monkeypatch.setattr(stop, "ask", lambda _: asked.append(TRACE.get().request_id))
    stop._hear(signal.SIGTERM, None)
    await until(lambda: bool(asked))
    assert asked == [None]


def test_a_page_that_hammers_does_not_fill_the_log(data_dir: Path) -> None:
    """Thirty lines a minute, and how many were left out is said, at the end too."""
    with Daemon.start(data_dir) as daemon:
        for _ in range(40):
            daemon.request("GET", "/readyz", token=False)
        assert daemon.stop() == 0
        assert len(daemon.events("caller_refused")) == 30
        (said,) = daemon.events("lines_left_out")
        assert (said["of"], said["lines"]) == ("caller_refused", 10)


async def test_what_was_left_out_is_said_at_the_end_of_the_minute_and_the_next_minute_begins_anew() -> None:
    """Nobody has to come again for it to be said."""
    bound = LineBound("hammering", lines_max=2, minute_seconds=0.02)
    with capture_logs() as logged:
        assert [bound.admits() for _ in range(5)] == [True, True, False, False, False]
        await until(lambda: bool(logged))
        assert bound.admits()
        bound.tell()
    assert logged == [{"event": "lines_left_out", "log_level": "warning", "of": "hammering", "lines": 3}]
