"""A request hidden in the body of another is never taken for a request, however the length of that body is told.

Two readers that disagree about where a body ends are what request smuggling lives on. So whatever can be read in two ways is
refused, and the connection ended.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

import pytest

from tests.fuzz.framing import answers_in, requests_in
from tests.fuzz.hostile import closes
from tests.srv.daemon import Daemon, rpc_body

HIDDEN: Final = "hidden"
_PLAIN: Final = rpc_body("agent:session:read", definition_id="open")

# Each field is that of a head whose body follows: the hidden request, or chunks and then that.
BY_SIZE: Final = [
    "Content-Length: {size}\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {size}",
    "Content-Length: {size}\r\nContent-Length: {size}",
    "Content-Length: {size}, {size}",
    "Content-Length: 0, {size}",
    "Content-Length: {size} {size}",
    "Content-Length: +{size}",
    "Content-Length: -{size}",
    "Content-Length: 0x{size}",
    "Content-Length: {size}.0",
    "Content-Length: {size}e0",
    "Content-Length: \x0b{size}",
    "Content-Length: {size}\x00",
    "Content-Length: 18446744073709551616",
    "Content-Length: 340282366920938463463374607431768211456",
    "Content-Length:",
    "Content-Length : {size}",
    " Content-Length: {size}",
    "X: y\r\n Content-Length: {size}",
    "Content-Length:\r\n {size}",
    "Content-Length\x00: {size}",
    "Content-Length\r: {size}",
    "X: y\nContent-Length: {size}",
    "X: y\rContent-Length: {size}",
]
BY_CHUNKS: Final = [
    "Transfer-Encoding: chunked\r\nContent-Length: {size}",
    "Content-Length: {size}\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: chunked;q=0",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\x00",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
]
CHUNKS: Final = [
    b"%x\r\n%b\r\n0\r\n\r\n",
    b"0%x\r\n%b\r\n0\r\n\r\n",
    b"%x;x=y\r\n%b\r\n0\r\n\r\n",
    b"%x\r\n%b\r\n0;x\r\nX: y\r\n\r\n",
    b"%x\r\n%b\r\n0\r\nX-AuthKey: x\r\nOrigin: null\r\n\r\n",
]
BROKEN_CHUNKS: Final = [
    b"0x%x\r\n%b\r\n0\r\n\r\n",
    b"+%x\r\n%b\r\n0\r\n\r\n",
    b"-%x\r\n%b\r\n0\r\n\r\n",
    b" %x\r\n%b\r\n0\r\n\r\n",
    b"%x\n%b\r\n0\r\n\r\n",
    b"%x\r%b\r\n0\r\n\r\n",
    b"%x\r\r\n%b\r\n0\r\n\r\n",
    b"10000000000000%x\r\n%b\r\n0\r\n\r\n",
    b"fffffffffffffff%x\r\n%b\r\n0\r\n\r\n",
    b"1%015x\r\n%b\r\n0\r\n\r\n",
    b"1%016x\r\n%b\r\n0\r\n\r\n",
    b"%x;x=\n\r\n%b\r\n0\r\n\r\n",
    b"%x,1\r\n%b\r\n0\r\n\r\n",
    b"\r\n%x\r\n%b\r\n0\r\n\r\n",
]


@pytest.fixture
def hidden(daemon: Daemon) -> Iterator[bytes]:
    """Return the request that must not be executed; it was not, in the end."""
    body = rpc_body("agent:session:append_output", definition_id=HIDDEN, line="x")
    yield daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body
    assert daemon.call("agent:session:stat", definition_ids=[HIDDEN])[0]["session_id"] is None


def answers_to(daemon: Daemon, sent: bytes, method: str = "POST") -> list[int]:
    """Send bytes, and no more; wait for the end of the connection, and return the status of each answer."""
    with daemon.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        try:
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        except ConnectionResetError:
            return []
    answers = answers_in(received, [method.encode()])
    assert not answers or closes(answers[-1])
    return [answer.status for answer in answers]


@pytest.mark.parametrize("field", BY_SIZE)
def test_a_size_that_can_be_read_in_two_ways_is_refused(daemon: Daemon, hidden: bytes, field: str) -> None:
    """Sizes that contradict, are no numbers, or stand in what only some would call a field."""
    sent = daemon.head("POST", "/rpc", field.format(size=len(hidden))) + hidden
    assert requests_in(sent) == []
    assert answers_to(daemon, sent) in ([400], [])


@pytest.mark.parametrize("field", BY_CHUNKS)
@pytest.mark.parametrize("is_in_chunks", [True, False])
def test_an_encoding_that_can_be_read_in_two_ways_is_refused(
    daemon: Daemon, hidden: bytes, field: str, is_in_chunks: bool
) -> None:
    """A size beside chunks, other encodings, and `chunked` written so that only some would read it."""
    body = b"0\r\n\r\n" + hidden if is_in_chunks else b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    sent = daemon.head("POST", "/rpc", field.format(size=len(body))) + body
    assert requests_in(sent) == []
    assert answers_to(daemon, sent) in ([400], [])


@pytest.mark.parametrize("chunks", CHUNKS)
def test_what_is_in_chunks_is_a_body(daemon: Daemon, hidden: bytes, chunks: bytes) -> None:
    """Whatever stands beside the size of a chunk, or behind the last one, and nothing is read behind that."""
    sent = daemon.head("POST", "/rpc", "Transfer-Encoding: chunked") + chunks % (len(hidden), hidden)
    [message] = requests_in(sent)
    assert message.body == hidden
    assert answers_to(daemon, sent) == [200]
    assert answers_to(daemon, sent + daemon.head("GET", "/healthz")) == [200]


@pytest.mark.parametrize("chunks", BROKEN_CHUNKS)
def test_a_chunk_whose_size_can_be_read_in_two_ways_is_refused(daemon: Daemon, hidden: bytes, chunks: bytes) -> None:
    """Signs, prefixes, other line ends, and sizes that overflow 64 bits."""
    sent = daemon.head("POST", "/rpc", "Transfer-Encoding: chunked") + chunks % (len(hidden), hidden)
    assert not any(message.is_whole for message in requests_in(sent))
    assert answers_to(daemon, sent) in ([400], [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("path", ["/healthz", "/rpc", "/nothing"])
def test_a_body_that_nobody_expects_is_still_a_body(daemon: Daemon, hidden: bytes, method: str, path: str) -> None:
    """What belongs to a request is never taken for the next one, whatever the request."""
    sent = daemon.head(method, path, f"Content-Length: {len(hidden)}", "Connection: close") + hidden
    assert len(answers_to(daemon, sent, method)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ],
)
def test_nothing_is_read_behind_an_upgrade_that_was_not_taken_up(daemon: Daemon, hidden: bytes, fields: str) -> None:
    """What follows may be of another protocol, which only looks like ours."""
    assert len(answers_to(daemon, daemon.head("GET", "/healthz", fields) + hidden)) == 1


@pytest.mark.parametrize(
    "line",
    ["POST /rpc HTTP/1.0\r\nTransfer-Encoding: chunked", "POST /rpc HTTP/2.0", "POST /rpc HTTP/1.2", "POST /rpc"],
)
def test_other_versions_hide_nothing(daemon: Daemon, hidden: bytes, line: str) -> None:
    """Neither chunks, which HTTP/1.0 does not know, nor versions that mean other things."""
    head = daemon.head("POST", "/rpc", f"Content-Length: {len(_PLAIN)}").replace(b"POST /rpc HTTP/1.1", line.encode())
    assert requests_in(head + _PLAIN + hidden) == []
    assert set(answers_to(daemon, head + _PLAIN + hidden)) <= {400, 505}


def test_a_hidden_request_would_be_seen(daemon: Daemon) -> None:
    """Where it is none of another's body, it is executed, and changes the store."""
    body = rpc_body("agent:session:append_output", definition_id="seen", line="x")
    request = daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body
    sent = daemon.head("GET", "/healthz") + request + daemon.head("GET", "/healthz", "Connection: close")
    assert answers_to(daemon, sent) == [200, 200, 200]
    assert daemon.call("agent:session:stat", definition_ids=["seen"])[0]["total_lines"] == 1
