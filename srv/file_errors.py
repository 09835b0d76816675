"""Errors of the store as HTTP answers: the status of each word, and a body with all that a method would tell."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from rpc.errors import WireError
from srv.refusals import RETRY_SHORTLY, Refusal

STATUSES: Final[Mapping[str, HTTPStatus]] = MappingProxyType(
    {
        "INVALID_PARAMS": HTTPStatus.BAD_REQUEST,
        "INVALID_DEFINITION_ID": HTTPStatus.BAD_REQUEST,
        "READ_ONLY": HTTPStatus.FORBIDDEN,
        "ZONE_NOT_FOUND": HTTPStatus.NOT_FOUND,
        "STALE_SESSION": HTTPStatus.CONFLICT,
        "REVISION_MISMATCH": HTTPStatus.PRECONDITION_FAILED,
        "TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "STORAGE_DAMAGED": HTTPStatus.INTERNAL_SERVER_ERROR,
        "STORAGE_UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
        "OVERLOADED": HTTPStatus.SERVICE_UNAVAILABLE,
        "SHUTTING_DOWN": HTTPStatus.SERVICE_UNAVAILABLE,
        "STORAGE_FULL": HTTPStatus.INSUFFICIENT_STORAGE,
    }
)
"""Of the words that reading or writing a file can give."""


def refusal_of(error: WireError) -> Refusal:
    """Return the answer for an error of the store."""
    facts = dict(error.data or {})
    word, retry = str(facts.pop("code")), facts["retry"]
    return Refusal(STATUSES[word], error.message, RETRY_SHORTLY if retry else b"", word, facts)
