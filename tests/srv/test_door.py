"""The door: token, Host, Origin and the Unix socket (DESIGN.md section 6)."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from srv import cli, process, serve_command
from srv.addresses import hosts_of, url_of
from srv.auth import HOST_COUNT, Door, is_same_user
from srv.tokens import Tokens
from tests.srv.conftest import ORIGIN
from tests.srv.daemon import WAIT_SECONDS, Daemon, read_response, rpc_body

STATUS = rpc_body("agent:session:list_agents")


def ask(
    daemon: Daemon, *lines: str, path: str = "/readyz", method: str = "GET"
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a request with exactly these header lines, on a connection of its own."""
    with daemon.connect() as connection:
        connection.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1"))
        return read_response(connection)


def over_unix(daemon: Daemon, request: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a request over the Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_SECONDS)
        connection.connect(daemon.ready["unix_socket"])
        connection.sendall(request)
        return read_response(connection)


def test_health_needs_no_token_and_says_nothing_but_alive(daemon: Daemon) -> None:
    """`/healthz` answers anybody who names our host."""
    status, _, body = daemon.request("GET", "/healthz", token=False)
    assert (status, json.loads(body)) == (200, {"status": "alive"})


@pytest.mark.parametrize("path", ["/rpc", "/readyz", "/openrpc.json", "/no-such-path", "/healthz/", "//healthz"])
def test_everything_else_needs_the_token(daemon: Daemon, path: str) -> None:
    """Without a token nobody learns even which paths there are."""
    status, headers, body = daemon.request("POST", path, STATUS, token=False)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert json.loads(body).keys() == {"error"}


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer {token}",
        "Authorization: bearer {token}",
        "Authorization: BEARER   {token}",
        "X-AuthKey: {token}",
        "x-authkey: {token}",
    ],
)
def test_the_token_opens_the_door(daemon: Daemon, line: str) -> None:
    """The token is taken from either header, and the scheme in any case."""
    assert ask(daemon, f"Host: 127.0.0.1:{daemon.port}", line.format(token=daemon.token))[0] == 200


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer",
        "Authorization: Bearer {other}",
        "Authorization: Basic {token}",
        "Authorization: {token}",
        "Authorization: Bearer {token}x",
        "Authorization: Bearer {shorter}",
        "Authorization: Bearer {token}, Bearer {token}",
        "Authorization: Bearer tök\xe9n",
        "X-AuthKey: {other}",
        "X-AuthKey:",
        "Cookie: token={token}",
    ],
)
def test_anything_but_the_token_does_not(daemon: Daemon, line: str) -> None:
    """Neither another token nor the right one in another place is let in."""
    shown = line.format(token=daemon.token, other="x" * len(daemon.token), shorter=daemon.token[:-1])
    assert ask(daemon, f"Host: 127.0.0.1:{daemon.port}", shown)[0] == 401


@pytest.mark.parametrize("query", ["token={token}", "access_token={token}", "authkey={token}"])
def test_the_token_is_never_taken_from_a_url(daemon: Daemon, query: str) -> None:
    """What stands in a URL ends up in histories and logs."""
    host = f"Host: 127.0.0.1:{daemon.port}"
    assert ask(daemon, host, path=f"/readyz?{query.format(token=daemon.token)}")[0] == 401


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_our_own_names_are_let_in(daemon: Daemon, host: str) -> None:
    """Literal loopback addresses and `localhost` in any case, with our port."""
    shown = f"Authorization: Bearer {daemon.token}"
    assert ask(daemon, f"Host: {host.format(port=daemon.port)}", shown)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.evil.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:80",
        "127.0.0.1:0{port}",
        "127.0.0.1:{port}@evil.example",
        "user@127.0.0.1:{port}",
        "2130706433:{port}",
        "127.1:{port}",
        "0.0.0.0:{port}",
        "127.0.0.1:{port}, evil.example",
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_other_hosts_are_refused_whatever_the_token(daemon: Daemon, host: str, path: str) -> None:
    """A name that somebody made resolve to this machine is not ours: DNS rebinding ends here."""
    shown = f"Authorization: Bearer {daemon.token}"
    assert ask(daemon, f"Host: {host.format(port=daemon.port)}", shown, path=path)[0] == 403


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_host_is_needed(daemon: Daemon, count: int) -> None:
    """Two readers of a request with two hosts could disagree whom it is for."""
    shown = f"Authorization: Bearer {daemon.token}"
    assert ask(daemon, *[f"Host: 127.0.0.1:{daemon.port}"] * count, shown)[0] == 400


def test_a_target_that_is_no_path_is_refused(daemon: Daemon) -> None:
    """We are no proxy: the host of an absolute target would not be the one that was checked."""
    lines = (f"Host: 127.0.0.1:{daemon.port}", f"Authorization: Bearer {daemon.token}")
    assert ask(daemon, *lines, path="http://evil.example/readyz")[0] == 400


