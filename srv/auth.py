"""The door: who may come in at all (DESIGN.md section 6). Decides on headers alone, before a byte of a body is read.

The order is such that nothing leaks: a wrong Host learns nothing, then a foreign Origin, then whoever lacks the token.
"""

from __future__ import annotations

import hmac
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs
from multidict import CIMultiDictProxy, istr

from rpc.proof import NONCE_HEADER, is_nonce, is_provable, proof_of
from srv.refusals import Refusal
from srv.tokens import Tokens

X_AUTH_KEY: Final = istr("X-AuthKey")
X_AUTH_NONCE: Final = istr(NONCE_HEADER)

_BEARER: Final = b"bearer"
_PEER_CREDENTIALS: Final = struct.Struct("3i")

NO_TOKEN: Final = Refusal(
    HTTPStatus.UNAUTHORIZED,
    "show the token of this daemon as 'Authorization: Bearer TOKEN' or 'X-AuthKey: TOKEN'",
    b"WWW-Authenticate: Bearer\r\n",
)
WRONG_HOST: Final = Refusal(
    HTTPStatus.FORBIDDEN,
    "the Host header must be a loopback address or localhost, with our port, or be listed with --allow-host",
)
HOST_COUNT: Final = Refusal(HTTPStatus.BAD_REQUEST, "exactly one Host header is needed")
WRONG_ORIGIN: Final = Refusal(HTTPStatus.FORBIDDEN, "this origin may not call; list it with --allow-origin")


@dataclass(frozen=True, slots=True)
class Rights:
    """What a caller may do.

    Attributes:
        word: what the log calls them.
        may_change: it may change what is stored, not only read it.
    """

    word: str
    may_change: bool


FULL: Final = Rights("full", may_change=True)
READ_ONLY: Final = Rights("read_only", may_change=False)


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

    def __init__(
        self,
        tokens: Tokens,
        allowed_origins: Iterable[str],
        hosts: frozenset[str] | None,
        own_hosts: frozenset[str] | None = None,
    ) -> None:
        """Keep what is asked for.

        Args:
            tokens: those that open it.
            allowed_origins: whose pages may call.
            hosts: what the Host header may be; None where it means nothing, on a Unix socket.
            own_hosts: those of them that nobody else can be called by, so that they may be proved; None for all.
        """
        self._tokens = [(tokens.full.encode(), FULL)]
        if tokens.read_only is not None:
            self._tokens.append((tokens.read_only.encode(), READ_ONLY))
        self._provable = [token for token in tokens if is_provable(token)]
        self._origins = frozenset(allowed_origins)
        self._hosts = hosts
        self._own_hosts = own_hosts

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

    def rights(self, headers: CIMultiDictProxy[str]) -> Rights | None:
        """Return what the token that is shown allows, None for no token of ours.

        Takes a time that does not depend on how much of a token is right.
        """
        shown = []
        if (key := headers.get(X_AUTH_KEY)) is not None:
            shown.append(_bytes(key))
        if (authorization := headers.get(hdrs.AUTHORIZATION)) is not None:
            scheme, _, bearer = _bytes(authorization).partition(b" ")
            if scheme.lower() == _BEARER:
                shown.append(bearer.strip(b" "))
        for token, rights in self._tokens:
            for each in shown:
                if hmac.compare_digest(each, token):
                    return rights
        return None

    def proof(self, headers: CIMultiDictProxy[str]) -> str | None:
        """Answer a caller who wants to know, before it shows a token, whether we are the daemon that has it.

        Args:
            headers: of the request; the nonce is in `X-AuthNonce`.

        Returns:
            The proofs, that of the full token first, divided by commas. None where nobody asked, where no token is long enough,
            and where the Host may mean somebody else as well, who only passes the question on.
        """
        nonce = headers.get(X_AUTH_NONCE)
        if nonce is None or not is_nonce(nonce):
            return None
        host = headers.get(hdrs.HOST, "")
        if self._own_hosts is not None and host.lower() not in self._own_hosts:
            return None
        return ", ".join(proof_of(token, nonce, host) for token in self._provable) or None


def _bytes(header: str) -> bytes:
    # aiohttp decodes headers so that bytes that are no UTF-8 come back as they were.
    return header.encode("utf-8", "surrogateescape")
