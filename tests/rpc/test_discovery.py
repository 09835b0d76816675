"""How a daemon is found through its data directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rpc.client import Client
from rpc.discovery import Address, Discovery
from rpc.errors import NoDaemonError, TransportError
from tests.srv.daemon import Daemon

FACTS = {"url": "http://127.0.0.1:8377", "unix_socket": None, "pid": 1, "token_file": None}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests, and their data, out of them."""
    for name in ("ZONEKEEPER_DATA_DIR", "ZONEKEEPER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))


def left(data_dir: Path, **facts: Any) -> Path:
    """Leave what a daemon leaves for its clients."""
    (data_dir / "run").mkdir(parents=True, exist_ok=True)
    (data_dir / "run" / "srv.json").write_text(json.dumps({**FACTS, **facts}))
    return data_dir


def test_a_running_daemon_is_found_with_its_token(tmp_path: Path) -> None:
    """Its Unix socket is taken where it has one, and needs none."""
    with Daemon.start(tmp_path / "tcp") as daemon:
        assert Discovery(daemon.data_dir).find() == Address(daemon.url, daemon.token)
        assert Discovery(daemon.data_dir, "another").find() == Address(daemon.url, "another")
    socket = str(tmp_path / "s")
    with Daemon.start(tmp_path / "unix", "--unix-socket", socket) as daemon:
        assert Discovery(daemon.data_dir).find() == Address(daemon.url, None, socket)
    with pytest.raises(NoDaemonError, match=f"no daemon runs on {tmp_path / 'unix'}"):
        Discovery(tmp_path / "unix").find()


def test_over_a_unix_socket_no_token_is_shown(tmp_path: Path) -> None:
    """None is asked for there, so whoever listens in the daemon's place does not learn one that was given to the client."""
    found = Discovery(left(tmp_path, unix_socket="/s"), "given").find()
    assert (found.unix_socket, found.token) == ("/s", None)


@pytest.mark.parametrize("text", ["", "1234", "root:x:0:0:root:/root:/bin/sh", "a" * 22 + "\nX: y", "é" * 30])
def test_what_is_no_token_is_shown_to_nobody(tmp_path: Path, text: str) -> None:
    """A file that the daemon has not written may hold anything; a short secret would need no proof."""
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(TransportError, match="holds no token"):
        Discovery(left(tmp_path, token_file=str(path))).find()


def test_the_directory_is_the_one_that_the_daemon_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of the environment where it names one, else the platform's."""
    assert Discovery().data_dir.name == "zonekeeper"
    assert Discovery().data_dir.is_relative_to(tmp_path)
    monkeypatch.setenv("ZONEKEEPER_DATA_DIR", "~/zones")
    assert Discovery().data_dir == tmp_path / "zones"
    assert Discovery(tmp_path).data_dir == tmp_path
    monkeypatch.setenv("ZONEKEEPER_DATA_DIR", "~nobody-of-that-name/zones")
    with pytest.raises(TransportError, match="home directory"):
        Discovery()


def test_a_token_that_a_parent_gave_is_taken_from_the_same_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is none the error says so."""
    discovery = Discovery(left(tmp_path))
    with pytest.raises(TransportError, match="ZONEKEEPER_TOKEN"):
        discovery.find()
    monkeypatch.setenv("ZONEKEEPER_TOKEN", "parents-secret")
    assert discovery.find().token == "parents-secret"


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{}", b"[1]", b"\xff", b'{"url": 1}'),
        *(
            json.dumps({**FACTS, "url": url}).encode()
            for url in (
                "x",
                "-K/tmp/x",
                "file:///x",
                "http://127.0.0.1:1@x",
                "http://x/y",
                "http://x\x1b[2J",
                "http://x\n",
            )
        ),
    ],
)
def test_what_no_daemon_has_left_is_told(tmp_path: Path, text: bytes) -> None:
    """The file that cannot be understood is named."""
    left(tmp_path)
    (tmp_path / "run" / "srv.json").write_bytes(text)
    with pytest.raises(TransportError, match=r"srv\.json cannot be understood"):
        Discovery(tmp_path, "token").find()


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Such as a directory where a file should be."""
    (tmp_path / "run" / "srv.json").mkdir(parents=True)
    with pytest.raises(TransportError, match=r"srv\.json cannot be read: Is a directory"):
        Discovery(tmp_path).find()


def test_only_the_first_certificate_of_a_file_is_the_daemon_s(tmp_path: Path) -> None:
    """Those of authorities behind it would vouch for others as well."""
    path = tmp_path / "cert.pem"
    left(tmp_path, url="https://127.0.0.1:1", tls_cert=str(path))
    discovery = Discovery(tmp_path, "token")
    with pytest.raises(TransportError, match=r"certificate is not in .*cert\.pem"):
        discovery.find()
    path.write_text(f"leaf\n{CERTIFICATE}\nauthority\n{CERTIFICATE.replace('MIIB', 'MIIC')}\n")
    assert discovery.find().certificate == CERTIFICATE


async def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    """Before anything is sent."""
    path = tmp_path / "cert.pem"
    path.write_text(CERTIFICATE)
    client = Client.find(left(tmp_path, url="https://127.0.0.1:1", tls_cert=str(path)), token="token")
    with pytest.raises(TransportError, match="certificate cannot be understood"):
        await client.__aenter__()


def test_tokens_are_not_shown(tmp_path: Path) -> None:
    """Not in the text of an address, which may get into a log."""
    assert "parents-secret" not in repr(Discovery(left(tmp_path), "parents-secret").find())
