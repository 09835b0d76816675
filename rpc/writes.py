"""Writes of the snapshot, and what has become of one whose answer was lost."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from rpc import client_records as records
from rpc.client_records import Snapshot
from rpc.file_paths import FilePath
from rpc.link import Link
from rpc.lookups import archive_of
from rpc.retries import Tries
from rpc.transport import Transport, refusal
from rpc.wishes import Wishes
from store.errors import RevisionMismatchError, StaleSessionError
from store.limits import MIB
from store.records import Written
from store.zones import SNAPSHOT_FILE, agent_current_zone

_WRITTEN: Final = msgspec.json.Decoder(Written)


class Writes:
    """The writes of one client."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def write(self, definition_id: str, content: str, wishes: Wishes) -> Written:
        """See `rpc.client.Client.write_state`."""
        params = {"definition_id": definition_id, "content": content, **wishes.given()}

        async def write(tries: Tries) -> Written:
            return await self._link.ask(records.WRITTEN, "agent:session:write_state", params, tries=tries)

        return await self._unless_done(definition_id, content, wishes, write)

    async def put(self, definition_id: str, chunks: bytes | AsyncIterable[bytes], wishes: Wishes) -> Written:
        """See `rpc.client.Client.put_state`."""
        path = str(FilePath(agent_current_zone(definition_id).definition_id, None, SNAPSHOT_FILE))
        query = wishes.given()

        if not isinstance(chunks, bytes):
            return await self._put(path, query, lambda tries: _once(chunks, tries), {}, self._link.tries())
        sized = {"Content-Length": str(len(chunks))}

        async def put(tries: Tries) -> Written:
            return await self._put(path, query, lambda _: _slices(chunks), sized, tries)

        return await self._unless_done(definition_id, chunks, wishes, put)

    async def _put(
        self,
        path: str,
        query: Mapping[str, str | int],
        body: Callable[[Tries], AsyncIterator[bytes]],
        headers: Mapping[str, str],
        tries: Tries,
    ) -> Written:
        async def attempt(transport: Transport) -> Written:
            answer = await transport.request("PUT", path, body(tries), headers, query)
            try:
                return _WRITTEN.decode(answer)
            except (msgspec.DecodeError, ValueError) as error:
                raise refusal(HTTPStatus.OK, answer) from error

        return await self._link.send(attempt, tries=tries)

    async def _unless_done(
        self,
        definition_id: str,
        content: str | bytes,
        wishes: Wishes,
        write: Callable[[Tries], Awaitable[Written]],
    ) -> Written:
        """Write. Where that is refused only because a try whose answer was lost has done it, tell what that has done."""
        tries = self._link.tries()
        try:
            return await write(tries)
        except (RevisionMismatchError, StaleSessionError) as refused:
            if not tries.has_lost_answer:
                raise
            if isinstance(refused, StaleSessionError):
                stored = await self._archived(definition_id, wishes.session_id)
            else:
                stored = await self._link.ask(records.SNAPSHOT, "agent:session:read", {"definition_id": definition_id})
            sent = content.encode() if isinstance(content, str) else content
            match stored:
                case Snapshot(str(text), int(modts), int(revision), str(session_id)) if text.encode() == sent:
                    return Written(len(sent), modts, revision, session_id)
            raise

    async def _archived(self, definition_id: str, session_id: str | None) -> Snapshot:
        archive = await archive_of(self._link, definition_id, session_id) if session_id else None
        if archive is None:
            return Snapshot()
        params = {"definition_id": definition_id, "archived_at_ms": archive.archived_at_ms}
        return await self._link.ask(records.SNAPSHOT, "agent:session:read_archive", params)


async def _slices(content: bytes) -> AsyncIterator[bytes]:
    """Give a body in slices, so that it is not copied whole into the socket's buffer."""
    for start in range(0, len(content), MIB):
        yield content[start : start + MIB]


async def _once(chunks: AsyncIterable[bytes], tries: Tries) -> AsyncIterator[bytes]:
    """Give a body that cannot be given again, so that what is tried with it is not tried again."""
    tries.end()
    async for chunk in chunks:
        yield chunk
