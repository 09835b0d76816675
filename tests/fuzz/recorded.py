"""Requests as clients send them, byte for byte: curl, aiohttp, Node and a browser; every method, and every kind of body."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from tests.fuzz.judge import DOCUMENT
from tests.srv.conftest import ORIGIN

_CURL: Final = """\
POST /rpc HTTP/1.1
Host: {host}
User-Agent: curl/7.88.1
Accept: */*
X-AuthKey: {token}
Content-Length: {size}
Content-Type: application/x-www-form-urlencoded

"""
_AIOHTTP: Final = """\
POST /rpc HTTP/1.1
Host: {host}
Authorization: Bearer {token}
Accept: */*
Accept-Encoding: gzip, deflate
User-Agent: Python/3.11 aiohttp/3.14.5
Content-Length: {size}
Content-Type: application/json

"""
_NODE: Final = """\
POST /rpc HTTP/1.1
host: {host}
connection: keep-alive
authorization: Bearer {token}
content-type: application/json
accept: */*
accept-language: *
sec-fetch-mode: cors
user-agent: node
accept-encoding: gzip, deflate
content-length: {size}

"""
_BROWSER: Final = """\
POST /rpc HTTP/1.1
Host: {host}
Connection: keep-alive
Content-Length: {size}
sec-ch-ua-platform: "Linux"
Authorization: Bearer {token}
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36
Content-Type: application/json
Accept: */*
Origin: {origin}
Sec-Fetch-Site: same-site
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: {origin}/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9

"""
_CLOSING: Final = """\
POST /rpc?pretty HTTP/1.0
Host: {host}
X-AuthKey: {token}
Connection: close
Content-Length: {size}

"""
_EXPECTING: Final = """\
POST /rpc HTTP/1.1
Host: {host}
User-Agent: curl/7.88.1
Accept: */*
Authorization: Bearer {token}
Content-Type: application/json
X-Request-Id: recorded-1
Content-Length: {size}
Expect: 100-continue

"""
_CHUNKED: Final = """\
POST /rpc HTTP/1.1
Host: {host}
Accept: */*
X-AuthKey: {token}
Transfer-Encoding: chunked
Content-Type: application/json

"""
_PREFLIGHT: Final = """\
OPTIONS /rpc HTTP/1.1
Host: {host}
Connection: keep-alive
Accept: */*
Access-Control-Request-Method: POST
Access-Control-Request-Headers: authorization,content-type
Access-Control-Request-Private-Network: true
Origin: {origin}
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty

"""
_GET: Final = """\
{method} {path} HTTP/1.1
Host: {host}
User-Agent: curl/7.88.1
Accept: */*
X-AuthKey: {token}
{field}

"""
_PUT: Final = """\
PUT /zones/{agent}/current/output.state.json?covers_line=0 HTTP/1.1
Host: {host}
Authorization: Bearer {token}
If-None-Match: *
Content-Length: {size}

"""
_GOT: Final = (
    ("GET", "/healthz", "X-AuthNonce: 00112233445566778899aabbccddeeff"),
    ("HEAD", "/healthz", "Accept-Encoding: identity"),
    ("GET", "/readyz", "Connection: keep-alive"),
    ("HEAD", "/openrpc.json", "Accept-Encoding: gzip"),
    ("GET", "/openrpc.json", "If-None-Match: *"),
    ("GET", "/metrics", "Accept: text/plain"),
    ("GET", "/ws", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    ("GET", "/zones/{agent}/current/output", "Range: bytes=0-99"),
    ("GET", "/zones/{agent}/current/output.state.json", 'If-None-Match: "x-1"'),
    ("HEAD", "/zones/{agent}/archive/1780000000000/output", "Accept-Encoding: gzip"),
)


@dataclass(frozen=True)
class Recorder:
    """Writes requests to one daemon.

    Attributes:
        host: its Host header.
        token: what to show.
        agent: the definition id that every request names.
    """

    host: str
    token: str
    agent: str

    def requests(self) -> list[bytes]:
        """Return requests of every kind, the same number each time. Some hold several."""
        heads = cycle((_CURL, _AIOHTTP, _NODE, _BROWSER, _EXPECTING, _CLOSING))
        bodies = self._bodies()
        posts = [self._post(head, body) for head, body in zip(heads, bodies, strict=False)]
        gets = [self._head(_GET, method=method, path=path, field=field) for method, path, field in _GOT]
        snapshot = b'{"nodes": []}'
        return [
            *posts,
            *gets,
            self._head(_PREFLIGHT),
            self._head(_PUT, size=len(snapshot)) + snapshot,
            *(self._in_chunks(body, size) for body, size in zip(bodies, (1, 7, 50, 1_000), strict=False)),
            b"".join(posts[1:4]),
            gets[0] + posts[0] + gets[1] + posts[2],
            posts[0] + gets[0] + next(each for each in gets if b"Upgrade:" in each),
        ]

    def _bodies(self) -> list[bytes]:
        calls: list[dict[str, Any]] = []
        for number, method in enumerate(DOCUMENT["methods"]):
            params = {each["name"]: each["value"] for each in method["examples"][0]["params"]}
            for name in params.keys() & {"definition_id", "definition_ids", "after"}:
                params[name] = [self.agent] if name == "definition_ids" else self.agent
            params.pop("expect_revision", None)  # so that it is written whatever is there
            calls.append({"jsonrpc": "2.0", "id": number, "method": method["name"], "params": params})
        append = next(call for call in calls if call["method"].endswith("append_output"))
        by_position = {**append, "params": [self.agent, "by position"]}
        return [json.dumps(each).encode() for each in (*calls, calls[:5], [by_position, append], by_position)]

    def _post(self, head: str, body: bytes) -> bytes:
        return self._head(head, size=len(body)) + body

    def _in_chunks(self, body: bytes, size: int) -> bytes:
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        chunks = [b"%x%b\r\n%b\r\n" % (len(piece), b";a=b" if size == 50 else b"", piece) for piece in pieces]
        trailers = b"X-Checksum: 1\r\n" if size == 7 else b""
        return self._head(_CHUNKED) + b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"

    def _head(self, template: str, **values: object) -> bytes:
        values = {"path": "", **values}
        path = str(values.pop("path")).format(agent=self.agent)
        text = template.format(host=self.host, token=self.token, origin=ORIGIN, agent=self.agent, path=path, **values)
        return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
