"""What the query of a file's URL says of how the file is to be written; pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from rpc.contract import METHODS
from rpc.file_paths import NUMBER
from rpc.schema import WHOLE_NUMBER, Params
from rpc.wishes import Wishes
from store.errors import InvalidParamsError, quote
from store.limits import QUOTE_CHARACTERS_MAX

_PRETTY: Final = "pretty"
"""Concerns the form of the answer."""

_PARAMS: Final = Params(next(row.params.rows for row in METHODS if row.name == "agent:session:write_state")[2:])
"""Those of `write_state` but the agent, which is in the path, and the content, which is the body."""

_NUMBERS: Final = frozenset(row.name for row in _PARAMS.rows if row.kind is WHOLE_NUMBER)


def wishes_of(query: str) -> Wishes:
    """Take a query to what it says of a write.

    Raises:
        InvalidParamsError: a parameter is unknown, ill-typed, or there twice.
    """
    sent: dict[str, str | int] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in sent:
            raise InvalidParamsError(name[:QUOTE_CHARACTERS_MAX], f"{quote(name)} is there more than once")
        sent[name] = int(value) if name in _NUMBERS and NUMBER.fullmatch(value) else value
    sent.pop(_PRETTY, None)
    return Wishes(**_PARAMS.bind(sent))
