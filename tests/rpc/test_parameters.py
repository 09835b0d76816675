"""Parameters by name and by position, and every way to get them wrong."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rpc.contract import METHODS, Row
from rpc.schema import Params
from rpc.slices import LongText, Number
from store.errors import InvalidParamsError
from tests.rpc.conftest import Wire

BY_NAME = {row.name: row for row in METHODS}
WHOLE = ["if_revision", "expect_revision", "covers_line", "expect_offset", "limit", "before_ms", "archived_at_ms"]
WHOLE += ["first_line", "max_bytes", "tail_lines"]
NOT_WHOLE = [True, False, 1.0, -1, 2**53, "1", [1], {"a": 1}, 2.0**64, 1e30, Number(b"1e400")]
NOT_TEXT = [1, True, 1.5, ["maks"], {"a": "maks"}, Number(b"1e400")]

VALUES: dict[str, Any] = {
    "definition_id": "maks",
    "content": "{}",
    "line": "x",
    "lines": ["x", "y"],
    "session_id": "s",
    "definition_ids": ["maks", "other"],
    "after": "maks",
    **dict.fromkeys(WHOLE, 3),
}
BOUND = VALUES | {"content": b"{}"}


def refused(params: Params, sent: Any) -> InvalidParamsError:
    """Bind what must be refused and return the error."""
    with pytest.raises(InvalidParamsError) as caught:
        params.bind(sent)
    return caught.value


def valid(row: Row) -> dict[str, Any]:
    """Return a value for every parameter, for the first only of those that exclude each other."""
    return {
        param.name: VALUES[param.name] for param in row.params.rows if param.name not in row.params.alternatives[1:]
    }


CASES = [(row, param.name) for row in METHODS for param in row.params.rows]


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
def test_parameters_by_name_and_by_position_are_the_same(row: Row) -> None:
    """Positions are in the order of the table; trailing ones may be left out, and nulls stand for absent ones."""
    sent = valid(row)
    bound = {name: BOUND[name] for name in sent}
    assert row.params.bind(sent) == bound
    assert row.params.bind(list(sent.values())) == bound
    required = [param.name for param in row.params.rows if param.required] + list(row.params.alternatives[:1])
    assert row.params.bind([sent[name] for name in required]) == {name: BOUND[name] for name in required}
    nulls = {name: sent[name] if name in required else None for name in sent}
    assert row.params.bind(nulls) == row.params.bind(list(nulls.values())) == {name: BOUND[name] for name in required}


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
def test_too_many_and_unknown_parameters_are_refused(row: Row) -> None:
    """An unknown one is named; of too many, the place of the first."""
    sent = valid(row)
    assert refused(row.params, [*sent.values(), 1]).facts == {"param": f"[{len(sent)}]"}
    error = refused(row.params, sent | {"colour\n": 1})
    assert error.facts == {"param": "colour\n"}
    assert str(error) == 'unknown parameter "colour\\n"'


@pytest.mark.parametrize(("row", "name"), CASES, ids=lambda value: getattr(value, "name", value))
def test_a_value_of_the_wrong_type_is_refused(row: Row, name: str) -> None:
    """The error names the parameter, by name and by position; true and 1.0 are no whole numbers."""
    sent = valid(row)
    if name in row.params.alternatives[1:]:
        del sent[row.params.alternatives[0]]
    wrong = [*NOT_TEXT]
    if name in WHOLE:
        wrong = NOT_WHOLE
    elif name in {"lines", "definition_ids"}:
        wrong = ["x", 1, {"a": 1}, [1], ["x", None], ["x", ["y"]], [Number(b"1e400")]]
    for value in wrong:
        error = refused(row.params, sent | {name: value})
        assert error.facts == {"param": name}
        assert name in str(error)
        if name not in row.params.alternatives:
            assert refused(row.params, list((sent | {name: value}).values())).facts == {"param": name}


@pytest.mark.parametrize(
    ("row", "name"), [case for case in CASES if case[0].params.rows], ids=lambda v: getattr(v, "name", v)
)
def test_only_a_required_parameter_must_be_there(row: Row, name: str) -> None:
    """A required one that is missing or null is named."""
    param = next(param for param in row.params.rows if param.name == name)
    sent = valid(row)
    absent = {key: value for key, value in sent.items() if key != name}
    if param.required:
        assert str(refused(row.params, absent)) == f"{name} is missing"
        assert str(refused(row.params, sent | {name: None})) == f"{name} must not be null"
        assert refused(row.params, absent).facts == {"param": name}
    elif name not in row.params.alternatives:
        assert name not in row.params.bind(absent)


def test_either_line_or_lines_is_sent() -> None:
    """Both, or neither, is refused; by position a string is the line and an array the lines."""
    params = BY_NAME["agent:session:append_output"].params
    assert params.bind(["maks", "x", "s", 5]) == {
        "definition_id": "maks",
        "line": "x",
        "session_id": "s",
        "expect_offset": 5,
    }
    assert params.bind(["maks", ["x"], None, 5]) == {"definition_id": "maks", "lines": ["x"], "expect_offset": 5}
    assert params.bind({"definition_id": "maks", "line": None, "lines": ["x"]}) == {
        "definition_id": "maks",
        "lines": ["x"],
    }
    assert refused(params, {"definition_id": "maks"}).facts == {"param": "line"}
    assert refused(params, ["maks"]).facts == {"param": "line"}
    assert refused(params, ["maks", None]).facts == {"param": "line"}
    assert refused(params, ["maks", 5]).facts == {"param": "line"}
    assert refused(params, ["maks", ["x", 5]]).facts == {"param": "lines"}
    assert refused(params, {"definition_id": "maks", "line": ["x"]}).facts == {"param": "line"}
    assert refused(params, {"definition_id": "maks", "line": "x", "lines": ["y"]}).facts == {"param": "lines"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('say "hi"\n', '"say \\"hi\\"\\n"'),
        ("x" * 1_000, '"' + "x" * 100 + '…"'),
        (LongText("é".encode() * 1_000_000), '"' + "é" * 100 + '…"'),
        (Number(b"9" * 1_000), "9" * 100),
        (2**60, str(2**60)),
        (1e30, "1e+30"),
        (True, "true"),
        ([1], "an array"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_refused_value_is_shown_escaped_and_cut(value: Any, shown: str) -> None:
    """It can neither forge lines nor flood a log."""
    error = refused(BY_NAME["agent:session:read"].params, {"definition_id": "maks", "if_revision": value})
    assert str(error) == f"if_revision must be a whole number from 0 to 9007199254740991, got {shown}"


def test_a_long_text_is_taken_where_a_text_may_stand() -> None:
    """What was decoded in slices is a string like any other."""
    text = LongText(b"maks")
    assert BY_NAME["agent:session:write_state"].params.bind(["maks", text]) == {
        "definition_id": "maks",
        "content": b"maks",
    }
    append = BY_NAME["agent:session:append_output"].params
    assert append.bind([text, text]) == {"definition_id": "maks", "line": "maks"}
    assert append.bind([text, ["x", text]]) == {"definition_id": "maks", "lines": ["x", "maks"]}


async def test_the_error_says_what_to_do(wire: Wire) -> None:
    """A refused parameter is -32602 with the word, a hint, retry and the parameter's name."""
    error = await wire.fail("agent:session:read", {"definition_id": "maks", "if_revision": -1})
    assert error.code == -32602
    assert error.message == "if_revision must be a whole number from 0 to 9007199254740991, got -1"
    assert error.data == {
        "code": "INVALID_PARAMS",
        "hint": "Correct the parameter; rpc.discover describes every method.",
        "retry": False,
        "param": "if_revision",
    }


