"""Every error as it goes over the wire, and as a caller meets it: one table of words and numbers (DESIGN.md section 2)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
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
        "READ_ONLY": -32020,
    }
)
"""The number of each word of `store/errors.py`."""

INTERNAL: Final = "INTERNAL"
INTERNAL_NUMBER: Final = -32603
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


def store_error(message: str, data: Any) -> StoreError | None:
    """Take an error that came over the wire back to its class: the way back from `wire_error`.

    Args:
        message: the sentence.
        data: as in `WireError`, as it was decoded.

    Returns:
        The exception as the store raised it, with sentence and facts; None where the word is none of the store's.
    """
    word = data.get("code") if isinstance(data, dict) else None
    kind = _KINDS.get(word) if isinstance(word, str) else None
    if kind is None:
        return None
    # Without `__init__`, which makes the sentence out of facts: here it is made already.
    error = kind.__new__(kind, message)
    error.facts = {name: fact for name, fact in data.items() if name not in {"code", "hint", "retry"}}
    return error


def _kinds(of: type[StoreError]) -> Iterator[tuple[str, type[StoreError]]]:
    for kind in of.__subclasses__():
        yield kind.word, kind
        yield from _kinds(kind)


_KINDS: Final[Mapping[str, type[StoreError]]] = MappingProxyType(dict(_kinds(StoreError)))


def advice(word: str) -> dict[str, str | bool]:
    """Return `hint` and `retry` of a word of the store's, for whoever refuses on its own account."""
    kind = _KINDS[word]
    return {"hint": kind.hint, "retry": kind.retry}


def internal_error(error_id: str) -> WireError:
    """Tell of an unexpected failure nothing but the id under which the log has it."""
    data = {"code": INTERNAL, "hint": INTERNAL_HINT, "retry": False, "error_id": error_id}
    return WireError(INTERNAL_NUMBER, "Internal error", data)


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

    @property
    def retry(self) -> bool:
        """Whether the same call may succeed later, unchanged; nothing was stored then."""
        return isinstance(self.data, dict) and self.data.get("retry") is True


CALL_ERRORS: Final = (StoreError, RpcError)
"""What a caller of `rpc.client.Client` meets where the daemon answered with an error."""


class TransportError(ConnectionError):
    """There was no JSON-RPC answer: the daemon cannot be reached, or its transport refused the request.

    Attributes:
        status: the HTTP status, None where there was no HTTP answer.
        data: the JSON object that was answered in place of JSON-RPC, None where there was none.
    """

    def __init__(self, message: str, status: int | None = None, data: dict[str, Any] | None = None) -> None:
        """Keep the sentence, the status and what was answered."""
        super().__init__(message)
        self.status = status
        self.data = data


def error_told(failure: RpcError | TransportError) -> StoreError | RpcError | TransportError:
    """Return the error of the store that an answer told of, over JSON-RPC or plain HTTP; the failure as it is where of none."""
    if isinstance(failure, RpcError):
        return store_error(failure.message, failure.data) or failure
    data = dict(failure.data or {})
    return store_error(str(data.pop("error", "")), data) or failure


class UnreachableError(TransportError):
    """Nobody listens at the daemon's address. Nothing was sent."""


class NoDaemonError(UnreachableError):
    """No daemon runs on the data directory."""

    def __init__(self, data_dir: Path) -> None:
        """Say so, and how to start one."""
        super().__init__(
            f"no daemon runs on {data_dir}; start one with: zonekeeper serve --data-dir {shlex.quote(str(data_dir))}"
        )


class ImpostorError(TransportError):
    """Who listens at the daemon's address did not prove to be that daemon. It was sent neither token nor content."""


class BrokenOffError(TransportError):
    """A request was sent and no answer came: nobody knows whether it was executed."""