def test_a_listed_origin_may_call_and_is_named_in_the_answer(daemon: Daemon) -> None:
    """The answer names that origin, never `*`, and says that it depends on it."""
    sent = {"Origin": ORIGIN, "Content-Type": "application/json"}
    status, headers, _ = daemon.request("POST", "/rpc", STATUS, sent)
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, ORIGIN, "Origin")
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost",
        "https://localhost:5173",
        "http://localhost:51730",
        "http://localhost:5173.evil.example",
        "http://evil.example",
        "http://localhost:5173/",
        "HTTP://LOCALHOST:5173",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/rpc"])
def test_other_origins_are_refused_whatever_the_token(daemon: Daemon, origin: str, path: str) -> None:
    """Origins are compared whole, scheme included; what is refused is not told anything about origins."""
    status, headers, _ = daemon.request("POST", path, STATUS, {"Origin": origin, "Content-Type": "application/json"})
    assert status == 403
    assert "Access-Control-Allow-Origin" not in headers


def test_two_origins_are_refused(daemon: Daemon) -> None:
    """A request comes from one page."""
    lines = (f"Host: 127.0.0.1:{daemon.port}", f"Authorization: Bearer {daemon.token}")
    assert ask(daemon, *lines, f"Origin: {ORIGIN}", "Origin: http://evil.example")[0] == 403


def test_a_page_can_read_why_it_was_refused(daemon: Daemon) -> None:
    """A listed origin without the token gets a 401 that its page may read."""
    status, headers, _ = daemon.request("POST", "/rpc", STATUS, {"Origin": ORIGIN}, token=False)
    assert (status, headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)


def test_a_preflight_of_a_listed_origin_is_answered_without_a_token(daemon: Daemon) -> None:
    """Browsers ask first, and show no token when they do."""
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    status, headers, body = daemon.request("OPTIONS", "/rpc", None, asked, token=False)
    assert (status, body) == (204, b"")
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, PUT"
    assert headers["Access-Control-Allow-Headers"].split(", ") == [
        *("authorization", "content-type", "if-match", "if-none-match", "if-range", "range"),
        *("x-authkey", "x-authnonce", "x-request-id"),
    ]
    assert headers["Access-Control-Allow-Private-Network"] == "true"
    assert headers["Vary"] == "Origin"


def test_a_preflight_of_another_origin_is_refused(daemon: Daemon) -> None:
    """A page that may not call is told so at the first question."""
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert daemon.request("OPTIONS", "/rpc", None, asked, token=False)[0] == 403


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        (None, 415),
        ("application/json; charset=utf-8", 200),
    ],
)
def test_a_page_must_declare_its_body(daemon: Daemon, content_type: str | None, expected: int) -> None:
    """What browsers send without asking first cannot call anything."""
    sent = {"Origin": ORIGIN} if content_type is None else {"Origin": ORIGIN, "Content-Type": content_type}
    assert daemon.request("POST", "/rpc", STATUS, sent)[0] == expected


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain"])
def test_without_an_origin_any_type_will_do(daemon: Daemon, content_type: str) -> None:
    """`curl -d` declares a form, and works."""
    assert daemon.request("POST", "/rpc", STATUS, {"Content-Type": content_type})[0] == 200


def test_the_unix_socket_needs_neither_token_nor_host(daemon: Daemon) -> None:
    """A process of the same user is let in by the socket's mode."""
    request = b"POST /rpc HTTP/1.1\r\nHost: whatever\r\nContent-Length: %d\r\n\r\n%b" % (len(STATUS), STATUS)
    status, _, body = over_unix(daemon, request)
    assert (status, "agents" in json.loads(body)["result"]) == (200, True)


def test_the_unix_socket_refuses_other_origins_too(daemon: Daemon) -> None:
    """A page that reached the socket through some proxy is still a page."""
    assert over_unix(daemon, b"GET /readyz HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n\r\n")[0] == 403


def test_the_other_end_s_user_is_known() -> None:
    """The system tells which user is at the other end of a Unix socket."""
    one, other = socket.socketpair()
    with one, other:
        assert is_same_user(one, os.geteuid())
        assert not is_same_user(one, os.geteuid() + 1)


def test_the_directory_of_the_unix_socket_is_made_private(data_dir: Path, tmp_path: Path) -> None:
    """Where it is missing it is made, 0700, and the socket in it is 0600."""
    path = tmp_path / "made" / "s.sock"
    with Daemon.start(data_dir, "--unix-socket", str(path)):
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_directory_in_which_others_may_write_is_refused(data_dir: Path, tmp_path: Path, mode: int) -> None:
    """Somebody else could put a socket of his own there first, and be told what is meant for us."""
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(mode)
    daemon = Daemon(data_dir, "--unix-socket", str(directory / "s.sock"))
    assert daemon.wait() == 6
    assert "chmod 700" in daemon.log()
    assert list(directory.iterdir()) == []


