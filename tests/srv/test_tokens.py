"""The token that only reads, and the proof by which a caller knows the daemon before it shows a token."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rpc.contract import METHODS
from rpc.methods import Method, reading
from tests.srv.daemon import Daemon, rpc_body

NONCE = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon for the tests of this module."""
    with Daemon.start(tmp_path_factory.mktemp("tokens") / "data") as daemon:
        yield daemon


def run_file(daemon: Daemon) -> dict[str, Any]:
    """Return what the daemon tells its clients."""
    facts: dict[str, Any] = json.loads((daemon.data_dir / "run" / "srv.json").read_text())
    return facts


def read_token(daemon: Daemon) -> str:
    """Return the daemon's token that only reads."""
    return Path(run_file(daemon)["read_token_file"]).read_text(encoding="utf-8").strip()


def prove(token: str, nonce: str, host: str) -> str:
    """Return what a daemon with that token answers."""
    return hmac.new(token.encode(), f"zonekeeper-proof-1\n{nonce}\n{host}".encode(), hashlib.sha256).hexdigest()


def test_the_read_token_is_another_one_and_as_private(shared: Daemon) -> None:
    """It has a file of its own, 0600, and 256 bits."""
    path = shared.data_dir / "auth.read.token"
    assert run_file(shared)["read_token_file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_token(shared)) >= 43
    assert read_token(shared) != shared.token


def test_the_read_token_reads(shared: Daemon) -> None:
    """Whatever does not change anything is open to it."""
    shown = {"X-AuthKey": read_token(shared)}
    for path in ("/readyz", "/openrpc.json"):
        assert shared.request("GET", path, headers=shown, token=False)[0] == 200
    status, _, body = shared.request("POST", "/rpc", rpc_body("srv:status"), shown, token=False)
    assert (status, "result" in json.loads(body)) == (200, True)


def test_the_read_token_changes_nothing(shared: Daemon) -> None:
    """In a batch each change is refused by name, what only reads is answered, and nothing is stored."""
    calls = [
        ("agent:session:write_state", {"definition_id": "reader", "content": "x"}),
        ("agent:session:read", {"definition_id": "reader"}),
        ("agent:session:append_output", {"definition_id": "reader", "line": "x"}),
        ("agent:session:archive", {"definition_id": "reader"}),
        ("agent:session:write_state", {"no such": "parameter"}),
    ]
    batch = [json.loads(rpc_body(method, number, **params)) for number, (method, params) in enumerate(calls)]
    batch.append({"jsonrpc": "2.0", "method": "agent:session:append_output", "params": ["reader", "a notification"]})
    shown = {"Authorization": f"Bearer {read_token(shared)}"}
    _, _, body = shared.request("POST", "/rpc", json.dumps(batch).encode(), shown, token=False)
    answers = {answer["id"]: answer for answer in json.loads(body)}
    assert answers.keys() == set(range(len(calls)))
    for number in (0, 2, 3, 4):
        error = answers[number]["error"]
        assert (error["code"], error["data"]["code"], error["data"]["retry"]) == (-32020, "READ_ONLY", False)
    assert answers[1]["result"]["session_id"] is None
    assert shared.call("agent:session:read", definition_id="reader")["session_id"] is None


def test_every_method_that_changes_is_refused_to_readers() -> None:
    """By the table, so that a method that comes later is as well."""

    async def call(_sent: object) -> None:
        """Do nothing."""

    methods = {row.name: Method(call, row.changes) for row in METHODS}
    changing = {name for name, method in reading(methods).items() if method.call is not call}
    assert changing == {"agent:session:write_state", "agent:session:append_output", "agent:session:archive"}


@pytest.mark.parametrize("given", [{}, {"ZONEKEEPER_READ_TOKEN": "for-the-debugger"}])
def test_a_parent_that_gives_a_token_keeps_both_to_itself(data_dir: Path, given: dict[str, str]) -> None:
    """No file is written, an old one is removed, and there is a read token only if the parent gives it."""
    data_dir.mkdir()
    (data_dir / "auth.read.token").write_text("old")
    with Daemon.start(data_dir, environment={"ZONEKEEPER_TOKEN": "parents-secret", **given}) as daemon:
        assert run_file(daemon)["read_token_file"] is None
        assert not (data_dir / "auth.read.token").exists()
        for token, expected in (("for-the-debugger", 200 if given else 401), ("old", 401)):
            assert daemon.request("GET", "/readyz", headers={"X-AuthKey": token}, token=False)[0] == expected


@pytest.mark.parametrize("given", ["", "parents-secret"])
def test_a_read_token_that_would_open_everything_or_nothing_is_exit_code_2(data_dir: Path, given: str) -> None:
    """An empty one, or the other token once more, is a mistake of the parent's."""
    daemon = Daemon(data_dir, environment={"ZONEKEEPER_TOKEN": "parents-secret", "ZONEKEEPER_READ_TOKEN": given})
    assert daemon.wait() == 2
    assert "ZONEKEEPER_READ_TOKEN" in daemon.log()
    assert "parents-secret" not in daemon.log()


def test_the_daemon_proves_that_it_has_the_tokens(shared: Daemon) -> None:
    """Whoever sends a nonce gets the MACs that only a holder of the tokens can make, and a body that says nothing else."""
    _, headers, body = shared.request("GET", "/healthz", headers={"X-AuthNonce": NONCE}, token=False)
    host = f"127.0.0.1:{shared.port}"
    assert headers["X-AuthProof"] == ", ".join(
        prove(token, NONCE, host) for token in (shared.token, read_token(shared))
    )
    assert json.loads(body) == {"status": "alive"}


def test_a_proof_is_of_the_host_that_was_called(shared: Daemon) -> None:
    """Passed on by a squatter on another port it does not fit; the daemon does not answer for a host that is not its own."""
    foreign = {"X-AuthNonce": NONCE, "Host": "127.0.0.1:1"}
    status, headers, _ = shared.request("GET", "/healthz", headers=foreign, token=False)
    assert (status, headers["X-AuthProof"]) == (403, None)


@pytest.mark.parametrize("name", ["localhost", "[::1]"])
def test_no_proof_for_a_host_that_somebody_else_may_be_called_by(shared: Daemon, name: str) -> None:
    """On the same port of another loopback address a squatter could pass the question on, and the answer would fit."""
    asked = {"X-AuthNonce": NONCE, "Host": f"{name}:{shared.port}"}
    status, headers, _ = shared.request("GET", "/healthz", headers=asked, token=False)
    assert (status, headers["X-AuthProof"]) == (200, None)


def test_a_listed_host_is_proved_in_any_case(data_dir: Path) -> None:
    """Who lists it vouches for what leads there; names of hosts are the same in any case."""
    with Daemon.start(data_dir, "--allow-host", "zones.example:443") as daemon:
        asked = {"X-AuthNonce": NONCE, "Host": "ZONES.example:443"}
        _, headers, _ = daemon.request("GET", "/healthz", headers=asked, token=False)
        assert headers["X-AuthProof"].startswith(prove(daemon.token, NONCE, "zones.example:443"))


@pytest.mark.parametrize("nonce", ["", "short", "g" * 32, "0" * 31, "0" * 129])
def test_no_proof_for_what_is_no_nonce(shared: Daemon, nonce: str) -> None:
    """Only what is random enough not to repeat, and cannot be anything else, is signed."""
    status, headers, _ = shared.request("GET", "/healthz", headers={"X-AuthNonce": nonce}, token=False)
    assert (status, headers["X-AuthProof"]) == (200, None)


@pytest.mark.parametrize("token", ["parents-secret", 'with"quotation\\marks'])
def test_a_token_in_the_wrong_place_is_hidden_in_the_log(data_dir: Path, token: str) -> None:
    """What a caller sends as its host, its origin or its request's id is quoted in the log, but not the token."""
    given = {"ZONEKEEPER_TOKEN": token, "ZONEKEEPER_READ_TOKEN": "for-the-debugger"}
    with Daemon.start(data_dir, environment=given) as daemon:
        for sent in (token, "for-the-debugger"):
            for name in ("Host", "Origin", "X-Request-Id"):
                assert daemon.request("GET", "/readyz", headers={name: sent}, token=False)[0] in {401, 403}
        daemon.stop()
        assert "[hidden]" in daemon.log()
        assert "for-the-debugger" not in daemon.log()
        assert token not in daemon.log()
        assert json.dumps(token)[1:-1] not in daemon.log()


def test_a_weak_token_is_not_exposed_to_guessing(data_dir: Path) -> None:
    """A proof of a short token could be tried against a dictionary at leisure, so there is none."""
    with Daemon.start(data_dir, environment={"ZONEKEEPER_TOKEN": "hunter2"}) as daemon:
        _, headers, _ = daemon.request("GET", "/healthz", headers={"X-AuthNonce": NONCE}, token=False)
        assert headers["X-AuthProof"] is None
