"""What callers are told where they are not let in or not served; how often, by status; and who was not let in, for the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs

from rpc.errors import advice
from srv.escapes import escaped
from srv.line_bound import LineBound
from srv.requests import Request

RETRY_SHORTLY: Final = b"Retry-After: 1\r\n"

QUOTED_CHARACTERS_MAX: Final = 100
"""Of what a caller has sent, in a line of the log."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request is not let in, or not served.

    Attributes:
        status: the HTTP status.
        reason: the sentence for the caller.
        headers: further header lines.
        word: the stable word of the error where there is one, such as OVERLOADED.
        details: further facts of the case.
    """

    status: HTTPStatus
    reason: str
    headers: bytes = b""
    word: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, object]:
        """The JSON body."""
        if self.word is None:
            return {"error": self.reason, **self.details}
        return {"error": self.reason, "code": self.word, **advice(self.word), **self.details}


class Refusals:
    """The refusals of one daemon.

    Attributes:
        by_status: how many there were, by HTTP status.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.by_status: Counter[int] = Counter()
        self._lines = LineBound("caller_refused")

    def count(self, status: HTTPStatus) -> None:
        """Count one."""
        self.by_status[status.value] += 1

    def tell(self, request: Request, refusal: Refusal) -> None:
        """Say in the log who was not let in, and why; never what was shown as a token, or in the path."""
        if self._lines.admits():
            _log.info(
                "caller_refused",
                reason=refusal.reason,
                status=refusal.status.value,
                peer=request.connection.peer_kind,
                host=_quoted(request, hdrs.HOST),
                origin=_quoted(request, hdrs.ORIGIN),
            )

    def close(self) -> None:
        """Say what is still to be said."""
        self._lines.tell()


def _quoted(request: Request, name: str) -> str | None:
    sent = request.headers.getall(name, None)
    return None if sent is None else escaped(", ".join(sent))[:QUOTED_CHARACTERS_MAX]
