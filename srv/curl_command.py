"""`zonekeeper curl`: a line for a shell that calls a method of the running daemon with curl."""

from __future__ import annotations

import argparse
import shlex

import orjson

from rpc.discovery import Discovery, RunFile
from rpc.errors import NoDaemonError, TransportError
from srv.config import Settings
from srv.data_dir import DataDir
from srv.escapes import escaped, escaped_json
from srv.exits import Exit, StartFailedError
from srv.output import write_out
from srv.params import method_of, params_of


def curl(options: argparse.Namespace, settings: Settings) -> int:
    """Print the line."""
    request = _request(options)
    try:
        daemon = Discovery(settings.data_dir).run_file()
        if DataDir(settings.data_dir).holder() is None:
            raise NoDaemonError(settings.data_dir)  # it was killed
    except TransportError as error:
        raise StartFailedError(Exit.FAILED, escaped(str(error))) from error
    write_out(_line(daemon, request))
    return Exit.STOPPED


def _request(options: argparse.Namespace) -> str:
    members = {"jsonrpc": "2.0", "id": 1, "method": method_of(options)}
    params = params_of(options)
    if params is not None:
        members["params"] = orjson.Fragment(params)
    return escaped_json(orjson.dumps(members).decode())


def _line(daemon: RunFile, request: str) -> str:
    if daemon.unix_socket is not None:
        socket = _pasteable(daemon.unix_socket)
        return f"curl -sS --unix-socket {socket} http://localhost/rpc -d {shlex.quote(request)}"
    # The token takes the way of a header that curl reads: every user of the machine can read a command line.
    token = '"$ZONEKEEPER_TOKEN"' if daemon.token_file is None else f'"$(cat {_pasteable(daemon.token_file)})"'
    trust = "" if daemon.tls_cert is None else f" --cacert {_pasteable(daemon.tls_cert)}"
    return f"printf 'X-AuthKey: %s\\n' {token} | curl -sS -H @-{trust} {shlex.quote(daemon.url)}/rpc -d {shlex.quote(request)}"


def _pasteable(path: str) -> str:
    """Quote a path for a shell. What would drive the terminal on its way there is not printed."""
    if escaped(path) != path:
        raise StartFailedError(Exit.FAILED, f"no line to paste: there are control characters in {escaped(path)}")
    return shlex.quote(path)
