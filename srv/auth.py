"""The door: who may come in at all (DESIGN.md section 6). Decides on headers alone, before a byte of a body is read.

The order is such that nothing leaks: a wrong Host learns nothing, then a foreign Origin, then whoever lacks the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs
from multidict import CIMultiDictProxy, istr

X_AUTH_KEY: Final = istr("X-AuthKey")
RETRY_SHORTLY: Final = b"Retry-After: 1\r\n"
_BEARER: Final = b"bearer "
_PEER_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request is not let in, or not served: the HTTP status, the sentence for the caller, and further header lines."""

    status: HTTPStatus
    reason: str
    headers: bytes = b""


NO_TOKEN: Final = Refusal(
    HTTPStatus.UNAUTHORIZED,
    "show the token of this daemon as 'Authorization: Bearer TOKEN' or 'X-AuthKey: TOKEN'",
    b"WWW-Authenticate: Bearer\r\n",
)
WRONG_HOST: Final = Refusal(
    HTTPStatus.FORBIDDEN, "the Host header must be a loopback address or localhost, with our port"
)
HOST_COUNT: Final = Refusal(HTTPStatus.BAD_REQUEST, "exactly one Host header is needed")
WRONG_ORIGIN: Final = Refusal(HTTPStatus.FORBIDDEN, "this origin may not call; list it with --allow-origin")


def hosts_of(address: str, port: int) -> frozenset[str]:
    """Return every Host header that speaks of us; whatever else a browser resolved to this machine is not meant for us."""
    names = ["localhost", *(_literal(each) for each in ("127.0.0.1", "::1", address))]
    hosts = {f"{name}:{port}" for name in names}
    if port == 80:  # noqa: PLR2004 - the one port that clients leave out
        hosts.update(names)
    return frozenset(hosts)


def url_of(address: str, port: int) -> str:
    """Return the URL of a listener."""
    return f"http://{_literal(address)}:{port}"


def is_same_user(peer: socket.socket, uid: int) -> bool:
    """Tell whether the process at the other end of a Unix socket is of that user.

    Where the system cannot tell, the mode of the socket file, 0600, has already kept others out.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, option, _PEER_CREDENTIALS.size)
    return bool(_PEER_CREDENTIALS.unpack(credentials)[1] == uid)


class Door:
    """Decides on one listener's requests."""

    def __init__(self, token: str, allowed_origins: Iterable[str], hosts: frozenset[str] | None) -> None:
        """Keep what is asked for; `hosts` is None where the Host header means nothing, on a Unix socket."""
        self._token = token.encode()
        self._origins = frozenset(allowed_origins)
        self._hosts = hosts

    def refuse_stranger(self, headers: CIMultiDictProxy[str]) -> Refusal | None:
        """Check Host and Origin: refuse what is not meant for us, or comes from a page that may not call."""
        if self._hosts is not None:
            hosts = headers.getall(hdrs.HOST, ())
            if len(hosts) != 1:
                return HOST_COUNT
            if hosts[0].lower() not in self._hosts:  # names of hosts are the same in any case
                return WRONG_HOST
        origins = headers.getall(hdrs.ORIGIN, ())
        if origins and (len(origins) > 1 or origins[0] not in self._origins):
            return WRONG_ORIGIN
        return None

    def refuse_tokenless(self, headers: CIMultiDictProxy[str]) -> Refusal | None:
        """Check the token, in a time that does not depend on how much of it is right."""
        authorization = _bytes(headers.get(hdrs.AUTHORIZATION, ""))
        is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
        if is_bearer and hmac.compare_digest(authorization[len(_BEARER) :].strip(b" "), self._token):
            return None
        if hmac.compare_digest(_bytes(headers.get(X_AUTH_KEY, "")), self._token):
            return None
        return NO_TOKEN


def _literal(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address  # noqa: PLR2004 - IPv6


def _bytes(header: str) -> bytes:
    # aiohttp decodes headers so that bytes that are no UTF-8 come back as they were.
    return header.encode("utf-8", "surrogateescape")
