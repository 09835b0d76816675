"""Calls that differ from a good one in one place: every odd value in every place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from rpc.contract import Row


def raw(text: str) -> orjson.Fragment:
    """Put a text into a body as it is."""
    return orjson.Fragment(text.encode())


ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, -1, 1.0, 1.5, 2**53 - 1, 2**53, 2**63, "", "maks\n", "mäks", "a:b", "x" * 600, "1"),
    *([], {}, [None], ["maks", 1], [["maks"]], {"a": 1}, ["maks\n"], [""]),
    *map(raw, ("-0", "1E2", "1e400", "9" * 400, "-1e-400", '"\\u0000"', '"\\ud83d\\ude00"', '{"a": 1, "a": 2}')),
    *map(raw, ("[" * 90 + "]" * 90, "[" * 127 + "]" * 127, '{"a":' * 200 + "1" + "}" * 200)),
)
"""Values that are right in few places and wrong in most."""

NO_JSON: Final = ("NaN", "01", "+1", '"\\ud800"', '"\\udc00\\ud800"', '"\t"', "[1,]", "'maks'", "", "\ufeff1")


def near_misses(row: Row, agent: str) -> Iterator[bytes]:
    """Yield bodies around the example of a method, with that agent in it."""
    params = dict(row.example.params)
    for name in params.keys() & {"definition_id", "definition_ids", "after"}:
        params[name] = [agent] if name == "definition_ids" else agent
    call = {"jsonrpc": "2.0", "id": 1, "method": row.name, "params": params}
    for number, other in enumerate(_params_near(row, params)):
        near = {**call, "params": other}
        yield orjson.dumps([{**near, "id": raw("1.50")}] if number % 2 else near)
    for member in call:
        yield orjson.dumps({name: value for name, value in call.items() if name != member})
        for value in ODD:
            yield orjson.dumps({**call, member: value})
    yield orjson.dumps({**call, "method": row.name.upper()})


def _params_near(row: Row, params: dict[str, Any]) -> Iterator[Any]:
    places = [param.name for param in row.params.rows]
    for name in (*places, "unknown", ""):
        yield {other: value for other, value in params.items() if other != name}
        for value in ODD:
            yield {**params, name: value}
    by_position = [params.get(name) for name in places if name not in row.params.alternatives[1:]]
    for count in range(len(by_position) + 1):
        yield by_position[:count]
    for value in ODD:
        yield [*by_position, value]
        for place in range(len(by_position)):
            yield [*by_position[:place], value, *by_position[place + 1 :]]
