"""The document describes the daemon: it is well formed, the file is current, and its examples are true to its schemas."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry
from referencing.jsonschema import DRAFT7

from rpc import openrpc
from rpc.contract import METHODS, Row
from rpc.errors import NUMBERS
from rpc.methods import method_table
from rpc.openrpc import FILE, document, encoded
from rpc.schema import Params
from srv.config import PORT_DEFAULT
from store.errors import StoreError
from store.sessions import Sessions
from tests.node import programs
from tests.rpc.conftest import Schema, status

DOCUMENT: dict[str, Any] = orjson.loads(FILE.read_bytes())
DESIGN_TABLE = {
    "agent:session:read": "definition_id, if_revision?",
    "agent:session:write_state": "definition_id, content, session_id?, expect_revision?, covers_line?",
    "agent:session:append_output": "definition_id, line?, lines?, session_id?, expect_offset?",
    "agent:session:archive": "definition_id, session_id?",
    "agent:session:list_archives": "definition_id, limit?, before_ms?",
    "agent:session:read_archive": "definition_id, archived_at_ms",
    "agent:session:read_output": "definition_id, archived_at_ms?, first_line?, limit?, max_bytes?, session_id?",
    "agent:session:mount": "definition_id, tail_lines?, max_bytes?",
    "agent:session:stat": "definition_ids",
    "agent:session:list_agents": "limit?, after?",
    "srv:status": "",
    "rpc.discover": "",
}


def test_the_file_is_what_the_table_says() -> None:
    """`make types` brings it up to date."""
    assert FILE.read_bytes() == encoded()
    assert orjson.loads(orjson.dumps(document())) == DOCUMENT


def test_the_methods_and_parameters_are_those_of_the_contract() -> None:
    """Names, order and which may be left out, as DESIGN.md has them."""
    described = {
        method["name"]: ", ".join(param["name"] + ("" if param["required"] else "?") for param in method["params"])
        for method in DOCUMENT["methods"]
    }
    assert described == DESIGN_TABLE


def test_the_method_table_is_the_documented_one(sessions: Sessions) -> None:
    """Whatever is described can be called, and nothing else."""
    methods = method_table(sessions, status)
    assert list(methods) == list(DESIGN_TABLE)
    changing = {name for name, method in methods.items() if method.changes}
    assert changing == {f"agent:session:{verb}" for verb in ("write_state", "append_output", "archive")}


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    """Return the validator of the official meta-schema of OpenRPC, and of that of JSON Schema to which it refers."""
    json_schema = DRAFT7.create_resource(programs.evaluate('require("@json-schema-tools/meta-schema").jsonSchema'))
    # Its references leave out the slash with which its name ends.
    names = ("https://meta.json-schema.tools", "https://meta.json-schema.tools/")
    registry = Registry().with_resources((name, json_schema) for name in names)
    return Draft7Validator(programs.evaluate('require("@open-rpc/meta-schema").openrpcDocument'), registry=registry)


def test_the_document_passes_the_official_meta_schema(official: Draft7Validator) -> None:
    """Whatever reads OpenRPC can read it."""
    assert [f"{error.json_path}: {error.message}" for error in official.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"methods": [{"name": "srv:status", "params": []}, {"name": "rpc.discover"}]},
        {"methods": [{"name": "m", "params": [{"name": "p", "schema": {"type": "text"}}]}]},
        {"components": {"schemas": {"Page": {"required": "lines"}}}},
        {"servers": [{"url": 8377}]},
    ],
    ids=["method", "schema of a parameter", "named schema", "server"],
)
def test_the_official_meta_schema_sees_what_is_wrong(official: Draft7Validator, wrong: dict[str, Any]) -> None:
    """Down to the schemas within the document."""
    assert not official.is_valid({**DOCUMENT, **wrong})


def test_names_are_unique() -> None:
    """The meta-schema cannot say so: each method and each error once, and every reference means something."""
    names = [method["name"] for method in DOCUMENT["methods"]]
    assert len(set(names)) == len(names)
    for method in DOCUMENT["methods"]:
        codes = [referred(error)["code"] for error in method["errors"]]
        assert len(set(codes)) == len(codes)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', FILE.read_text(encoding="utf-8")))
    assert references | {"ErrorData"} == DOCUMENT["components"]["schemas"].keys()


def test_a_title_names_one_schema() -> None:
    """What is described twice in the same words stands there once; two that differ cannot share a name."""
    page = {"type": "object", "title": "Page"}
    schemas: dict[str, Any] = {}
    referring = openrpc._referring({"type": "object", "properties": {"a": page, "title": page}}, schemas)
    assert schemas == {"Page": page}
    assert referring["properties"] == {name: {"$ref": "#/components/schemas/Page"} for name in ("a", "title")}
    with pytest.raises(ValueError, match="two schemas have the title Page"):
        openrpc._referring({**page, "type": "array"}, schemas)


@pytest.mark.parametrize("method", DOCUMENT["methods"], ids=lambda method: method["name"])
def test_required_parameters_come_first_and_examples_name_parameters(method: dict[str, Any]) -> None:
    """So that the others can be left out by position as well."""
    names = [param["name"] for param in method["params"]]
    assert len(set(names)) == len(names)
    required = [param["required"] for param in method["params"]]
    assert required == sorted(required, reverse=True)
    assert method["examples"]
    for example in method["examples"]:
        assert {value["name"] for value in example["params"]} <= set(names)


def test_the_port_of_the_server_is_the_default_one() -> None:
    """The document and the settings say the same."""
    (server,) = DOCUMENT["servers"]
    assert server["variables"]["port"]["default"] == str(PORT_DEFAULT)


def within(schema: dict[str, Any]) -> Schema:
    """Return a schema of the document, with what it refers to."""
    return Schema({**schema, "components": DOCUMENT["components"]})


def referred(reference: dict[str, str]) -> dict[str, Any]:
    """Return the error that a reference means."""
    assert reference.keys() == {"$ref"}
    prefix, name = reference["$ref"].rsplit("/", 1)
    assert prefix == "#/components/errors"
    error: dict[str, Any] = DOCUMENT["components"]["errors"][name]
    return error


@pytest.mark.parametrize("method", DOCUMENT["methods"], ids=lambda method: method["name"])
def test_examples_fit_their_schemas(method: dict[str, Any]) -> None:
    """What an example sends can be sent, and what it gets can be got."""
    schemas = {param["name"]: param["schema"] for param in method["params"]}
    for example in method["examples"]:
        for param in example["params"]:
            within(schemas[param["name"]]).check(param["value"])
        missing = {param["name"] for param in method["params"] if param["required"]}
        assert missing <= {param["name"] for param in example["params"]}
        within(method["result"]["schema"]).check(example["result"]["value"])


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
def test_an_example_can_be_bound(row: Row) -> None:
    """The checks agree with the examples."""
    assert row.params.bind(dict(row.example.params)).keys() == row.example.params.keys()


def test_the_errors_are_those_of_the_table() -> None:
    """Every number is described, with data that fits its schema."""
    described = {error["code"]: error for error in DOCUMENT["components"]["errors"].values()}
    assert described.keys() == {*NUMBERS.values(), -32603}
    data = within(DOCUMENT["components"]["schemas"]["ErrorData"])
    for error in described.values():
        assert type(error["message"]) is str
        data.check(error["data"])


Values = list[tuple[Any, bool]]
WHOLE_NUMBERS: Values = [
    (-1, False),
    (0, True),
    (2**53 - 1, True),
    (2**53, False),
    (1.5, False),
    ("1", False),
    (True, False),
]
TEXTS: Values = [("maks", True), (1, False), (None, False), (["maks"], False)]
ARRAYS: Values = [(["maks"], True), ("maks", False), ([1], False)]


@pytest.mark.parametrize(
    ("row", "name"),
    [(row, param.name) for row in METHODS for param in row.params.rows],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_schema_and_its_check_agree(row: Row, name: str) -> None:
    """What the schema refuses the check refuses, and what it lets through the check lets through."""
    param = next(param for param in row.params.rows if param.name == name)
    schema = Schema(param.kind.schema)
    values = {"integer": WHOLE_NUMBERS, "string": TEXTS, "array": ARRAYS}[param.kind.schema["type"]]
    alone = Params((param,))
    for value, expected in values:
        assert schema.fits(value) is expected
        if value is None:
            continue
        try:
            alone.bind({name: value})
        except StoreError:
            assert not expected
        else:
            assert expected


def test_the_verbs_have_the_names_of_the_parameters() -> None:
    """What is bound by name reaches the store under the same name."""
    verbs: dict[str, Callable[..., Any]] = {
        "agent:session:write_state": Sessions.write_session_state,
        "agent:session:archive": Sessions.archive_session,
        "agent:session:list_archives": Sessions.list_archives,
        "agent:session:read_output": Sessions.read_output,
        "agent:session:mount": Sessions.mount,
    }
    for row in METHODS:
        if verb := verbs.get(row.name):
            # How much of a content is read, and whether at all, is between us and the store.
            ours = {"self", "content_bytes_max", "if_revision"}
            names = [name for name in inspect.signature(verb).parameters if name not in ours]
            assert names == [param.name for param in row.params.rows]
