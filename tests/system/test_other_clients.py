"""Clients that other people wrote, in Python and in Node, call every method of a real daemon."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import jsonrpcclient
import pytest

from rpc.contract import METHODS
from tests.node import programs
from tests.rpc.conftest import Schema
from tests.srv.daemon import WAIT_SECONDS, Daemon, environment_with

Answer = dict[str, Any]
"""What came back: `result` or `error`."""

Call = Callable[[str, dict[str, Any] | list[Any]], Answer]
"""Calls a method by its name, with these parameters."""

AGENT: Final = "maks"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Run a daemon on an empty store."""
    with Daemon.start(tmp_path / "data") as running:
        yield running


@contextmanager
def jsonrpcclient_of(daemon: Daemon) -> Iterator[Call]:
    """Call with the Python package jsonrpcclient, over urllib."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {daemon.token}"}

    def call(method: str, params: dict[str, Any] | list[Any]) -> Answer:
        body = jsonrpcclient.request_json(method, params=tuple(params) if isinstance(params, list) else params)
        request = urllib.request.Request(f"{daemon.url}/rpc", body.encode(), headers)
        with opener.open(request, timeout=WAIT_SECONDS) as response:
            answer = jsonrpcclient.parse_json(response.read())
        if isinstance(answer, jsonrpcclient.Ok):
            return {"result": answer.result}
        assert isinstance(answer, jsonrpcclient.Error)
        return {"error": {"code": answer.code, "message": answer.message, "data": answer.data}}

    yield call


@contextmanager
def json_rpc_2_0_of(daemon: Daemon) -> Iterator[Call]:
    """Call with the npm package json-rpc-2.0, over the `fetch` of Node."""
    with subprocess.Popen(
        [programs.NODE, "third_party.js"],
        cwd=programs.HERE,
        env=environment_with({"DAEMON_URL": daemon.url, "DAEMON_TOKEN": daemon.token}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def call(method: str, params: dict[str, Any] | list[Any]) -> Answer:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"method": method, "params": params}) + "\n")
            process.stdin.flush()
            answer: Answer = json.loads(process.stdout.readline())
            return answer

        yield call


@pytest.mark.parametrize("client_of", [jsonrpcclient_of, json_rpc_2_0_of])
def test_another_client_calls_every_method(daemon: Daemon, client_of: Callable[[Daemon], Any]) -> None:
    """Every method of the table has a result that fits its schema; an error comes with its number, sentence and facts."""
    with client_of(daemon) as call:
        results = results_of_every_method(call)
        refused = call("agent:session:read_archive", [AGENT, 1])
    assert results.keys() == {row.name for row in METHODS}
    for row in METHODS:
        Schema(row.result).check(results[row.name])
    error = refused["error"]
    assert (error["code"], error["data"]["code"], error["data"]["retry"]) == (-32013, "ZONE_NOT_FOUND", False)
    assert AGENT in error["message"]


def results_of_every_method(call: Call) -> dict[str, Any]:
    """Call every method, in an order in which each finds something; returns the results by method."""
    results: dict[str, Any] = {}

    def session(verb: str, **params: Any) -> Any:
        return result(f"agent:session:{verb}", params)

    def result(method: str, params: dict[str, Any] | list[Any]) -> Any:
        results[method] = call(method, params)["result"]
        return results[method]

    session_id = session("write_state", definition_id=AGENT, content='{"nodes": []}')["session_id"]
    session("append_output", definition_id=AGENT, lines=["one", "zwei é 👋"], session_id=session_id, expect_offset=0)
    assert session("read", definition_id=AGENT)["content"] == '{"nodes": []}'
    assert session("read_output", definition_id=AGENT, first_line=1)["lines"] == ["zwei é 👋"]
    assert session("mount", definition_id=AGENT)["snapshot"]["revision"] == 1
    archived_at_ms = session("archive", definition_id=AGENT, session_id=session_id)["archived_at_ms"]
    assert result("agent:session:list_archives", [AGENT, 1])[0]["archived_at_ms"] == archived_at_ms
    assert session("read_archive", definition_id=AGENT, archived_at_ms=archived_at_ms)["session_id"] == session_id
    assert session("stat", definition_ids=[AGENT])[0]["archives"] == 1
    assert session("list_agents")["agents"][0]["definition_id"] == AGENT
    assert result("srv:status", {})["version"]
    assert len(result("rpc.discover", {})["methods"]) == len(METHODS)
    return results
