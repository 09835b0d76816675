"""METHOD and PARAMS of a command line: checked, and otherwise left as they were typed."""

from __future__ import annotations

import argparse
import os
import sys

import orjson

from srv.escapes import escaped
from srv.exits import Exit, StartFailedError


def method_of(options: argparse.Namespace) -> str:
    """Return METHOD. A command line may hold any bytes; those that are no text are wrong usage."""
    method: str = options.method
    try:
        method.encode()
    except UnicodeEncodeError as error:
        raise StartFailedError(Exit.WRONG_USAGE, "METHOD is not UTF-8") from error
    return method


def params_of(options: argparse.Namespace) -> bytes | None:
    """Return PARAMS as typed, to the byte, so that numbers keep their digits; None where there are none.

    Raises:
        StartFailedError: they are not what the daemon would take for JSON, or cannot be read.
    """
    if options.params is None:
        return None
    params = _given(options.params)
    try:
        decoded = orjson.loads(params)
    except orjson.JSONDecodeError as error:
        raise StartFailedError(Exit.WRONG_USAGE, f"PARAMS is not JSON: {escaped(str(error))}") from error
    if not isinstance(decoded, (dict, list)):
        raise StartFailedError(Exit.WRONG_USAGE, "PARAMS must be a JSON object or array")
    return params


def _given(params: str) -> bytes:
    if params != "-":
        return os.fsencode(params)
    if sys.stdin is None:
        raise StartFailedError(Exit.WRONG_USAGE, "PARAMS cannot be read: there is no standard input")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StartFailedError(Exit.WRONG_USAGE, f"PARAMS cannot be read: {error.strerror}") from error
