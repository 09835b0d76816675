"""The commands that speak to a running daemon, found through `<data_dir>/run/srv.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rpc.client import Client, TransportError
from rpc.errors import RpcError
from srv.config import Settings
from srv.data_dir import DataDir
from srv.exits import Exit, StartFailedError


def status(options: argparse.Namespace, settings: Settings) -> int:
    """Show the result of `srv:status`, as a table or as JSON."""
    result = _call(settings, "srv:status", None)
    if options.json:
        _print_json(result)
        return Exit.STOPPED
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _rows("", result):
        table.add_row(Text(name, style="dim"), Text(value))
    Console().print(table)
    return Exit.STOPPED


def call(options: argparse.Namespace, settings: Settings) -> int:
    """Call a method and print its result as JSON."""
    text = sys.stdin.read() if options.params == "-" else options.params
    params = None
    if text is not None:
        try:
            params = json.loads(text)
        except ValueError as error:
            raise StartFailedError(Exit.WRONG_USAGE, f"PARAMS is not JSON: {error}") from error
        if not isinstance(params, (dict, list)):
            raise StartFailedError(Exit.WRONG_USAGE, "PARAMS must be a JSON object or array")
    _print_json(_call(settings, options.method, params))
    return Exit.STOPPED


def _call(settings: Settings, method: str, params: Any) -> Any:
    try:
        return asyncio.run(_call_running(settings, method, params))
    except RpcError as error:
        hint = f"\n{error.hint}" if error.hint else ""
        raise StartFailedError(Exit.FAILED, f"{error.word or error.code}: {error.message}{hint}") from error
    except TransportError as error:
        reason = _nobody(settings) if error.status is None else str(error)
        raise StartFailedError(Exit.FAILED, reason) from error


async def _call_running(settings: Settings, method: str, params: Any) -> Any:
    facts = _facts(settings)
    unix_socket = facts["unix_socket"]
    token = settings.token
    if token is None and facts["token_file"] is not None:
        token = _read(Path(facts["token_file"]), settings).strip()
    if token is None and unix_socket is None:
        raise StartFailedError(
            Exit.FAILED, "the daemon was given its token by its parent: set ZONEKEEPER_TOKEN to that token"
        )
    async with Client(facts["url"], token, unix_socket) as client:
        return await client.call(method, params)


def _facts(settings: Settings) -> dict[str, Any]:
    run_file = DataDir(settings.data_dir).run_file
    try:
        facts = json.loads(_read(run_file, settings))
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or not facts.keys() >= {"url", "unix_socket", "token_file"}:
        raise StartFailedError(Exit.FAILED, f"{run_file} cannot be understood")
    return facts


def _read(path: Path, settings: Settings) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StartFailedError(Exit.FAILED, _nobody(settings)) from error
    except OSError as error:
        raise StartFailedError(Exit.FAILED, f"{path} cannot be read: {error.strerror}") from error


def _nobody(settings: Settings) -> str:
    return f"no daemon runs on {settings.data_dir}; start one with: zonekeeper serve --data-dir {settings.data_dir}"


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


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
        return _size(value)
    if name.endswith("_at_ms"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value / 1000))
    if name.endswith("_ms"):
        return _duration(value // 1000)
    return str(value)


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - binary units
            return f"{size:.1f} {unit}" if unit != "bytes" else f"{size_bytes} bytes"
        size /= 1024
    return f"{size:.1f} GiB"


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "0 s"
