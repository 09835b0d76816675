"""The proof that a port is the daemon's, asked for before a token is sent there; pure.

A client sends a nonce and the daemon answers what only who has the token can make of it. The Host that was called is in it, so
that whoever squats on another port cannot ask the daemon and pass its answer on. Both sides take the rule from here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final

NONCE_HEADER: Final = "X-AuthNonce"
PROOF_HEADER: Final = "X-AuthProof"

TOKEN_CHARACTERS_MIN: Final = 22
"""128 bits in Base64: for a shorter token, which only a parent can have set, a proof could be tried against a dictionary."""

PURPOSE: Final = "zonekeeper-proof-1"
_NONCE: Final = re.compile(r"[0-9A-Fa-f]{32,128}")
_NONCE_BYTES: Final = 32


def is_provable(token: str) -> bool:
    """Tell whether there are proofs for a token."""
    return len(token) >= TOKEN_CHARACTERS_MIN


def is_nonce(text: str) -> bool:
    """Tell whether a text may be asked with."""
    return _NONCE.fullmatch(text) is not None


def new_nonce() -> str:
    """Return a nonce that was never used."""
    return secrets.token_hex(_NONCE_BYTES)


def proof_of(token: str, nonce: str, host: str) -> str:
    """Return the proof that one has a token.

    Args:
        token: it.
        nonce: as it was sent.
        host: the Host header of the request.
    """
    message = f"{PURPOSE}\n{nonce}\n{host.lower()}"
    return hmac.new(token.encode(), message.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def is_proved(token: str, nonce: str, host: str, answers: Iterable[str]) -> bool:
    """Tell whether one of the proofs in the answered headers, divided by commas, is that of a token."""
    wanted = proof_of(token, nonce, host).encode()
    given = [each.strip() for answer in answers for each in answer.split(",")]
    return any(hmac.compare_digest(wanted, each.encode("utf-8", "replace")) for each in given)
