"""Every error as it goes over the wire: one table of words and numbers (DESIGN.md section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from store.errors import StoreError

NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "INVALID_PARAMS": -32602,
        "INVALID_DEFINITION_ID": -32602,
        "STALE_SESSION": -32010,
        "REVISION_MISMATCH": -32011,
        "OFFSET_MISMATCH": -32012,
        "ZONE_NOT_FOUND": -32013,
        "TOO_LARGE": -32014,
        "STORAGE_FULL": -32015,
        "STORAGE_UNAVAILABLE": -32016,
        "OVERLOADED": -32017,
        "SHUTTING_DOWN": -32018,
        "STORAGE_DAMAGED": -32019,
    }
)
"""The number of each word of `store/errors.py`."""

INTERNAL: Final = "INTERNAL"
INTERNAL_HINT: Final = "This is a fault of the daemon. Report it with the error_id, under which the log tells the rest."


@dataclass(frozen=True, slots=True)
class WireError:
    """The `error` member of a response.

    Attributes:
        code: the number.
        message: a sentence for people.
        data: `code` (the stable word), `hint`, `retry` and the facts of the case; None for the protocol's own errors, which
            have no `data`.
    """

    code: int
    message: str
    data: dict[str, Any] | None = None


PARSE_ERROR: Final = WireError(-32700, "Parse error")
INVALID_REQUEST: Final = WireError(-32600, "Invalid Request")
METHOD_NOT_FOUND: Final = WireError(-32601, "Method not found")


def wire_error(error: StoreError) -> WireError:
    """Give an error of the store its number."""
    data = {"code": error.word, "hint": error.hint, "retry": error.retry, **error.facts}
    return WireError(NUMBERS[error.word], str(error), data)


def internal_error(error_id: str) -> WireError:
    """Tell of an unexpected failure nothing but the id under which the log has it."""
    data = {"code": INTERNAL, "hint": INTERNAL_HINT, "retry": False, "error_id": error_id}
    return WireError(-32603, "Internal error", data)


class RpcError(Exception):
    """An error response, as the caller of `rpc.client.Client` meets it.

    Attributes:
        code: the number.
        message: the sentence for people.
        data: as in `WireError`.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        """Keep the three members of the response's `error`."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    @property
    def word(self) -> str | None:
        """The stable word, None for the protocol's own errors."""
        return self.data.get("code") if isinstance(self.data, dict) else None

    @property
    def hint(self) -> str | None:
        """What to do about it, None for the protocol's own errors."""
        return self.data.get("hint") if isinstance(self.data, dict) else None
