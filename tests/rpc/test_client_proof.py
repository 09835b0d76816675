"""Before a token is sent over TCP, who listens there has to prove to be the daemon; whoever cannot learns nothing."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest
import trustme

from rpc.client import Client
from rpc.errors import ImpostorError, TransportError, UnreachableError
from rpc.proof import NONCE_HEADER, PROOF_HEADER, proof_of
from rpc.retries import Pace
from store.errors import ReadOnlyError
from tests.rpc.squatter import Answer, Squatter, ok, squatter
from tests.srv.daemon import Daemon

CONTENT = "the content of a call"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon for the tests of this file that leave it alone."""
    with Daemon.start(tmp_path_factory.mktemp("proof") / "data") as running:
        yield running


async def no_pause(_seconds: float) -> None:
    """Fail: there is nothing to wait for."""
    raise AssertionError("an impostor is not waited for")


def nonce_in(head: bytes) -> str:
    """Return the nonce that a client asked with."""
    match = re.search(rb"X-AuthNonce: (\w+)\r\n", head)
    assert match is not None
    return match[1].decode()


def prover(token: str, host: str) -> Answer:
    """Answer with the proof that a token and a Host make."""

    async def answer(head: bytes) -> bytes:
        return ok(f"{PROOF_HEADER}: {proof_of(token, nonce_in(head), host)}")

    return answer


def always(answer: bytes) -> Answer:
    """Answer the same to everything."""

    async def answer_all(_head: bytes) -> bytes:
        return answer

    return answer_all


async def assert_learns_nothing(squatting: Squatter, token: str) -> None:
    """Call in every way there is, and look at what the squatter has heard."""
    async with Client(squatting.url, token) as client:
        client._link.pace = Pace(30, sleep=no_pause)
        calls: list[Awaitable[object]] = [
            client.call("srv:status", {"content": CONTENT}),
            client.append_output("maks", CONTENT),
            client.write_state("maks", CONTENT),
            client.put_state("maks", CONTENT.encode()),
            client.archive("maks"),
        ]
        for call in calls:
            with pytest.raises(ImpostorError, match=r"sent neither token nor content|sent nothing"):
                await call
    assert squatting.heard.count(b"\r\n\r\n") == len(calls)
    for secret in (token, CONTENT, "maks", "Authorization", "X-AuthKey"):
        assert secret.encode() not in squatting.heard


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(always(ok()), id="no proof"),
        pytest.param(always(ok(f"{PROOF_HEADER}: {'0' * 64}, {'f' * 64}")), id="made up"),
        pytest.param(always(ok(f"{PROOF_HEADER}: \xff")), id="no hex"),
        pytest.param(always(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), id="another server"),
        pytest.param(always(b"HTTP/1.1 302 Found\r\nLocation: /rpc\r\nContent-Length: 0\r\n\r\n"), id="redirect"),
        pytest.param(always(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), id="no HTTP"),
        pytest.param(prover("another token, as long as the true one, is none", "127.0.0.1:1"), id="another token"),
    ],
)
async def test_who_cannot_prove_it_learns_nothing(daemon: Daemon, answer: Answer) -> None:
    """The error says so at once; neither token nor content was sent."""
    async with squatter(answer) as squatting:
        await assert_learns_nothing(squatting, daemon.token)


async def test_who_asks_the_daemon_itself_learns_nothing(daemon: Daemon) -> None:
    """The daemon's answer is of its own port, or none: what it says of a Host it was not called by is no proof."""
    for host in (f"127.0.0.1:{daemon.port}", None):

        async def relay(head: bytes, host: str | None = host) -> bytes:
            asked = host or re.search(r"Host: (\S+)", head.decode())[1]  # type: ignore[index]  # there is one
            headers = {NONCE_HEADER: nonce_in(head), "Host": asked}
            _, given, _ = await asyncio.to_thread(daemon.request, "GET", "/healthz", None, headers, token=False)
            return ok(f"{PROOF_HEADER}: {given[PROOF_HEADER]}")

        async with squatter(relay) as squatting:
            await assert_learns_nothing(squatting, daemon.token)


