"""The wire as a client meets it: bodies in, bodies out, over a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # it ships no types

from rpc.dispatch import Dispatcher
from rpc.errors import RpcError
from rpc.methods import Method, method_table
from store.limits import Limits
from store.sessions import Sessions
from tests.rpc.fault_proxy import FaultProxy, fault_proxy
from tests.srv.daemon import Daemon


class Schema:
    """A JSON Schema (draft 7), itself checked."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        plain = orjson.loads(orjson.dumps(schema))
        Draft7Validator.check_schema(plain)
        self._validator = Draft7Validator(plain)

    def check(self, value: Any) -> None:
        """Raise where a value does not fit."""
        self._validator.validate(value)

    def fits(self, value: Any) -> bool:
        """Tell whether a value fits."""
        return bool(self._validator.is_valid(value))


class Wire:
    """Posts bodies to a dispatcher."""

    def __init__(self, methods: Mapping[str, Method], maxima: Limits | None = None) -> None:
        self._dispatcher = Dispatcher(methods, maxima or Limits())

    async def post(self, body: bytes) -> bytes | None:
        """Return the body of the answer, None where there is none."""
        answer = await self._dispatcher.answer(body)
        if answer is None:
            return None
        joined = b"".join(answer.pieces)
        assert answer.size_bytes == len(joined)
        answer.release()
        return joined

    async def exchange(self, body: bytes) -> Any:
        """Return the answer decoded, None where there is none."""
        answer = await self.post(body)
        return None if answer is None else orjson.loads(answer)

    async def request(self, method: str, params: Any = None) -> dict[str, Any]:
        """Send one request and return the whole response."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method}
        if params is not None:
            request["params"] = params
        response: dict[str, Any] = await self.exchange(orjson.dumps(request))
        assert response["jsonrpc"] == "2.0"
        assert response["id"] == 1
        return response

    async def call(self, method: str, params: Any = None) -> Any:
        """Send one request and return its result, or raise its error."""
        response = await self.request(method, params)
        if "error" in response:
            raise RpcError(**response["error"])
        return response["result"]

    async def fail(self, method: str, params: Any = None) -> RpcError:
        """Send a request that is refused and return its error."""
        response = await self.request(method, params)
        return RpcError(**response["error"])


async def status() -> dict[str, object]:
    """Stand in for what the process says of itself."""
    return {"version": "0.1.0", "uptime_ms": 5}


@pytest.fixture
def methods(sessions: Sessions) -> Mapping[str, Method]:
    """Return the table of methods over an empty store."""
    return method_table(sessions, status)


@pytest.fixture
def wire(methods: Mapping[str, Method]) -> Wire:
    """Return the wire of an empty store."""
    return Wire(methods)


@pytest.fixture
def agent(request: pytest.FixtureRequest) -> str:
    """Name an agent of the test's own."""
    return "".join(each if each.isalnum() else "-" for each in request.node.name)


@pytest.fixture
async def proxy(daemon: Daemon, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    """Run a proxy before the daemon of the file, which lets all pass until the test says otherwise."""
    async with fault_proxy(tmp_path, daemon.ready["unix_socket"]) as running:
        yield running
