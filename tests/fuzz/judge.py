"""Says of an answer whether it is right, from the request and the OpenRPC document alone.

It reads JSON with Python's own reader and knows nothing of how ours works: the JSON-RPC 2.0 specification, and the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jsonschema import Draft7Validator, ValidationError  # type: ignore[import-untyped]  # it ships no types
from jsonschema.validators import extend  # type: ignore[import-untyped]  # the same

from rpc.contract import METHODS
from rpc.errors import NUMBERS
from rpc.openrpc import FILE
from store.limits import Limits

DOCUMENT: Final[dict[str, Any]] = json.loads(FILE.read_bytes())

PARSE_ERROR: Final = {"code": -32700, "message": "Parse error"}
INVALID_REQUEST: Final = {"code": -32600, "message": "Invalid Request"}
METHOD_NOT_FOUND: Final = {"code": -32601, "message": "Method not found"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: an id must come back so."""

    characters: str


class NotJsonError(ValueError):
    """A text is not JSON."""


def read(text: bytes) -> Any:
    """Read JSON at its strictest, each number as a `Number`."""
    try:
        value = json.loads(text.decode(), parse_constant=_refuse, parse_int=Number, parse_float=Number)
        json.dumps(value, default=str, ensure_ascii=False).encode()
    except ValueError as error:
        raise NotJsonError from error
    return value


def _refuse(constant: str) -> None:
    raise NotJsonError(constant)


def _plain(value: Any) -> Any:
    """Return what was read with numbers as Python has them."""
    match value:
        case Number(characters):
            return json.loads(characters)
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
    return value


def _levels(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(_levels, members), default=0)


def _levels_written(text: bytes) -> int:
    """Count also what a later member of the same name replaces."""
    return _levels(json.loads(text, object_pairs_hook=lambda members: [value for _, value in members]))


def _check_pattern(_: Any, pattern: str, text: Any, __: Any) -> Iterator[ValidationError]:
    # In JSON Schema `$` is the end of the text, in Python also the line end before it.
    if isinstance(text, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), text):
        yield ValidationError(f"{text!r} does not match {pattern}")


