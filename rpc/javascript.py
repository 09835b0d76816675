"""The methods and types of the JavaScript client in `rpc/js`, made of the method table. `python -m rpc.javascript` writes them.

The rest of those files is written by hand. What follows from the table is between marks such as `// <types>` and `// </types>`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from rpc.contract import METHODS, Row
from rpc.openrpc import SCHEMAS, document
from rpc.schema import Param

DIRECTORY: Final = Path(__file__).with_name("js")

_COMMENT_CHARACTERS_MAX: Final = 110
_PLAIN: Final = {"string": "string", "integer": "number", "boolean": "boolean", "null": "null"}


def verb(method: str) -> str:
    """Return what the client calls a method: the last word of its name, in camel case."""
    first, *others = re.split(r"[:.]", method)[-1].split("_")
    return first + "".join(word.capitalize() for word in others)


def renewed(name: str) -> str:
    """Return a file of the client with what stands between its marks made anew.

    Raises:
        ValueError: the marks are not there.
    """
    text = (DIRECTORY / name).read_text(encoding="utf-8")
    for mark, made in MADE[name].items():
        start, opening, rest = text.partition(f"// <{mark}>\n")
        inside, closing, end = rest.partition(f"// </{mark}>\n")
        if not closing:
            raise ValueError(f"{name} has no marks for {mark}")
        indent = inside.rpartition("\n")[2]
        text = f"{start}{opening}{textwrap.indent(made(), indent)}{indent}{closing}{end}"
    return text


def _methods() -> str:
    return "\n".join(_method(row) for row in METHODS)


def _method(row: Row) -> str:
    taken, sent = ("params, options", "params") if row.params.rows else ("options", "{}")
    return f'{verb(row.name)}({taken}) {{\n  return this.call("{row.name}", {sent}, options);\n}}\n'


def _method_types() -> str:
    results = _results()
    return "\n".join(_method_type(row, results[row.name]) for row in METHODS)


def _method_type(row: Row, result: str) -> str:
    is_optional = not any(param.required for param in row.params.rows) and not row.params.alternatives
    params = f"params{'?' if is_optional else ''}: {_params_name(row)}, " if row.params.rows else ""
    words = f"@throws ZonekeeperError: {', '.join(row.errors)}"
    comment = _comment(f"{row.summary} {row.description}".strip(), words)
    return f"{comment}{verb(row.name)}({params}options?: CallOptions): Promise<{result}>;\n"


def _types() -> str:
    schemas = document()["components"]["schemas"]
    return "\n".join(
        (
            _table_type(),
            *(_params_type(row) for row in METHODS if row.params.rows),
            *(_named_type(name, schema) for name, schema in schemas.items()),
        )
    )


def _table_type() -> str:
    results = _results()
    rows = (f'"{row.name}": {{ params: {_params_name(row)}; result: {results[row.name]} }};\n' for row in METHODS)
    comment = _comment("What each method takes and returns, by its name on the wire.")
    return f"{comment}export interface Methods {_braces(rows)}\n\nexport type MethodName = keyof Methods;\n"


def _results() -> dict[str, str]:
    return {method["name"]: _type(method["result"]["schema"]) for method in document()["methods"]}


def _params_name(row: Row) -> str:
    name = verb(row.name)
    return f"{name[0].upper()}{name[1:]}Params" if row.params.rows else "Record<string, never>"


def _params_type(row: Row) -> str:
    alternatives = [param for param in row.params.rows if param.name in row.params.alternatives]
    common = _braces(_param(param) for param in row.params.rows if param not in alternatives)
    if not alternatives:
        return f"export interface {_params_name(row)} {common}\n"
    # Exactly one of them is sent; the others may be there as null only.
    cases = (
        _braces(_param(each, is_sent=True) if each is sent else f"{each.name}?: null;\n" for each in alternatives)
        for sent in alternatives
    )
    return f"export type {_params_name(row)} = {common} & ({' | '.join(cases)});\n"


def _param(param: Param, *, is_sent: bool = False) -> str:
    schema = param.kind.schema
    comment = _comment(f"{param.description} {schema.get('description', '')}".strip())
    kind = f"readonly {_type(schema)}" if schema["type"] == "array" else _type(schema)
    if param.required or is_sent:
        return f"{comment}{param.name}: {kind};\n"
    return f"{comment}{param.name}?: {kind} | null;\n"  # null is the same as absent


def _named_type(name: str, schema: Mapping[str, Any]) -> str:
    comment = _comment(schema["description"]) if "description" in schema else ""
    if schema.get("type") == "object":
        return f"{comment}export interface {name} {_type(schema)}\n"
    lines = [f"  | {_literal(value)}" for value in schema["enum"]]
    return "\n".join([f"{comment}export type {name} =", *lines]) + ";\n"


def _type(schema: Mapping[str, Any]) -> str:
    """Write the type of what fits a schema; of JSON Schema it knows what our schemas use."""
    match schema:
        case {"$ref": str(reference)}:
            written = reference.removeprefix(SCHEMAS)
        case {"const": value}:
            written = _literal(value)
        case {"enum": [*values]}:
            written = " | ".join(map(_literal, values))
        case {"oneOf": [*schemas]}:
            written = " | ".join(map(_type, schemas))
        case {"type": [*kinds]}:
            written = " | ".join(_type({**schema, "type": kind}) for kind in kinds)
        case {"type": "array", "items": items}:
            written = f"{_type(items)}[]" if re.fullmatch(r"\w+", _type(items)) else f"Array<{_type(items)}>"
        case {"type": "object"}:
            written = _braces(_members(schema))
        case {"type": str(kind)} if kind in _PLAIN:
            written = _PLAIN[kind]
        case _:
            raise ValueError(f"there is no rule for {schema}")
    return written


def _members(schema: Mapping[str, Any]) -> Iterable[str]:
    for name, member in schema.get("properties", {}).items():
        mark = "" if name in schema["required"] else "?"
        comment = _comment(member["description"]) if "description" in member else ""
        yield f"{comment}{name}{mark}: {_type(member)};\n"
    others = schema.get("additionalProperties", True)
    if others is not False:
        yield f"[member: string]: {'unknown' if others is True else _type(others)};\n"


def _literal(value: Any) -> str:
    return orjson.dumps(value).decode()


def _braces(members: Iterable[str]) -> str:
    return "{\n" + textwrap.indent("".join(members), "  ") + "}"


def _comment(*paragraphs: str) -> str:
    lines = [line for text in paragraphs for line in textwrap.wrap(text, _COMMENT_CHARACTERS_MAX)]
    if len(lines) == 1:
        return f"/** {lines[0]} */\n"
    return "/**\n" + "".join(f" * {line}\n" for line in lines) + " */\n"


MADE: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "zonekeeper.js": {"methods": _methods},
    "zonekeeper.d.ts": {"methods": _method_types, "types": _types},
}
"""The files of the client, and what makes the text between each of their marks."""

if __name__ == "__main__":
    for file in MADE:
        (DIRECTORY / file).write_text(renewed(file), encoding="utf-8")
