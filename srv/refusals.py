"""What was refused: counted by status; and of callers who were not let in, a line in the log."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs

from srv.auth import Refusal
from srv.escapes import escaped
from srv.line_bound import LineBound
from srv.requests import Request

QUOTED_CHARACTERS_MAX: Final = 100
"""Of what a caller has sent, in a line of the log."""

_log = structlog.get_logger()


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