def test_a_directory_that_others_may_look_into_is_warned_of(data_dir: Path, tmp_path: Path) -> None:
    """The socket's own mode keeps them out; the log says how to keep them out altogether."""
    tmp_path.chmod(0o755)
    with Daemon.start(data_dir, "--unix-socket", str(tmp_path / "s.sock")) as daemon:
        daemon.wait_for_log("socket_directory_open")


@pytest.mark.parametrize(
    ("path", "expected"), [("/healthz", 200), ("/rpc", 405), ("/none", 404), ("/rpc?token=x", 405), ("*", 400)]
)
def test_every_answer_forbids_what_a_browser_could_make_of_it(daemon: Daemon, path: str, expected: int) -> None:
    """Nothing is kept, guessed at, put into another page, or run."""
    status, headers, _ = daemon.request("GET", path)
    assert status == expected
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


_CALL_AS_NOBODY = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect("s.sock")
s.sendall(b"GET /readyz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(s.recv(12).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_on_the_unix_socket_needs_the_token(data_dir: Path, tmp_path: Path) -> None:
    """Somebody who opened the socket to others has not given away the token with it."""
    with Daemon.start(data_dir, "--unix-socket", str(tmp_path / "s.sock")):
        command = [sys.executable, "-c", _CALL_AS_NOBODY, str(tmp_path)]
        tmp_path.chmod(0o711)
        assert "PermissionError" in subprocess.run(command, capture_output=True, text=True, check=False).stderr
        (tmp_path / "s.sock").chmod(0o666)
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "HTTP/1.1 401\n"


def test_a_parent_s_token_is_used_and_not_written(data_dir: Path) -> None:
    """With ZONEKEEPER_TOKEN no token file is left, an old one is removed, and only that token opens the door."""
    data_dir.mkdir()
    (data_dir / "auth.token").write_text("old")
    with Daemon.start(data_dir, environment={"ZONEKEEPER_TOKEN": "parents-secret"}) as daemon:
        assert daemon.ready["token_file"] is None
        assert not (data_dir / "auth.token").exists()
        assert daemon.request("GET", "/readyz")[0] == 200
        assert daemon.request("GET", "/readyz", headers={"Authorization": "Bearer old"})[0] == 401
        assert "parents-secret" not in daemon.log() + (data_dir / "run" / "srv.json").read_text()


def test_an_empty_token_is_exit_code_2(data_dir: Path) -> None:
    """A parent that sets no token by mistake is told so, instead of an open door or a token it does not know."""
    daemon = Daemon(data_dir, environment={"ZONEKEEPER_TOKEN": ""})
    assert daemon.wait() == 2
    assert "ZONEKEEPER_TOKEN" in daemon.log()
    assert not data_dir.exists()


def test_children_do_not_inherit_the_token(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the daemon does anything, its tokens have left its environment."""
    seen: list[set[str]] = []

    def run(work: object) -> None:
        work.close()  # type: ignore[attr-defined] # the coroutine that is not run
        seen.append({name for name in os.environ if "TOKEN" in name})

    monkeypatch.setenv("ZONEKEEPER_TOKEN", "parents-secret")
    monkeypatch.setenv("ZONEKEEPER_READ_TOKEN", "for-the-debugger")
    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(serve_command, "configure_logs", lambda *_: None)
    assert cli.main(["serve", "--data-dir", str(data_dir)]) == 0
    assert seen == [set()]


def test_tokens_are_long_and_new_at_each_start(data_dir: Path) -> None:
    """256 bits, and none of them from the last time."""
    tokens = set()
    for _ in range(2):
        with Daemon.start(data_dir) as daemon:
            tokens.add(daemon.token)
    assert len(tokens) == 2
    assert all(len(token) >= 43 for token in tokens)


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 80), ("127.0.0.2", 8377), ("::1", 8377)])
def test_hosts_of_a_listener(address: str, port: int) -> None:
    """The address we listen on is a name of ours, in brackets where it is IPv6; only port 80 may be left out."""
    hosts = hosts_of(address, port)
    assert url_of(address, port).removeprefix("http://") in hosts
    assert f"localhost:{port}" in hosts
    assert ("localhost" in hosts) == (port == 80)


def test_ipv6_loopback_can_be_listened_on(data_dir: Path) -> None:
    """`--host ::1` listens there and nowhere else."""
    with Daemon.start(data_dir, "--host", "::1") as daemon:
        connection = http.client.HTTPConnection("::1", daemon.port, timeout=WAIT_SECONDS)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        with pytest.raises(ConnectionRefusedError):
            daemon.connect()


def test_two_hosts_are_refused_by_the_door_itself() -> None:
    """Aiohttp refuses them before us today; the door does not rely on it."""
    door = Door(Tokens("sesame"), (), frozenset({"localhost:1"}))
    headers = CIMultiDict([("Host", "localhost:1"), ("Host", "localhost:1")])
    assert door.refuse_stranger(CIMultiDictProxy(headers)) == HOST_COUNT
