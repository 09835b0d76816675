"""The commands that speak to a running daemon, found through `<data_dir>/run/srv.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import orjson

from rpc.client import Client
from rpc.errors import RpcError, TransportError
from srv.config import Settings
from srv.escapes import escaped
from srv.exits import Exit, StartFailedError
from srv.output import size_in_words, write_out


def status(options: argparse.Namespace, settings: Settings) -> int:
    """Show the result of `srv:status`, as a table or as JSON."""
    result = _call(settings, "srv:status", None)
    if options.json:
        write_out(_json(result))
        return Exit.STOPPED
    migrations = result.pop("migrations", {})
    lines = _table("", list(_rows("", result)))
    for name, facts in migrations.items():
        lines += [
            "",
            f"{escaped(name)}: {escaped(str(facts.pop('outcome', '')))}",
            *_table("  ", list(_rows("", facts))),
        ]
    # Never cut to the width of a terminal: what does not fit is wrapped by it, and stays whole for whoever copies it.
    write_out("\n".join(lines))
    return Exit.STOPPED


def call(options: argparse.Namespace, settings: Settings) -> int:
    """Call a method and print its result as JSON."""
    try:
        options.method.encode()
    except UnicodeEncodeError as error:
        raise StartFailedError(Exit.WRONG_USAGE, "METHOD is not UTF-8") from error
    params = None if options.params is None else _checked(_given(options.params))
    write_out(_json(_call(settings, options.method, params)))
    return Exit.STOPPED


def _given(params: str) -> bytes:
    """Return PARAMS as typed, to the byte."""
    if params != "-":
        return os.fsencode(params)
    if sys.stdin is None:
        raise StartFailedError(Exit.WRONG_USAGE, "PARAMS cannot be read: there is no standard input")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StartFailedError(Exit.WRONG_USAGE, f"PARAMS cannot be read: {error.strerror}") from error


def _checked(params: bytes) -> orjson.Fragment:
    """Refuse what the daemon would not take for JSON. What it takes is sent as typed, so that numbers keep their digits."""
    try:
        decoded = orjson.loads(params)
    except orjson.JSONDecodeError as error:
        raise StartFailedError(Exit.WRONG_USAGE, f"PARAMS is not JSON: {escaped(str(error))}") from error
    if not isinstance(decoded, (dict, list)):
        raise StartFailedError(Exit.WRONG_USAGE, "PARAMS must be a JSON object or array")
    return orjson.Fragment(params)


def _call(settings: Settings, method: str, params: orjson.Fragment | None) -> Any:
    try:
        return asyncio.run(_call_running(settings, method, params))
    except RpcError as error:
        word = str(error.word or error.code)
        sentence = error.message if error.message.startswith(f"{word}: ") else f"{word}: {error.message}"
        hint = f"\n{error.hint}" if error.hint else ""
        raise StartFailedError(Exit.FAILED, escaped(sentence) + hint) from error
    except TransportError as error:
        raise StartFailedError(Exit.FAILED, escaped(str(error))) from error


async def _call_running(settings: Settings, method: str, params: orjson.Fragment | None) -> Any:
    async with Client.find(settings.data_dir, token=settings.token) as client:
        return await client.call(method, params)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _table(indent: str, rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{indent}{escaped(name):<{width}}  {escaped(value)}" for name, value in rows]


def _rows(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Flatten a result to rows for people: `store.wal_bytes` and its value in words."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _rows(f"{prefix}.{key}" if prefix else key, inner)
    else:
        yield prefix, _in_words(prefix, value)


def _in_words(name: str, value: Any) -> str:
    if not isinstance(value, int):
        return "none" if value is None else str(value)
    if name.endswith("_bytes"):
        return size_in_words(value)
    if name.endswith("_at_ms"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value / 1000))
    if name.endswith("_ms"):
        return _duration(value // 1000)
    return str(value)


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "0 s"
