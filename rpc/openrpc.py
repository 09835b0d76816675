"""The OpenRPC document, made of the method table. `python -m rpc.openrpc` writes it to `rpc/openrpc.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from rpc import shapes
from rpc.contract import CONTRACT_VERSION, METHODS, Row
from rpc.errors import INTERNAL, INTERNAL_HINT, INTERNAL_NUMBER, NUMBERS, advice
from rpc.schema import Param

OPENRPC_VERSION: Final = "1.3.2"

FILE: Final = Path(__file__).with_name("openrpc.json")
SCHEMAS: Final = "#/components/schemas/"
"""What a reference to a named schema begins with."""

_SERVER: Final = {
    "name": "this machine",
    "url": "http://127.0.0.1:${port}/rpc",
    "description": "run/srv.json in the data directory says where the daemon listens.",
    "variables": {"port": {"default": "8377"}},
}


def document() -> dict[str, Any]:
    """Describe every method: parameters, result, errors and an example."""
    schemas: dict[str, Any] = {}
    methods = [_method(row, schemas) for row in METHODS]
    _referring(shapes.ERROR_DATA, schemas)
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "Zonekeeper",
            "version": CONTRACT_VERSION,
            "description": "Keeps the conversations of AI agents. JSON-RPC 2.0 over POST /rpc.",
            "license": {"name": "Apache-2.0"},
        },
        "servers": [_SERVER],
        "methods": methods,
        "components": {
            "errors": {_error_name(number): _error(number) for number in sorted(_numbers(), reverse=True)},
            "schemas": schemas,
        },
    }


def encoded() -> bytes:
    """Return the document as the file holds it."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _referring(schema: Any, schemas: dict[str, Any]) -> Any:
    """Return a schema that refers to each one with a title in it by name, and put those into `schemas`."""
    if isinstance(schema, list):
        return [_referring(each, schemas) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {member: _referring(value, schemas) for member, value in schema.items()}
    title = copy.get("title")
    if not isinstance(title, str):  # a property may have this name too
        return copy
    if schemas.setdefault(title, copy) != copy:
        raise ValueError(f"two schemas have the title {title}")
    return {"$ref": SCHEMAS + title}


def _method(row: Row, schemas: dict[str, Any]) -> dict[str, Any]:
    numbers = sorted({NUMBERS[word] for word in row.errors} | {INTERNAL_NUMBER}, reverse=True)
    method = {
        "name": row.name,
        "summary": row.summary,
        # A name each, while one place serves both: that can only be described by name.
        "paramStructure": "by-name" if row.params.alternatives else "either",
        "params": [_content_descriptor(param) for param in row.params.rows],
        "result": {"name": "result", "schema": _referring(row.result, schemas)},
        "errors": [{"$ref": f"#/components/errors/{_error_name(number)}"} for number in numbers],
        "examples": [
            {
                "name": row.summary.removesuffix("."),
                "params": [{"name": name, "value": value} for name, value in row.example.params.items()],
                "result": {"name": "result", "value": row.example.result},
            }
        ],
    }
    if row.description:
        method["description"] = row.description
    return method


def _content_descriptor(param: Param) -> dict[str, Any]:
    return {
        "name": param.name,
        "description": param.description,
        "required": param.required,
        "schema": param.kind.schema,
    }


def _numbers() -> set[int]:
    return {*NUMBERS.values(), INTERNAL_NUMBER}


def _words(number: int) -> list[str]:
    return [word for word, its_number in NUMBERS.items() if its_number == number] or [INTERNAL]


def _error_name(number: int) -> str:
    return _words(number)[0]


def _error(number: int) -> dict[str, Any]:
    """Describe an error by what `error.data` always holds. Words that share a number are one error to OpenRPC."""
    words = _words(number)
    advised = {"hint": INTERNAL_HINT, "retry": False} if number == INTERNAL_NUMBER else advice(words[0])
    return {"code": number, "message": " or ".join(words), "data": {"code": words[0], **advised}}


if __name__ == "__main__":
    FILE.write_bytes(encoded())
