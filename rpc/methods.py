"""The method table: each row of `rpc/contract.py` with the verb of the store that does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rpc.answers import lines, stored_text
from rpc.contract import METHODS
from rpc.memory import SMALL_ANSWER_BYTES, expect
from rpc.openrpc import document
from rpc.schema import Params, Sent
from rpc.snapshots import SnapshotsKept
from store.errors import InvalidDefinitionIdError, ReadOnlyError, ShuttingDownError, StoreError
from store.limits import READ_BYTES_MAX
from store.records import AgentStat, Appended, SessionState
from store.sessions import Sessions

Status = Callable[[], Awaitable[dict[str, object]]]


@dataclass(frozen=True, slots=True)
class Method:
    """What the dispatcher needs of a method.

    Attributes:
        call: takes the request's `params`, by name (a dict) or by position (a sequence), and returns the result: whatever
            `rpc.answers.encode` takes. Raises `StoreError`. A method that changes hands its change to the store before it first
            waits, so that calls take effect in the order they were started in.
        changes: whether it changes what is stored.
        large: whether its result may hold much of what is stored. Such a method waits for `rpc.memory.expect` first.
    """

    call: Callable[[Sent], Awaitable[Any]]
    changes: bool = False
    large: bool = False


def method_table(sessions: Sessions, status: Status) -> Mapping[str, Method]:
    """Return every method of the wire contract.

    Args:
        sessions: what the `agent:session:` methods speak to.
        status: describes the daemon for `srv:status`.
    """
    calls = _Calls(sessions)
    verbs: dict[str, Callable[..., Awaitable[Any]]] = {
        "agent:session:read": calls.read,
        "agent:session:write_state": sessions.write_session_state,
        "agent:session:append_output": calls.append_output,
        "agent:session:archive": sessions.archive_session,
        "agent:session:list_archives": sessions.list_archives,
        "agent:session:read_archive": calls.read_archive,
        "agent:session:read_output": calls.read_output,
        "agent:session:mount": calls.mount,
        "agent:session:stat": calls.stat,
        "agent:session:list_agents": calls.list_agents,
        "srv:status": status,
        "rpc.discover": calls.discover,
    }
    return {row.name: Method(_bound(row.params, verbs[row.name]), row.changes, row.large) for row in METHODS}


def refusing(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return the same methods, each of which answers only that the daemon is shutting down."""
    return {name: _refused(method, ShuttingDownError) for name, method in methods.items()}


def reading(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return the same methods for callers who may only read: what changes anything is refused."""
    return {name: _refused(method, ReadOnlyError) if method.changes else method for name, method in methods.items()}


def _refused(method: Method, error: Callable[[], StoreError]) -> Method:
    async def refuse(_sent: Sent) -> None:
        raise error()

    return replace(method, call=refuse)


def _bound(params: Params, verb: Callable[..., Awaitable[Any]]) -> Callable[[Sent], Awaitable[Any]]:
    bind = params.bind

    def call(sent: Sent) -> Awaitable[Any]:
        return verb(**bind(sent))

    return call


class _Calls:
    """The verbs whose arguments or results have another form on the wire. Records go over it as they are."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._document = document()
        self._snapshots = SnapshotsKept()

    async def read(self, definition_id: str, if_revision: int | None = None) -> dict[str, Any]:
        read = partial(self._sessions.read_session_state, definition_id)
        if if_revision is not None:
            state = await _whole(partial(read, if_revision))
            return _unchanged(state) if state.unchanged else _state(state, _content(state))
        kept = self._snapshots.of(definition_id)
        state = await _whole(partial(read, kept.revision if kept else None))
        if kept and state.unchanged and state.session_id != kept.session_id:
            state = await _whole(read)
        return _state(state, self._snapshots.content(definition_id, state, kept))

    async def append_output(
        self, definition_id: str, line: str | None = None, lines: list[str] | None = None, **conditions: Any
    ) -> Appended:
        texts = [line] if line is not None else lines or []
        return await self._sessions.append_session_output(definition_id, texts, **conditions)

    async def read_archive(self, definition_id: str, archived_at_ms: int) -> dict[str, Any]:
        state = await _whole(partial(self._sessions.read_archive, definition_id, archived_at_ms))
        return _state(state, _content(state))

    async def read_output(self, max_bytes: int = 0, **arguments: Any) -> dict[str, Any]:
        await expect(min(max_bytes, READ_BYTES_MAX))
        page = await self._sessions.read_output(max_bytes=max_bytes, **arguments)
        return {
            "lines": lines(page.lines),
            "first_line": page.first_line,
            "next_line": page.next_line,
            "total_lines": page.total_lines,
            "size_bytes": page.size_bytes,
            "session_id": page.session_id,
        }

    async def mount(self, definition_id: str, max_bytes: int = 0, **arguments: Any) -> dict[str, Any]:
        lines_bytes = min(max_bytes, READ_BYTES_MAX)
        await expect(lines_bytes)
        read = partial(self._sessions.mount, definition_id, max_bytes=max_bytes, **arguments)
        kept = self._snapshots.of(definition_id)
        mount = await read(content_bytes_max=SMALL_ANSWER_BYTES, if_revision=kept.revision if kept else None)
        if kept and mount.state.unchanged and mount.state.session_id != kept.session_id:
            mount = await read(content_bytes_max=SMALL_ANSWER_BYTES)
        if mount.state.left_out_bytes:
            await expect(mount.state.left_out_bytes + lines_bytes)
            mount = await read()
        state, output = mount.state, mount.output
        snapshot = None
        if (content := self._snapshots.content(definition_id, state, kept)) is not None:
            snapshot = {
                "content": content,
                "modts": state.modts,
                "revision": state.revision,
                "covers_line": mount.covers_line,
            }
        return {
            "session_id": state.session_id,
            "snapshot": snapshot,
            "output": {
                "lines": lines(output.lines),
                "first_line": output.first_line,
                "total_lines": output.total_lines,
                "size_bytes": output.size_bytes,
            },
        }

    async def stat(self, definition_ids: list[str]) -> list[AgentStat]:
        with _param("definition_ids"):
            return await self._sessions.stat(definition_ids)

    async def list_agents(self, limit: int | None = None, after: str | None = None) -> dict[str, Any]:
        with _param("after"):
            agents, following = await self._sessions.list_agents(limit, after)
        return {"agents": agents, "next": following}

    async def discover(self) -> dict[str, Any]:
        return self._document


@contextmanager
def _param(name: str) -> Iterator[None]:
    """Have an invalid definition id named by the parameter that held it."""
    try:
        yield
    except InvalidDefinitionIdError as error:
        error.facts["param"] = name
        raise


async def _whole(read: Callable[..., Awaitable[SessionState]]) -> SessionState:
    """Read a snapshot: a large one only once there is room for it."""
    state = await read(content_bytes_max=SMALL_ANSWER_BYTES)
    if state.left_out_bytes:
        await expect(state.left_out_bytes)
        state = await read()
    return state


def _content(state: SessionState) -> Any:
    return None if state.content is None else stored_text(state.content)


def _unchanged(state: SessionState) -> dict[str, Any]:
    return {"unchanged": True, "modts": state.modts, "revision": state.revision, "session_id": state.session_id}


def _state(state: SessionState, content: Any) -> dict[str, Any]:
    return {
        "content": content,
        "modts": state.modts,
        "revision": state.revision,
        "session_id": state.session_id,
    }