@pytest.mark.parametrize("definition_id", ["", "a:b", "a\n", "é", "a b", "../x", "٣", "a" * 200 + "!"])
async def test_an_invalid_definition_id_is_the_same_error_from_every_method(wire: Wire, definition_id: str) -> None:
    """Number, message and word are the contract's; `param` names the parameter that held it."""
    seen = set()
    for row in METHODS:
        holding = {"definition_id", "definition_ids", "after"} & {param.name for param in row.params.rows}
        for param in holding:
            sent = valid(row) | {param: [definition_id] if param == "definition_ids" else definition_id}
            error = await wire.fail(row.name, sent)
            assert error.data.pop("param") == param
            seen.add((error.code, error.message, orjson.dumps(error.data)))
    assert len(seen) == 1
    code, message, data = seen.pop()
    assert code == -32602
    assert message.startswith('INVALID_DEFINITION_ID: must match [A-Za-z0-9_-]+, got "')
    assert orjson.loads(data)["code"] == "INVALID_DEFINITION_ID"


async def test_an_empty_params_is_the_same_as_none(wire: Wire) -> None:
    """For a method without parameters all three forms are a call."""
    same: list[Any] = [None, [], {}]
    for params in same:
        assert await wire.call("srv:status", params) == {"version": "0.1.0", "uptime_ms": 5}
    assert (await wire.fail("srv:status", [1])).word == "INVALID_PARAMS"
