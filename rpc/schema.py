"""Kinds of parameters: for each, the JSON Schema that describes it and the check that enforces it, side by side.

What is checked here is shape: that a name is known, a value there and of its type. What a value means (is there such an
archive, is the text too large) is for `store/sessions.py` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from rpc.slices import LongText, Number
from store import limits
from store.errors import InvalidParamsError, quote

Sent = dict[str, Any] | Sequence[Any]
"""A request's `params`: by name, or by position."""

_WHOLE_NUMBER: Final = f"a whole number from 0 to {limits.TIME_MS_MAX}"
_NAME_CHARACTERS_MAX: Final = limits.QUOTE_CHARACTERS_MAX
_QUOTE_BYTES: Final = 4 * (limits.QUOTE_CHARACTERS_MAX + 1)
_CONTAINERS: Final[Mapping[type, str]] = {list: "an array", dict: "an object"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a parameter can be.

    Attributes:
        schema: JSON Schema (draft 7).
        check: takes the parameter's name and the value sent, returns the value for the verb or raises `InvalidParamsError`.
    """

    schema: Mapping[str, Any]
    check: Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter.

    Attributes:
        name: on the wire.
        kind: what it can be.
        description: for people.
        required: it must be there; else it may also be null, which is the same as absent.
    """

    name: str
    kind: Kind
    description: str
    required: bool = False


class Params:
    """The parameters of a method, in the order of DESIGN.md's table, ready to be bound.

    Args:
        rows: the parameters; the required ones come first.
        alternatives: names of neighbouring parameters of which exactly one must be sent. By position they share one place: the
            first of them whose kind fits takes the value.
    """

    def __init__(self, rows: Sequence[Param], alternatives: tuple[str, ...] = ()) -> None:
        self.rows = tuple(rows)
        self.alternatives = alternatives
        self._checks = tuple((row.name, row.kind.check, row.required) for row in rows)
        self._names = frozenset(row.name for row in rows)
        self._places = tuple(row.name for row in rows if row.name not in alternatives[1:])

    def bind(self, sent: Sent) -> dict[str, Any]:
        """Return the arguments by name, checked; what is absent or null is left out.

        Args:
            sent: the request's `params`, by name or by position.

        Raises:
            InvalidParamsError: a parameter is unknown, missing or ill-typed; names it.
        """
        by_name = sent if isinstance(sent, dict) else self._named(sent)
        if not by_name.keys() <= self._names:
            unknown = next(name for name in by_name if name not in self._names)
            raise InvalidParamsError(unknown[:_NAME_CHARACTERS_MAX], f"unknown parameter {quote(unknown)}")
        bound = {}
        for name, check, required in self._checks:
            value = by_name.get(name)
            if value is not None:
                bound[name] = check(name, value)
            elif required:
                raise InvalidParamsError(name, f"{name} must not be null" if name in by_name else f"{name} is missing")
        if self.alternatives:
            self._check_alternatives(bound)
        return bound

    def _named(self, sent: Sequence[Any]) -> dict[str, Any]:
        if len(sent) > len(self._places):
            message = f"too many parameters: at most {len(self._places)}, got {len(sent)}"
            raise InvalidParamsError(f"[{len(self._places)}]", message)
        named = dict(zip(self._places, sent, strict=False))
        first, *others = self.alternatives or (None,)
        if first is not None and isinstance(named.get(first), list):
            for other in others:
                named[other] = named.pop(first)
        return named

    def _check_alternatives(self, bound: Mapping[str, Any]) -> None:
        given = [name for name in self.alternatives if name in bound]
        either = " or ".join(self.alternatives)
        if not given:
            raise InvalidParamsError(self.alternatives[0], f"{either} is missing")
        if len(given) > 1:
            raise InvalidParamsError(given[1], f"send either {either}, not both")


def _shown(value: Any) -> str:
    """Name a value in a message without repeating what may be large."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, LongText):
        return quote(value.data[:_QUOTE_BYTES].decode(errors="ignore"))
    if isinstance(value, Number):
        return value.characters[: limits.QUOTE_CHARACTERS_MAX].decode()
    return _CONTAINERS.get(type(value)) or orjson.dumps(value).decode()


def _ill_typed(param: str, where: str, expected: str, value: Any) -> InvalidParamsError:
    return InvalidParamsError(param, f"{where} must be {expected}, got {_shown(value)}")


def _check_text(name: str, value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is LongText:
        return value.decode()
    raise _ill_typed(name, name, "a string", value)


def _check_content(name: str, value: Any) -> bytes:
    if type(value) is str:
        return value.encode()
    if type(value) is LongText:
        return value.data
    raise _ill_typed(name, name, "a string", value)


def _check_texts(name: str, value: Any) -> list[str]:
    if type(value) is not list:
        raise _ill_typed(name, name, "an array of strings", value)
    if set(map(type, value)) <= {str}:
        return value
    return [_check_element(name, place, each) for place, each in enumerate(value)]


def _check_element(name: str, place: int, value: Any) -> str:
    if isinstance(value, (str, LongText)):
        return _check_text(name, value)
    raise _ill_typed(name, f"{name}[{place}]", "a string", value)


def _check_whole_number(name: str, value: Any) -> int:
    # `type() is`, since true and false are ints to isinstance.
    if type(value) is int and 0 <= value <= limits.TIME_MS_MAX:
        return value
    raise _ill_typed(name, name, _WHOLE_NUMBER, value)


DEFINITION_ID_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]+$",
    "maxLength": limits.DEFINITION_ID_CHARACTERS_MAX,
}

# Whether an id matches is for the store to say, in the same words everywhere.
DEFINITION_ID: Final = Kind(DEFINITION_ID_SCHEMA, _check_text)
DEFINITION_IDS: Final = Kind(
    {"type": "array", "items": DEFINITION_ID_SCHEMA, "maxItems": limits.STAT_DEFINITIONS_MAX}, _check_texts
)
SESSION_ID: Final = Kind({"type": "string"}, _check_text)
CONTENT: Final = Kind({"type": "string"}, _check_content)
LINE: Final = Kind({"type": "string"}, _check_text)
LINES: Final = Kind(
    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": limits.Limits().append_lines_max},
    _check_texts,
)
WHOLE_NUMBER: Final = Kind({"type": "integer", "minimum": 0, "maximum": limits.TIME_MS_MAX}, _check_whole_number)


def count(default: int, maximum: int) -> Kind:
    """Return the kind of a number that has a default, for 0 too, and is cut down to a maximum where it is larger."""
    schema = {**WHOLE_NUMBER.schema, "default": default}
    schema["description"] = f"0 is the default, {default}; more than {maximum} is {maximum}."
    return Kind(schema, _check_whole_number)