async def test_a_proof_seen_before_is_none(daemon: Daemon) -> None:
    """Each connection is asked with a nonce of its own."""
    seen: list[bytes] = []

    async def replay(head: bytes) -> bytes:
        if head.startswith(b"POST"):
            return b""
        seen.append(ok(f"{PROOF_HEADER}: {proof_of(daemon.token, nonce_in(head), f'127.0.0.1:{squatting.port}')}"))
        return seen[0]

    async with squatter(replay) as squatting, Client(squatting.url, daemon.token, retry_seconds=0) as client:
        with pytest.raises(TransportError) as proved:
            await client.status()  # so far it was the daemon
        assert not isinstance(proved.value, ImpostorError)
        squatting.heard = b""
        with pytest.raises(ImpostorError):
            await asyncio.gather(*(client.status() for _ in range(2)))
    assert daemon.token.encode() not in squatting.heard


async def test_a_port_taken_over_while_the_daemon_was_away_learns_nothing(tmp_path: Path) -> None:
    """The client goes on to where the daemon is by then; its append is stored once."""
    data_dir = tmp_path / "data"
    daemon = Daemon.start(data_dir)
    try:
        async with Client.find(data_dir) as client:
            await client.append_output("maks", "first")
            token, port = daemon.token, daemon.port
            daemon.kill()
            async with squatter(always(ok()), port) as squatting:
                appending = asyncio.ensure_future(client.append_output("maks", CONTENT))
                daemon = await asyncio.to_thread(Daemon.start, data_dir)
                await appending
            assert (await client.read_output("maks")).lines == ["first", CONTENT]
    finally:
        daemon.kill()
    assert squatting.heard.startswith(b"GET /healthz ")
    for secret in (token, daemon.token, CONTENT):
        assert secret.encode() not in squatting.heard


async def test_who_is_too_busy_to_prove_it_is_no_impostor(daemon: Daemon) -> None:
    """A daemon that has too many connections says so before anything else; that is worth another try."""
    busy = always(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        squatting.answer = always(ok())

    async with squatter(busy) as squatting, Client(squatting.url, daemon.token) as client:
        client._link.pace = Pace(30, sleep=pause)
        with pytest.raises(ImpostorError):
            await client.status()
    assert len(pauses) == 1


async def test_a_connection_that_ends_with_its_proof_is_not_used(daemon: Daemon) -> None:
    """A daemon that is about to stop says so; nothing was sent to it, so any call may be made again."""

    async def last(head: bytes) -> bytes:
        proved = proof_of(daemon.token, nonce_in(head), f"127.0.0.1:{squatting.port}")
        return ok(f"{PROOF_HEADER}: {proved}", "Connection: close")

    async with squatter(last) as squatting, Client(squatting.url, daemon.token, retry_seconds=0) as client:
        with pytest.raises(UnreachableError):
            await client.archive("maks")


async def test_a_token_that_only_reads_is_proved_as_well(daemon: Daemon) -> None:
    """It reads, and what it may not do is an error of its own."""
    async with Client(daemon.url, (daemon.data_dir / "auth.read.token").read_text().strip()) as client:
        assert (await client.read("maks")).content is None
        with pytest.raises(ReadOnlyError):
            await client.append_output("maks", "{}")


async def test_localhost_is_one_address(daemon: Daemon) -> None:
    """Whoever listens at another address of that name is not spoken to."""
    async with Client(f"http://localhost:{daemon.port}", daemon.token) as client:
        assert (await client.status())["pid"] == daemon.process.pid
        assert client._link._now()._url.host == "127.0.0.1"


async def test_over_tls_the_daemon_s_own_certificate_is_trusted_and_no_other(tmp_path: Path) -> None:
    """Whatever names it bears; one that the same authority has signed is an impostor's, which is sent nothing."""
    authority = trustme.CA()
    leaf, other = authority.issue_cert("zones.example"), authority.issue_cert("zones.example", "127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems) + authority.cert_pem.bytes())
    leaf.private_key_pem.write_to_path(key)
    data_dir = tmp_path / "data"
    with Daemon.start(data_dir, "--tls-cert", str(certificate), "--tls-key", str(key)) as daemon:
        async with Client.find(data_dir) as client:
            assert (await client.status())["pid"] == daemon.process.pid
        facts = json.loads((data_dir / "run" / "srv.json").read_text())
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        other.configure_cert(context)
        async with squatter(always(ok()), tls=context) as squatting:
            (tmp_path / "run").mkdir()
            url = squatting.url.replace("http:", "https:")
            (tmp_path / "run" / "srv.json").write_text(json.dumps({**facts, "url": url}))
            async with Client.find(tmp_path) as client:
                with pytest.raises(ImpostorError, match="certificate"):
                    await client.status()
        assert squatting.heard == b""
