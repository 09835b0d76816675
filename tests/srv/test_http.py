"""HTTP as callers meet it: paths, methods, bodies, rubbish, and how much of it."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from importlib import resources

import pytest

from tests.srv.daemon import WAIT_SECONDS, Daemon, is_over, read_response, rpc_body

MIB = 2**20


def test_paths_that_are_not_there(daemon: Daemon) -> None:
    """An unknown path is 404, with a body that says where to go."""
    status, headers, body = daemon.request("GET", "/nothing")
    assert (status, headers["Content-Type"]) == (404, "application/json")
    assert "/rpc" in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/rpc", "POST"),
        ("PUT", "/rpc", "POST"),
        ("OPTIONS", "/rpc", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/openrpc.json", "GET, HEAD"),
        ("PATCH", "/readyz", "GET, HEAD"),
    ],
)
def test_wrong_methods_are_told_the_right_ones(daemon: Daemon, method: str, path: str, allowed: str) -> None:
    """405 names the methods that a path takes."""
    status, headers, body = daemon.request(method, path)
    assert (status, headers["Allow"]) == (405, allowed)
    assert "error" in json.loads(body)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openrpc.json"])
def test_head_is_get_without_the_body(daemon: Daemon, path: str) -> None:
    """HEAD has the headers of GET, and the connection goes on after it."""
    with daemon.connect() as connection:
        connection.sendall(daemon.head("HEAD", path) + daemon.head("GET", "/healthz"))
        received = b""
        while b'"alive"' not in received:
            received += connection.recv(65_536)
    first = received.partition(b"\r\n\r\n")[0]
    assert b"Content-Length: %d\r\n" % len(daemon.request("GET", path)[2]) in first + b"\r\n"
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_ready_while_the_store_reads(daemon: Daemon) -> None:
    """`/readyz` is 200 while the store can be read."""
    status, _, body = daemon.request("GET", "/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready"})


def test_the_openrpc_document_is_served_as_it_is_committed(daemon: Daemon) -> None:
    """`/openrpc.json` and `rpc.discover` are the same document, the one in the package."""
    served = json.loads(daemon.request("GET", "/openrpc.json")[2])
    assert served == daemon.call("rpc.discover")
    assert served == json.loads((resources.files("rpc") / "openrpc.json").read_bytes())


def test_answers_are_kept_nowhere_and_taken_for_what_they_are(daemon: Daemon) -> None:
    """Every answer says that it is JSON, and not to be stored."""
    for path in ("/healthz", "/nothing", "/readyz"):
        headers = daemon.request("GET", path)[1]
        shown = [headers[name] for name in ("Content-Type", "Cache-Control", "X-Content-Type-Options")]
        assert shown == ["application/json", "no-store", "nosniff"]
        assert headers["Date"].endswith("GMT")


def test_nothing_to_answer_is_204(daemon: Daemon) -> None:
    """A notification gets 204 and no body."""
    body = b'{"jsonrpc": "2.0", "method": "srv:status"}'
    status, headers, answer = daemon.request("POST", "/rpc", body)
    assert (status, answer) == (204, b"")
    assert "Content-Length" not in headers


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_still_answered_as_json_rpc(daemon: Daemon, body: bytes) -> None:
    """A body that could be read is answered with 200 and a JSON-RPC error, whatever it holds."""
    status, _, answer = daemon.request("POST", "/rpc", body)
    assert status == 200
    assert json.loads(answer)["error"]["code"] in {-32700, -32014}


def test_large_bodies_and_answers_come_through_whole(daemon: Daemon) -> None:
    """Megabytes go in and come out again, while the daemon goes on answering."""
    content = json.dumps({"text": "é" * (3 * MIB)}, ensure_ascii=False)
    written = daemon.call("agent:session:write_state", definition_id="large", content=content)
    assert written["bytes_written"] == len(content.encode())
    assert daemon.call("agent:session:read", definition_id="large")["content"] == content


def test_a_body_in_chunks_is_a_body(daemon: Daemon) -> None:
    """Chunked requests are answered like others."""
    body = rpc_body("agent:session:read", definition_id="chunked")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with daemon.connect() as connection:
        connection.sendall(daemon.head("POST", "/rpc", "Transfer-Encoding: chunked") + chunks)
        connection.sendall(b"0\r\n\r\n")
        status, _, answer = read_response(connection)
    assert (status, json.loads(answer)["result"]["content"]) == (200, None)


def test_a_body_declared_too_large_is_refused_unread(daemon: Daemon) -> None:
    """413 comes before any of the body was sent, and instead of the go-ahead that the caller waits for."""
    with daemon.connect() as connection:
        connection.sendall(daemon.head("POST", "/rpc", f"Content-Length: {24 * MIB + 1}", "Expect: 100-continue"))
        status, headers, body = read_response(connection)
        assert (status, headers["Connection"]) == (413, "close")
        assert "body_bytes_max" in json.loads(body)["error"]
        connection.shutdown(socket.SHUT_WR)
        assert is_over(connection)


def test_a_body_that_grows_too_large_is_refused(daemon: Daemon) -> None:
    """A chunked body declares nothing, and is refused once it is over the limit."""
    with daemon.connect() as connection:
        connection.sendall(daemon.head("POST", "/rpc", "Transfer-Encoding: chunked"))
        chunk = b"%x\r\n%b\r\n" % (MIB, b" " * MIB)

        def send() -> None:
            try:
                for _ in range(64):
                    connection.sendall(chunk)
            except OSError:
                pass

        sender = threading.Thread(target=send)
        sender.start()
        assert read_response(connection)[0] == 413
        sender.join(WAIT_SECONDS)
        assert not sender.is_alive()


def test_a_caller_that_waits_for_the_go_ahead_gets_it(daemon: Daemon) -> None:
    """`Expect: 100-continue`, which curl sends with larger bodies, is answered before the body comes."""
    body = rpc_body("agent:session:read", definition_id="maks")
    with daemon.connect() as connection:
        connection.sendall(daemon.head("POST", "/rpc", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_response(connection)[0] == 200


@pytest.mark.parametrize("zeros", [0, 20, 5_000])
def test_a_size_may_have_zeros_before_it(daemon: Daemon, zeros: int) -> None:
    """However many there are, it is the same number, also where the body comes later."""
    body = rpc_body("agent:session:read", definition_id="maks")
    with daemon.connect() as connection:
        connection.sendall(daemon.head("POST", "/rpc", f"Content-Length: {'0' * zeros}{len(body)}"))
        connection.sendall(body[:9])
        daemon.request("GET", "/healthz")
        connection.sendall(body[9:])
        assert read_response(connection)[0] == 200


def test_chunks_are_not_read_from_who_speaks_http_1_0(daemon: Daemon) -> None:
    """HTTP/1.0 knows no chunks; whoever stands between two such may have taken them for something else."""
    head = daemon.head("POST", "/rpc", "Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0")
    with daemon.connect() as connection:
        connection.sendall(head + b"2\r\n[]\r\n0\r\n\r\n")
        status, headers, _ = read_response(connection)
        assert (status, headers["Connection"]) == (400, "close")


def test_what_stands_before_an_upgrade_is_answered(daemon: Daemon) -> None:
    """Requests that came together with one that would leave HTTP are answered first."""
    upgrade = daemon.head("GET", "/readyz", "Connection: Upgrade", "Upgrade: websocket")
    with daemon.connect() as connection:
        connection.sendall(daemon.head("GET", "/healthz") * 2 + upgrade + daemon.head("GET", "/healthz"))
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b"Connection: close") == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_compressed_bodies_are_refused(daemon: Daemon, encoding: str) -> None:
    """A kilobyte that unfolds into a gigabyte is not unfolded at all."""
    bomb = gzip.compress(b" " * (30 * MIB))
    status, _, body = daemon.request("POST", "/rpc", bomb, {"Content-Encoding": encoding})
    assert status == 415
    assert "Content-Encoding" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer sesame\x00\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400_and_stays_out_of_the_log(daemon: Daemon, rubbish: bytes) -> None:
    """Rubbish gets a small JSON answer that does not repeat it, and the log does not either."""
    with daemon.connect() as connection:
        connection.sendall(rubbish)
        status, headers, body = read_response(connection)
        assert (status, headers["Content-Type"], headers["Connection"]) == (400, "application/json", "close")
        assert json.loads(body) == {"error": "this is not a valid HTTP request"}
    assert "sesame" not in daemon.log()
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("at_once", [True, False])
def test_broken_chunks_are_400(daemon: Daemon, at_once: bool) -> None:
    """A body that cannot be read to its end is refused at once, also where its rest was being waited for."""
    head = daemon.head("POST", "/rpc", "Transfer-Encoding: chunked", *([] if at_once else ["Expect: 100-continue"]))
    with daemon.connect() as connection:
        connection.sendall(head + b"5\r\nhello\r\n" + (b"zz\r\n" if at_once else b""))
        if not at_once:
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            connection.sendall(b"zz\r\n")
        assert read_response(connection)[0] == 400
        assert is_over(connection)
    assert "connection_failed" not in daemon.log()


def test_connections_are_kept_and_pipelines_answered_in_order(daemon: Daemon) -> None:
    """100 requests in one go are answered on their connection, in order."""
    request = [rpc_body("agent:session:read", n, definition_id="maks") for n in range(100)]
    with daemon.connect() as connection:
        connection.sendall(
            b"".join(daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body for body in request)
        )
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 100 or not received.endswith(b"}\n"):
            received += connection.recv(65_536)
    ids = [json.loads(part.partition(b"HTTP/1.1")[0])["id"] for part in received.split(b"\r\n\r\n")[1:]]
    assert ids == list(range(100))


def test_http_1_0_is_answered_and_closed(daemon: Daemon) -> None:
    """An old client gets its answer, and the end of the connection as the end of it."""
    with daemon.connect() as connection:
        connection.sendall(daemon.head("GET", "/healthz").replace(b"HTTP/1.1", b"HTTP/1.0"))
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert received.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in received


def test_a_refused_caller_s_connection_is_still_in_step(daemon: Daemon) -> None:
    """After a refusal the body that came with the request is not taken for the next request."""
    smuggled = daemon.head("GET", "/nothing")
    with daemon.connect() as connection:
        connection.sendall(daemon.head("POST", "/healthz", f"Content-Length: {len(smuggled)}") + smuggled)
        connection.sendall(daemon.head("GET", "/healthz"))
        received = b""
        while b'"alive"' not in received:
            received += connection.recv(65_536)
        assert b"404" not in received


def test_200_half_open_connections_keep_nobody_out(daemon: Daemon) -> None:
    """Callers that never finish their request do not take the place of those that do."""
    half_open = [daemon.connect() for _ in range(200)]
    for number, connection in enumerate(half_open):
        head = daemon.head("POST", "/rpc", "Content-Length: 1000")
        connection.sendall(head[:40] if number % 2 else head + b"{")
    assert daemon.call("agent:session:list_agents", limit=1)["agents"] is not None
    for connection in half_open:
        connection.close()


def test_a_refusal_before_the_body_says_that_the_connection_ends(daemon: Daemon) -> None:
    """A caller that was refused before it sent its body learns not to send another request behind it."""
    with daemon.connect() as connection:
        connection.sendall(b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 9\r\n\r\n" % daemon.port)
        status, headers, _ = read_response(connection)
        assert (status, headers["Connection"]) == (401, "close")
