"""Other machines: nobody of them may call unless that was asked for in so many words, and then over TLS only."""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from srv.app import SETTINGS
from srv.config import WrongSettingError, resolve
from tests.srv.daemon import WAIT_SECONDS, Daemon, is_over

TOKEN = "a-token-of-some-length-0123456789"
FULL = {
    "host": "192.0.2.7",
    "allow_remote": True,
    "tls_cert": "/c.pem",
    "tls_key": "/k.pem",
}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return certificate and key of zones.example and 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")
    leaf = authority.issue_cert("zones.example", "127.0.0.1")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(key)
    return certificate, key


@pytest.mark.parametrize(
    ("changed", "token", "named"),
    [
        ({"allow_remote": None}, TOKEN, "--allow-remote"),
        ({"allow_remote": False}, TOKEN, "--allow-remote"),
        ({}, None, "ZONEKEEPER_TOKEN"),
        ({"tls_cert": None, "tls_key": None}, TOKEN, "--tls-cert"),
        ({"tls_key": None}, TOKEN, "--tls-key"),
        ({"tls_cert": None}, TOKEN, "--tls-cert"),
        ({}, "short", "22 characters"),
        ({"host": "0.0.0.0"}, TOKEN, "--allow-host"),
        ({"host": "::"}, TOKEN, "--allow-host"),
        ({"host": "::ffff:127.0.0.1"}, None, "ZONEKEEPER_TOKEN"),
        ({"host": "zones.example"}, TOKEN, "literal address"),
    ],
)
def test_a_remote_bind_needs_all_of_it(changed: Mapping[str, Any], token: str | None, named: str) -> None:
    """An address that others could reach is refused unless asked for by name, with a token and TLS; what lacks is named."""
    environment = {} if token is None else {"ZONEKEEPER_TOKEN": token}
    assert resolve(SETTINGS, FULL, {"ZONEKEEPER_TOKEN": TOKEN}).host == "192.0.2.7"
    with pytest.raises(WrongSettingError, match=named):
        resolve(SETTINGS, {**FULL, **changed}, environment)


def connect(daemon: Daemon, authority: trustme.CA, name: str = "127.0.0.1") -> http.client.HTTPSConnection:
    """Connect as a client that trusts our authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, timeout=WAIT_SECONDS, context=context)
    connection.sock = context.wrap_socket(daemon.connect(), server_hostname=name)
    return connection


def test_other_machines_are_served_over_tls_under_the_names_that_were_listed(
    data_dir: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    """On every address: a listed host is let in, another is not, and plain HTTP is not answered."""
    certificate, key = files
    options = ("--allow-remote", "--tls-cert", str(certificate), "--tls-key", str(key))
    names = ("--allow-host", "zones.example", "--allow-host", "proxy.example:443")
    with Daemon.start(
        data_dir, "--host", "0.0.0.0", *options, *names, environment={"ZONEKEEPER_TOKEN": TOKEN}
    ) as daemon:
        assert daemon.ready["url"] == f"https://127.0.0.1:{daemon.port}"
        assert json.loads((data_dir / "run" / "srv.json").read_text())["tls_cert"] == str(certificate)
        hosts = {
            f"zones.example:{daemon.port}": 200,
            "proxy.example:443": 200,
            f"127.0.0.1:{daemon.port}": 200,
            "zones.example": 403,
            f"proxy.example:{daemon.port}": 403,
            f"0.0.0.0:{daemon.port}": 403,
            f"evil.example:{daemon.port}": 403,
        }
        connection = connect(daemon, authority, "zones.example")
        for host, expected in hosts.items():
            connection.request("GET", "/readyz", headers={"Host": host, "X-AuthKey": TOKEN})
            response = connection.getresponse()
            assert (host, response.status) == (host, expected)
            response.read()
        connection.request("GET", "/readyz", headers={"Host": "proxy.example:443"})
        assert connection.getresponse().status == 401
        connection.close()
        with daemon.connect() as plain:
            plain.sendall(daemon.head("GET", "/healthz"))
            assert b"HTTP/1.1 200" not in receive_all(plain)


def receive_all(connection: socket.socket) -> bytes:
    """Read a connection to its end."""
    try:
        return b"".join(iter(lambda: connection.recv(65_536), b""))
    except ConnectionResetError:
        return b""


def test_a_daemon_with_tls_stops_at_once(data_dir: Path, authority: trustme.CA, files: tuple[Path, Path]) -> None:
    """A connection that is kept open does not hold the stop up, and what was sent before it is answered."""
    certificate, key = files
    with Daemon.start(data_dir, "--tls-cert", str(certificate), "--tls-key", str(key)) as daemon:
        connection = connect(daemon, authority)
        connection.request("GET", "/readyz", headers={"X-AuthKey": daemon.token})
        assert connection.getresponse().status == 200
        assert daemon.stop() == 0
        assert "unanswered_requests" not in daemon.log()
        connection.close()


def test_a_handshake_that_stands_still_keeps_nobody_out(
    data_dir: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    """It counts among the connections, and makes room like a stranger; who is at it yet does not hold a stop up."""
    certificate, key = files
    bounds = ("--connections-max", "2", "--head-seconds-max", "100")
    with Daemon.start(data_dir, "--tls-cert", str(certificate), "--tls-key", str(key), *bounds) as daemon:
        standing = [begun_handshake(daemon) for _ in range(3)]
        assert select.select(standing, [], [], WAIT_SECONDS)[0]
        connection = connect(daemon, authority)
        for _ in range(2):
            connection.request("GET", "/readyz", headers={"X-AuthKey": daemon.token})
            assert connection.getresponse().read() == b'{"status": "ready"}\n'
        assert daemon.stop() == 0
        assert daemon.events("connection_failed") == []
        assert all(map(is_over, standing))
        connection.close()
        for each in standing:
            each.close()


def test_a_handshake_has_the_time_of_a_head(data_dir: Path, files: tuple[Path, Path]) -> None:
    """Who connects has something to say, also where that takes a handshake first."""
    certificate, key = files
    bounds = ("--head-seconds-max", "1")
    with (
        Daemon.start(data_dir, "--tls-cert", str(certificate), "--tls-key", str(key), *bounds) as daemon,
        begun_handshake(daemon) as standing,
    ):
        assert is_over(standing)


def begun_handshake(daemon: Daemon) -> socket.socket:
    """Connect, and send the first bytes of a handshake."""
    connection = daemon.connect()
    connection.sendall(b"\x16\x03\x01\x02")
    return connection


@pytest.mark.parametrize("swapped", [True, False])
def test_certificate_files_that_cannot_be_used_are_named(
    data_dir: Path, files: tuple[Path, Path], tmp_path: Path, swapped: bool
) -> None:
    """Files that are none, or in each other's place, end the start with exit code 6 and a sentence."""
    certificate, key = reversed(files) if swapped else (tmp_path / "none.pem", files[1])
    daemon = Daemon(data_dir, "--tls-cert", str(certificate), "--tls-key", str(key))
    assert daemon.wait() == 6
    assert str(certificate) in daemon.log()
    assert "Traceback" not in daemon.log()
    assert "migration" not in daemon.log()  # it is found out before anything long begins
