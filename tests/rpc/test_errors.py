"""Words and numbers, and what a client may learn of an unexpected failure: an id."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from rpc.errors import NUMBERS, RpcError, wire_error
from rpc.methods import Method
from store import errors
from tests.rpc.conftest import Wire

EVERY_ERROR = [
    (errors.InvalidParamsError("x", "x is wrong"), -32602),
    (errors.InvalidDefinitionIdError("x"), -32602),
    (errors.StaleSessionError("x"), -32010),
    (errors.RevisionMismatchError(1, 2), -32011),
    (errors.OffsetMismatchError(1, 2), -32012),
    (errors.ZoneNotFoundError("x"), -32013),
    (errors.TooLargeError("x", 1, 2), -32014),
    (errors.StorageFullError(), -32015),
    (errors.StorageUnavailableError("x"), -32016),
    (errors.OverloadedError(), -32017),
    (errors.ShuttingDownError(), -32018),
    (errors.StorageDamagedError("x"), -32019),
    (errors.ReadOnlyError(), -32020),
]


@pytest.fixture
def log() -> Any:
    """Capture what is logged."""
    capture = LogCapture()
    old = structlog.get_config()["processors"]
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(processors=old)


@pytest.mark.parametrize(("error", "number"), EVERY_ERROR, ids=lambda value: getattr(value, "word", value))
async def test_every_error_of_the_store_has_its_number(error: errors.StoreError, number: int) -> None:
    """It goes over the wire with its sentence, word, hint, retry and facts."""

    async def fail(_params: Any) -> None:
        raise error

    answer = await Wire({"fail": Method(fail)}).request("fail")
    assert answer["error"] == {
        "code": number,
        "message": str(error),
        "data": {"code": error.word, "hint": error.hint, "retry": error.retry, **error.facts},
    }


def test_the_table_has_every_word_and_no_other() -> None:
    """A word that the store gains must get a number."""
    assert {error.word for error, _ in EVERY_ERROR} == NUMBERS.keys()
    found = vars(errors).values()
    words = {each.word for each in found if isinstance(each, type) and hasattr(each, "word")}
    assert words == NUMBERS.keys()


def test_the_protocol_keeps_its_own_numbers() -> None:
    """Domain errors stay within the server's range, -32000 to -32099, but for wrong parameters."""
    for word, number in NUMBERS.items():
        assert number == -32602 if word.startswith("INVALID") else -32099 <= number <= -32000


SECRET = "SELECT data FROM file_parts /home/maks/zones.db"


async def _raise(_params: Any) -> None:
    raise ValueError(SECRET)


async def _unencodable(_params: Any) -> Any:
    return {"value": {1, 2}}


async def _deep(_params: Any) -> Any:
    raise RecursionError(SECRET)


@pytest.mark.parametrize("method", [_raise, _unencodable, _deep])
async def test_an_unexpected_failure_shows_nothing_but_an_id(method: Any, log: LogCapture) -> None:
    """The log has the same id with the exception; the answer has no word of it."""
    wire = Wire({"fail": Method(method)})
    for params in (None, [1], {"a": 1}):
        log.entries.clear()
        error = (await wire.request("fail", params))["error"]
        assert (error["code"], error["message"]) == (-32603, "Internal error")
        error_id = error["data"].pop("error_id")
        assert error["data"].keys() == {"code", "hint", "retry"}
        assert error["data"]["code"] == "INTERNAL"
        assert error["data"]["retry"] is False
        assert SECRET not in str(error)
        [entry] = log.entries
        assert entry["error_id"] == error_id
        assert entry["exc_info"]
        assert entry["method"] == "fail"


async def test_a_failure_of_one_member_leaves_the_others(log: LogCapture) -> None:
    """A batch gets its other results."""

    async def answer(_params: Any) -> int:
        return 5

    wire = Wire({"fail": Method(_raise), "answer": Method(answer)})
    found = await wire.exchange(
        b'[{"jsonrpc":"2.0","id":1,"method":"fail"},{"jsonrpc":"2.0","method":"fail"},'
        b'{"jsonrpc":"2.0","id":2,"method":"answer"}]'
    )
    assert [(response["id"], response.get("result")) for response in found] == [(1, None), (2, 5)]
    assert len(log.entries) == 2


def test_an_error_knows_its_word_and_hint() -> None:
    """A client need not take `data` apart; the protocol's own errors have neither."""
    wire = wire_error(errors.StorageFullError())
    error = RpcError(wire.code, wire.message, wire.data)
    assert (error.word, error.hint) == ("STORAGE_FULL", errors.StorageFullError.hint)
    assert str(error) == wire.message
    plain = RpcError(-32601, "Method not found")
    assert (plain.word, plain.hint) == (None, None)
