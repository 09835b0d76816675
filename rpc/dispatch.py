"""Requests to answers: strict JSON-RPC 2.0 over a table of methods.

Every example of the specification behaves as printed there. jsonrpcserver dispatches single requests. Left to itself it would
send exception texts to the client, answer a batch with one bad member as one bad request, and spend most of its time on
signatures; so requests are checked, batches taken apart and answers put together here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import orjson
import structlog
from jsonrpcserver.async_dispatcher import call
from jsonrpcserver.request import Request
from jsonrpcserver.result import Error, Result, Success
from jsonrpcserver.sentinels import NOCONTEXT, NOID
from oslash.either import Left

from rpc.answers import encode
from rpc.bodies import OffLoop, decode
from rpc.counts import NONE, OK, UNKNOWN, CallCounts
from rpc.errors import (
    INTERNAL,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    WireError,
    internal_error,
    wire_error,
)
from rpc.failures import FailureLog
from rpc.memory import LARGE_BATCHES, ROOM, AnswerMemory, BatchRoom, Room
from rpc.methods import Method
from rpc.schema import Sent
from rpc.slices import LongText, Number, ParseError
from store.errors import OverloadedError, StoreError, TooLargeError
from store.limits import Limits
from store.trace import TRACE

_log = structlog.get_logger()

_Pieces = tuple[bytes, ...]

_NULL: Final = b"null"
_STARTED_AT_ONCE: Final = 64
"""Members of a batch that are started before the event loop sees to others: a thousand at once would keep it for 20 ms."""


@dataclass(slots=True)
class Answer:
    """A JSON-RPC body. Whoever has sent it, or given up, calls `release`.

    Attributes:
        pieces: JSON, to be sent one after the other.
        size_bytes: of all of them, for `Content-Length`.
    """

    pieces: tuple[bytes, ...]
    size_bytes: int
    _room: Room | BatchRoom | None = None

    def release(self) -> None:
        """Let go of the pieces, and leave the room to others. Doing it twice is harmless."""
        self.pieces = ()
        if self._room is not None:
            self._room.release()


class Dispatcher:
    """Answers request bodies.

    Args:
        methods: by name.
        maxima: `batch_members_max` and `json_nesting_max` count here; the size of a body is for the transport to check.

    Attributes:
        memory: what large answers hold, also those of others that are sent with these.
        counts: the calls so far.
    """

    def __init__(self, methods: Mapping[str, Method], maxima: Limits) -> None:
        self._maxima = maxima
        self._off_loop = OffLoop()
        self._failures = FailureLog()
        self.counts = CallCounts(methods)
        self.memory = AnswerMemory(maxima.answer_memory_bytes_max)
        self._large_batches = asyncio.Semaphore(LARGE_BATCHES)
        self._take(methods)

    def over(self, methods: Mapping[str, Method]) -> Dispatcher:
        """Return a dispatcher of other methods that shares memory, turns and counts with this one."""
        other = copy(self)
        other._take(methods)  # noqa: SLF001 - it is one of ours
        return other

    def _take(self, methods: Mapping[str, Method]) -> None:
        self._callables = {name: self._callable(name, method) for name, method in methods.items()}
        self._changing = frozenset(name for name, method in methods.items() if method.changes)
        self._large = frozenset(name for name, method in methods.items() if method.large)

    async def answer(self, body: bytes | bytearray) -> Answer | None:
        """Answer a body, whatever it holds; never raises on account of it.

        Args:
            body: what a client sent, no larger than `body_bytes_max`.

        Returns:
            The answer; None where nothing is to be answered: a notification, or a batch of nothing else. It is done by then.
        """
        try:
            request = await self._decode(body)
            del body  # may be large, and the answer as well
            return await self._answer(request)
        except ParseError:
            self._count(NONE, "PARSE_ERROR")
            pieces = _failed(_NULL, PARSE_ERROR)
        except StoreError as error:
            self._count(NONE, error.word)
            pieces = _failed(_NULL, wire_error(error))
        except Exception:  # noqa: BLE001 - logged; whatever went wrong, the client gets an answer
            self._count(NONE, INTERNAL)
            pieces = _failed(_NULL, _unexpected("request"))
        return Answer(pieces, sum(map(len, pieces)))

    def _count(self, method: str, outcome: str, seconds: float = 0.0) -> None:
        """Count what did not end with a result."""
        self.counts.of(method, outcome).add(seconds)
        TRACE.get().outcome = outcome

    async def _decode(self, body: bytes | bytearray) -> Any:
        request = await decode(body, self._maxima.json_nesting_max, self._off_loop)
        if type(request) is not list:
            if _loses_characters(request):
                request["id"] = (await self._as_sent(body))["id"]
            return request
        if len(request) > self._maxima.batch_members_max:
            raise TooLargeError("batch_members_max", self._maxima.batch_members_max, len(request))
        if any(map(_loses_characters, request)):
            for member, as_sent in zip(request, await self._as_sent(body), strict=True):
                if _loses_characters(member):
                    member["id"] = as_sent["id"]
        return request

    async def _answer(self, request: Any) -> Answer | None:
        """Answer a request or a batch; the answer holds room until it is released."""
        room: Room | BatchRoom
        try:
            if type(request) is list:
                TRACE.get().method = "batch"
                room = BatchRoom(self._maxima.batch_answer_bytes_max, self._large_batches)
                pieces = await self._answer_batch(request, room)
            else:
                room = Room(self.memory)
                ROOM.set(room)
                pieces = await self._answer_one(request)
        except BaseException:
            room.release()
            raise
        size_bytes = sum(map(len, pieces))
        room.settle(size_bytes)
        return Answer(pieces, size_bytes, room) if pieces else None

    async def _as_sent(self, body: bytes | bytearray) -> Any:
        """Decode a body again, this time keeping the characters of its numbers: 1.50 comes back as 1.50, not as 1.5."""
        return await decode(body, self._maxima.json_nesting_max, self._off_loop, numbers_as_sent=True)

    async def _answer_batch(self, members: list[Any], room: BatchRoom) -> _Pieces:
        """Answer members run by run: those of a run at once, the next run, of reads after changes or the reverse, after it.

        The store takes changes in the order they are handed over and tasks start in the order they are made, so calls on one
        zone take effect in the order written, and a read sees what stands before it and nothing that stands after it.
        """
        if not members:
            return self._invalid(_NULL)
        answers: list[_Pieces] = []
        run: list[Any] = []
        run_changes: bool | None = None
        for member in members:
            changes = self._changes(member)
            if run_changes is None or changes is None:
                run_changes = run_changes if changes is None else changes
            elif changes != run_changes:
                answers += await self._answer_run(run, room)
                run, run_changes = [], changes
            run.append(member)
        answers += await self._answer_run(run, room)
        return _batch(answers)

    async def _answer_run(self, members: list[Any], room: BatchRoom) -> list[_Pieces]:
        tasks: list[asyncio.Task[_Pieces]] = []
        async with asyncio.TaskGroup() as group:
            for member in members:
                tasks.append(group.create_task(self._answer_member(member, room)))
                if len(tasks) % _STARTED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        return [task.result() for task in tasks]

    async def _answer_member(self, member: Any, room: BatchRoom) -> _Pieces:
        """Answer a member of a batch, if the answer to the batch has room for it."""
        if not self._is_large(member):
            return await self._answer_one(member)
        async with room.turns:
            own = Room(self.memory)
            ROOM.set(own)
            try:
                room.check()
                answer = await self._answer_one(member)
                await room.take(sum(map(len, answer)))
            except (TooLargeError, OverloadedError) as error:
                self._count(NONE, error.word)
                id_json = _id_json(member["id"]) if "id" in member else b""
                return () if id_json == b"" else _failed(id_json or _NULL, wire_error(error))
            finally:
                own.release()
            return answer

    def _is_large(self, member: Any) -> bool:
        """Tell whether the answer to a member may hold much of what is stored."""
        method = member.get("method") if type(member) is dict else None
        return type(method) is str and method in self._large

    def _changes(self, member: Any) -> bool | None:
        """Tell whether a member changes what is stored; None where it calls nothing."""
        method = member.get("method") if type(member) is dict else None
        if type(method) is not str or method not in self._callables:
            return None
        return method in self._changing

    async def _answer_one(self, member: Any) -> _Pieces:
        """Answer a request, a notification (with nothing), or what is neither."""
        if type(member) is not dict:
            return self._invalid(_NULL)
        id_json = _id_json(member["id"]) if "id" in member else b""
        method, params = member.get("method"), member.get("params", [])
        if (
            id_json is None
            or member.get("jsonrpc") != "2.0"
            or type(method) not in _TEXTS
            or type(params) not in _STRUCTURES
        ):
            return self._invalid(id_json or _NULL)
        if method not in self._callables:
            self._count(UNKNOWN, "METHOD_NOT_FOUND")
            return _failed(id_json, METHOD_NOT_FOUND) if id_json else ()
        # As one argument: whatever number of them was sent, nothing is copied.
        result = await call(Request(method, [params], id_json or NOID), NOCONTEXT, self._callables[method])
        if not id_json:
            return ()
        if isinstance(result, Left):
            error = result._error  # noqa: SLF001 - jsonrpcserver's own way to take a result out
            return _failed(id_json, WireError(error.code, error.message, error.data))
        return _succeeded(id_json, result._value.result)  # noqa: SLF001 - the same

    def _invalid(self, id_json: bytes) -> _Pieces:
        self._count(NONE, "INVALID_REQUEST")
        return _failed(id_json, INVALID_REQUEST)

    def _callable(self, name: str, method: Method) -> Callable[..., Awaitable[Result]]:
        """Make a method what jsonrpcserver calls: it takes any parameters and never raises."""
        verb, off_loop, failures = method.call, self._off_loop, self._failures
        succeeded = self.counts.of(name, OK)

        async def answered(sent: Sent) -> Result:
            trace = TRACE.get()
            trace.method = trace.method or name
            began = perf_counter()
            try:
                answer = Success(await encode(await verb(sent), off_loop))
                succeeded.add(perf_counter() - began)
                return answer  # noqa: TRY300 - else it would be an `else` behind two handlers
            except StoreError as error:
                failures.note(name, error)
                self._count(name, error.word, perf_counter() - began)
                failure = wire_error(error)
            except Exception:  # noqa: BLE001 - logged; the client gets the id it is logged under
                self._count(name, INTERNAL, perf_counter() - began)
                failure = _unexpected(name)
            return Error(failure.code, failure.message, failure.data)

        return answered


_TEXTS: Final = frozenset({str, LongText})
_STRUCTURES: Final = frozenset({list, dict})


def _loses_characters(member: Any) -> bool:
    """Tell whether an id has lost how it was written: a decoded 1.50 is 1.5, and -0 is 0."""
    value = member.get("id") if type(member) is dict else None
    return type(value) is float or (type(value) is int and value == 0)


def _id_json(value: Any) -> bytes | None:
    """Return an id as JSON, None for what cannot be one."""
    if type(value) is str or type(value) is int or value is None:
        return orjson.dumps(value)
    if type(value) is Number:
        return value.characters
    return orjson.dumps(value.decode()) if type(value) is LongText else None


def _succeeded(id_json: bytes, result: _Pieces) -> _Pieces:
    if len(result) == 1:
        return (b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (result[0], id_json),)
    return (b'{"jsonrpc":"2.0","result":', *result, b',"id":%b}' % id_json)


def _failed(id_json: bytes, error: WireError) -> _Pieces:
    encoded: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        encoded["data"] = error.data
    return (b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (orjson.dumps(encoded), id_json),)


def _batch(answers: list[_Pieces]) -> _Pieces:
    """Join the answers of a batch; nothing where no member is to be answered."""
    pieces: list[bytes] = []
    small: list[bytes] = []
    separator = b"["
    for answer in filter(None, answers):
        small.append(separator)
        separator = b","
        if len(answer) == 1:
            small += answer
        else:
            pieces += (b"".join(small), *answer)
            small = []
    if separator == b"[":
        return ()
    return (*pieces, b"".join([*small, b"]"]))


def _unexpected(what: str) -> WireError:
    """Log the exception being handled, under an id, and return what the client may know of it: the id."""
    error_id = secrets.token_hex(8)
    _log.exception("call_failed", error_id=error_id, method=what)
    return internal_error(error_id)