_Validator: Final = extend(
    Draft7Validator,
    {"pattern": _check_pattern},
    # 1.0 is a number of another kind to JSON-RPC clients that are strict about theirs, and so to us.
    type_checker=Draft7Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


def _validator(schema: Mapping[str, Any]) -> Any:
    return _Validator({"allOf": [schema], "components": DOCUMENT["components"]})


_ERROR_DATA: Final = _validator({"$ref": "#/components/schemas/ErrorData"})


class Described:
    """A method as the document has it."""

    def __init__(self, method: Mapping[str, Any], alternatives: tuple[str, ...]) -> None:
        """Keep what can be checked; `alternatives` is the one thing that the document says in words only."""
        self._params = {param["name"]: _validator(param["schema"]) for param in method["params"]}
        self._required = {param["name"] for param in method["params"] if param["required"]}
        self._alternatives = alternatives
        self._result = _validator(method["result"]["schema"])
        names = [error["$ref"].rpartition("/")[2] for error in method["errors"]]
        self._codes = {DOCUMENT["components"]["errors"][name]["code"] for name in names}

    def fits(self, params: Any) -> bool | None:
        """Tell whether the schemas allow these parameters, None where they do not say."""
        if isinstance(params, list):
            if self._alternatives:
                return None
            if len(params) > len(self._params):
                return False
            params = dict(zip(self._params, params, strict=False))
        given = {name: value for name, value in params.items() if value is not None}
        if not params.keys() <= self._params.keys() or not self._required <= given.keys():
            return False
        if self._alternatives and len(given.keys() & set(self._alternatives)) != 1:
            return False
        return all(self._params[name].is_valid(_plain(value)) for name, value in given.items())

    def check(self, params: Any, response: Mapping[str, Any]) -> None:
        """Check a result, or an error."""
        fits = self.fits(params)
        if "result" in response:
            assert fits is not False, "parameters that do not fit were taken"
            self._result.validate(_plain(response["result"]))
            return
        error = _plain(response["error"])
        assert error.keys() == {"code", "message", "data"}
        assert error["code"] in self._codes - {-32603}, "the document does not say that it gives this error"
        _ERROR_DATA.validate(error["data"])
        assert NUMBERS[error["data"]["code"]] == error["code"]
        word = error["data"]["code"]
        if fits:
            assert word not in {"INVALID_PARAMS", "INVALID_DEFINITION_ID"}
        elif fits is False:
            assert word in {"INVALID_PARAMS", "INVALID_DEFINITION_ID", "TOO_LARGE", "READ_ONLY"}


_ALTERNATIVES: Final = {row.name: row.params.alternatives for row in METHODS}
CHANGING: Final = frozenset(row.name for row in METHODS if row.changes)
DESCRIBED: Final = {method["name"]: Described(method, _ALTERNATIVES[method["name"]]) for method in DOCUMENT["methods"]}


def check(body: bytes, answer: bytes | None) -> None:
    """Check what a body was answered with.

    Raises:
        AssertionError: that is not right.
    """
    response: Any = None if answer is None else read(answer)
    try:
        sent = read(body)
    except NotJsonError:
        _check_error(response, None, PARSE_ERROR)
        return
    if _is_too_large(body, sent, response):
        assert response["error"]["data"]["code"] == "TOO_LARGE"
        _check_error(response, None, response["error"])
    elif not isinstance(sent, list):
        _check_all([sent], [] if response is None else [response])
    elif not sent:
        _check_error(response, None, INVALID_REQUEST)
    else:
        assert response != [], "a batch of notifications is answered with nothing at all"
        _check_all(sent, response or [])


def _is_too_large(body: bytes, sent: Any, response: Any) -> bool:
    """Tell whether a body must be refused as a whole; what is deep only in members that count for nothing may be."""
    limits = Limits()
    if _levels(sent) > limits.json_nesting_max or (isinstance(sent, list) and len(sent) > limits.batch_members_max):
        return True
    error = response.get("error", {}) if isinstance(response, dict) else {}
    is_refused: bool = error.get("data", {}).get("limit") == "json_nesting_max"
    return is_refused and _levels_written(body) > limits.json_nesting_max


def may_change(body: bytes, answer: bytes | None) -> bool:
    """Tell whether a body, with this answer, may have changed the store."""
    try:
        sent = read(body)
    except NotJsonError:
        return False
    responses = read(answer) if answer is not None else []
    if not isinstance(sent, list):
        sent, responses = [sent], responses if isinstance(responses, list) else [responses]
    if not isinstance(responses, list):
        return False
    answers = iter(responses)
    found = False
    for member in sent:
        response = next(answers) if _is_answered(member) else None
        if _is_request(member) and member["method"] in CHANGING:
            found |= (
                "result" in response if response else DESCRIBED[member["method"]].fits(_params(member)) is not False
            )
    return found


def _check_all(members: list[Any], responses: list[Any]) -> None:
    """Check the responses to members: one to each but notifications, in order."""
    answered = [member for member in members if _is_answered(member)]
    assert len(responses) == len(answered)
    for member, response in zip(answered, responses, strict=True):
        if not _is_request(member):
            _check_error(response, _id(member), INVALID_REQUEST)
        elif member["method"] not in DESCRIBED:
            _check_error(response, _id(member), METHOD_NOT_FOUND)
        else:
            _check_envelope(response, _id(member))
            DESCRIBED[member["method"]].check(_params(member), response)


def _check_envelope(response: Any, request_id: Any) -> None:
    assert response.keys() in ({"jsonrpc", "result", "id"}, {"jsonrpc", "error", "id"})
    assert response["jsonrpc"] == "2.0"
    assert response["id"] == request_id
    if "error" in response:
        assert isinstance(response["error"]["code"], Number)
        assert re.fullmatch(r"-\d+", response["error"]["code"].characters)
        assert isinstance(response["error"]["message"], str)


def _check_error(response: Any, request_id: Any, error: Mapping[str, Any]) -> None:
    _check_envelope(response, request_id)
    assert _plain(response["error"]) == _plain(error)


def _is_request(member: Any) -> bool:
    """Tell whether a member is a request or a notification by section 4 of the specification."""
    return (
        isinstance(member, dict)
        and member.get("jsonrpc") == "2.0"
        and isinstance(member.get("method"), str)
        and isinstance(member.get("params", []), (list, dict))
        and isinstance(member.get("id"), (str, Number, type(None)))
    )


def _is_answered(member: Any) -> bool:
    return not _is_request(member) or "id" in member


def _params(member: Mapping[str, Any]) -> Any:
    return member.get("params", {})


def _id(member: Any) -> Any:
    """Return the id that the answer must have: null where there is none that could be told."""
    found = member.get("id") if isinstance(member, dict) else None
    return found if isinstance(found, (str, Number)) else None
