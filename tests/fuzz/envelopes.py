"""Bodies out of the OpenRPC document: what it allows, what misses that by little, and envelopes around both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema

from rpc.contract import METHODS, Row
from tests.conftest import BEGINNING_MS
from tests.fuzz.judge import DOCUMENT
from tests.fuzz.near_misses import NO_JSON, ODD, raw

AGENTS: Final = ("maks", "other-1", "FRESH_2")

Values = st.SearchStrategy[Any]


def session_mark(agent: str) -> str:
    """Return what stands in a body for the id of an agent's current session, which is not known beforehand."""
    return f"the session of {agent}"


_WHOLE: Final = st.integers(0, 3) | st.integers(0, 40) | st.integers(BEGINNING_MS, BEGINNING_MS + 3)
_LIKELY: Final[Mapping[str, Values]] = {
    "definition_id": st.sampled_from(AGENTS),
    "definition_ids": st.lists(st.sampled_from(AGENTS), max_size=3),
    "after": st.sampled_from(AGENTS),
    "session_id": st.sampled_from(AGENTS).map(session_mark),
    "content": st.sampled_from(["", "{}", '{"nodes": [{"type": "user_message", "message": "é😀"}]}', "x" * 300]),
    "line": st.sampled_from(["", "x", "x\n", "x\r\n", "a\nb", "\u2028", "\x00"]),
    "lines": st.lists(st.sampled_from(["", "x", "x\n", " "]), min_size=1, max_size=4),
}
"""Values that meet what is stored; those of other parameters are whole numbers."""

_ODD: Final = st.sampled_from(ODD)
_NO_JSON: Final = st.sampled_from(NO_JSON)

_SCHEMAS: Final = {
    method["name"]: {param["name"]: param["schema"] for param in method["params"]} for method in DOCUMENT["methods"]
}


def _valid(row: Row) -> Values:
    """Draw parameters that the document allows, by name."""
    values = {name: _LIKELY.get(name, _WHOLE) | _from_schema(schema) for name, schema in _SCHEMAS[row.name].items()}
    required = {param.name for param in row.params.rows if param.required}
    optional = values.keys() - required - set(row.params.alternatives)
    drawn = st.fixed_dictionaries(
        {name: values[name] for name in required}, optional={name: values[name] for name in sorted(optional)}
    )
    if not row.params.alternatives:
        return drawn
    either = st.one_of([st.fixed_dictionaries({name: values[name]}) for name in row.params.alternatives])
    return st.tuples(drawn, either).map(lambda both: {**both[0], **both[1]})


def _from_schema(schema: Mapping[str, Any]) -> Values:
    if schema.get("items"):  # thousands of them say no more than a few
        schema = {**schema, "maxItems": 5}
    return from_schema(dict(schema))


@st.composite
def _missed(draw: st.DrawFn, row: Row) -> Any:
    """Draw parameters that miss what the document allows, mostly, in one place."""
    params: dict[str, Any] = draw(_VALID[row.name])
    names = [param.name for param in row.params.rows]
    match draw(st.sampled_from(["other value", "absent", "null", "unknown", "more"])):
        case "other value" if names:
            params[draw(st.sampled_from(names))] = draw(_ODD)
        case "absent" if params:
            del params[draw(st.sampled_from(sorted(params)))]
        case "null" if names:
            params[draw(st.sampled_from(names))] = None
        case "more":
            return [*params.values(), *draw(st.lists(_ODD, min_size=1, max_size=8))]
        case _:
            params[draw(st.text(max_size=8) | st.sampled_from(["definitionId", "Line", "self", "sent"]))] = draw(_ODD)
    return params


@st.composite
def _by_position(draw: st.DrawFn, row: Row) -> Any:
    """Draw parameters that the document allows, by position."""
    params: dict[str, Any] = draw(_VALID[row.name])
    names = [param.name for param in row.params.rows if param.name not in row.params.alternatives[1:]]
    given = params.get(row.params.alternatives[1]) if row.params.alternatives else None
    values = [given if given is not None and name in row.params.alternatives else params.get(name) for name in names]
    while values and values[-1] is None and draw(st.booleans()):
        values.pop()
    return values


_VALID: Final = {row.name: _valid(row) for row in METHODS}
_PARAMS: Final = {
    row.name: st.one_of(_VALID[row.name], _VALID[row.name], _by_position(row), _missed(row)) for row in METHODS
}
_ROWS: Final = st.sampled_from(METHODS) | st.sampled_from([row for row in METHODS if row.changes])


_IDS: Final = st.one_of(
    st.integers(-(2**53), 2**53),
    st.sampled_from([raw(text) for text in ("-0", "0", "1.50", "1E5", "-0.0", "1e400", "9" * 50, "0.1e-7")]),
    st.text(max_size=5),
    st.none(),
    st.sampled_from([raw('"\\u0041"'), raw('"\\ud83d\\ude00"'), "x" * 300]),
)
_NO_IDS: Final = st.sampled_from([True, False, [], {}, [1], {"a": 1}])


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a call: a good one in most cases, a notification, or one with a member that is wrong or not there."""
    row = draw(_ROWS)
    request: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": draw(_IDS),
        "method": row.name,
        "params": draw(_PARAMS[row.name]),
    }
    match draw(st.integers(0, 9)):
        case 0 | 1:
            del request["id"]
        case 2:
            del request[draw(st.sampled_from(sorted(request)))]
        case 3:
            request[draw(st.sampled_from(sorted(request)))] = draw(_ODD | _NO_IDS)
        case 4:
            request["method"] = draw(st.sampled_from(["", "rpc.x", row.name.upper(), f"{row.name} ", "x" * 300]))
        case 5:
            request[draw(st.text(max_size=5))] = draw(_ODD)
    return request


def _spoiled(body: bytes, text: str, place: int) -> bytes:
    """Put a text where a value begins."""
    values = [at + 1 for at, byte in enumerate(body) if byte in b":,["] or [0]
    at = values[place % len(values)]
    return body[:at] + text.encode() + b"," + body[at:]


_ANY: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8) | _ODD,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
_ONE: Final = requests().map(orjson.dumps)
_BATCH: Final = st.lists(requests() | requests() | requests() | _ANY, max_size=6).map(orjson.dumps)

BODIES: Final[st.SearchStrategy[bytes]] = st.one_of(
    _ONE,
    _ONE,
    _BATCH,
    _BATCH,
    _ANY.map(orjson.dumps),
    st.builds(_spoiled, _ONE | _BATCH, _NO_JSON, st.integers(0, 50)),
    st.builds(lambda body, again: body[:-1] + b"," + again[1:], _ONE, _ONE),  # every member twice: the last counts
    st.binary(max_size=200),
)
"""Bodies of requests, of batches, and of what is neither."""
