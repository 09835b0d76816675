"""A client of a running daemon: a method per verb, results as records, errors as the exceptions that the store raises."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import orjson

from rpc import client_records as records
from rpc.appends import Appends
from rpc.client_records import AgentsPage, Mounted, Snapshot
from rpc.discovery import Address, Discovery
from rpc.follow import follow
from rpc.link import Link
from rpc.retries import Pace
from rpc.wishes import Wishes
from rpc.writes import Writes
from store.records import AgentStat, Appended, Archived, ArchiveSummary, Page, Written

RETRY_SECONDS: Final = 30.0


class Client:
    """Speaks to one daemon; an async context manager.

    Whatever the daemon refuses is raised as the exception of `store/errors.py` that it raised itself, and nothing was stored
    then; each verb names those of its own. An error that has no class there is an `RpcError`. Where there was no JSON-RPC
    answer it is a `TransportError`; only a `BrokenOffError` among them leaves open whether the call was executed.

    A call is tried again, for up to `retry_seconds` after its first failure, where the daemon says that this may help
    (`error.retry`; not on a full disk, which takes a person), where nobody listens, and, if it may be executed twice without
    harm, where the connection broke before the answer. A daemon that was found by its data directory is looked for there
    again: it may have been started anew, with another port and another token.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        unix_socket: str | Path | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Know where the daemon is; nothing is sent before the first call.

        Args:
            url: of the daemon, such as `http://127.0.0.1:8377`. Over a Unix socket its host only fills a header.
            token: what the daemon's TCP port asks for; None over a Unix socket.
            unix_socket: path of the daemon's socket; if given, the connection goes there.
            tls: whom to trust at an https URL; None for whom the system trusts.
            retry_seconds: how long a call is tried again; 0 for not at all.

        Raises:
            ValueError: `url` is none.
        """
        self._speak_over(Link(Address(url, token, unix_socket, tls=tls), Pace(retry_seconds)))

    def _speak_over(self, link: Link) -> None:
        self._link = link
        self._appends = Appends(link)
        self._writes = Writes(link)

    @classmethod
    def find(
        cls, data_dir: Path | None = None, *, token: str | None = None, retry_seconds: float = RETRY_SECONDS
    ) -> Self:
        """Return a client of the daemon that runs on a data directory. Its Unix socket is taken where it has one.

        Args:
            data_dir: None for the one that ZONEKEEPER_DATA_DIR names, else the platform's user data directory.
            token: None for the one that the daemon left in its token file, or that ZONEKEEPER_TOKEN holds.
            retry_seconds: as above; but a daemon that has never answered is not waited for.

        Raises:
            NoDaemonError: none runs there. The first call raises it as well, where one was killed.
            TransportError: what the daemon left for its clients cannot be read.
        """
        discovery = Discovery(data_dir, token)
        address = discovery.find()
        client = cls(address.url)
        client._speak_over(Link(address, Pace(retry_seconds), discovery))
        return client

    async def __aenter__(self) -> Self:
        """Open it."""
        self._link.open()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close its connections."""
        await self._link.close()

    async def call(self, method: str, params: dict[str, Any] | list[Any] | orjson.Fragment | None = None) -> Any:
        """Call a method, once, and return its result as decoded JSON.

        Args:
            method: its name.
            params: by name or by position; None for none. A fragment, which must be JSON, is sent as it is.

        Raises:
            RpcError: the daemon answered with an error, whichever.
            TransportError: there was no JSON-RPC answer.
        """
        return await self._link.call(records.ANY, method, params)

    async def read(self, definition_id: str, if_revision: int | None = None) -> Snapshot:
        """Read the current session's snapshot. A fresh agent is not an error: every field is None.

        Args:
            definition_id: the agent.
            if_revision: a revision the caller has; if it is the stored one, no content is sent (`unchanged`).
        """
        params = {"definition_id": definition_id, "if_revision": if_revision}
        return await self._link.ask(records.SNAPSHOT, "agent:session:read", params)

    async def write_state(
        self,
        definition_id: str,
        content: str,
        *,
        session_id: str | None = None,
        expect_revision: int | None = None,
        covers_line: int | None = None,
    ) -> Written:
        """Create or replace the snapshot, whole and atomically. Writing what is stored already changes nothing.

        It is sent again after a lost answer, since written twice is as written once. Without `expect_revision` it may then
        replace what another has written in between, and without `session_id` go to the session that is current by then.

        Args:
            definition_id: the agent.
            content: the whole snapshot, opaque.
            session_id: the session it belongs to.
            expect_revision: the revision that must be stored, 0 where there must be none.
            covers_line: number of output lines the snapshot already contains.

        Raises:
            StaleSessionError: `session_id` is not that of the current session.
            RevisionMismatchError: another revision is stored.
        """
        wishes = Wishes(session_id, expect_revision, covers_line)
        return await self._writes.write(definition_id, content, wishes)

    async def put_state(
        self,
        definition_id: str,
        chunks: bytes | AsyncIterable[bytes],
        *,
        session_id: str | None = None,
        expect_revision: int | None = None,
        covers_line: int | None = None,
    ) -> Written:
        """Create or replace the snapshot as `write_state` does, with its bytes streamed, as they are, to the daemon.

        Args:
            definition_id: the agent.
            chunks: the whole snapshot in UTF-8. What comes in chunks is sent once: no failure is tried again once it was begun.
            session_id: as in `write_state`, and so on.
            expect_revision: as there.
            covers_line: as there.

        Raises as `write_state` does.
        """
        wishes = Wishes(session_id, expect_revision, covers_line)
        return await self._writes.put(definition_id, chunks, wishes)

    async def append_output(
        self,
        definition_id: str,
        lines: str | Sequence[str],
        *,
        session_id: str | None = None,
        expect_offset: int | None = None,
    ) -> Appended:
        r"""Append to the output, as one change that is stored exactly once. Each text gets one `\n` unless it ends with one.

        The client says behind which byte of which session the lines belong, so it may send them again after a lost answer:
        where they are there already that is a success (`duplicate`). Where another has appended meanwhile they go behind that;
        where the session was archived meanwhile they are in its archive, or go to the next one. What one client appends to one
        agent is stored in the order of its calls.

        Two writers that send equal bytes both have them stored. They cannot be told apart only where an answer was lost and
        equal bytes of another have come to stand at the very place: then these count for both. Writers that share an agent and
        care about that put a number or a name into their lines.

        Args:
            definition_id: the agent.
            lines: one text, or one or more.
            session_id: the session they belong to, and to no other; None for the one that is current.
            expect_offset: the size in bytes that the output must have; None for whichever it has. It is sent as it is and never
                shifted; where these very bytes are stored there already, that is a success and a duplicate.

        Raises:
            StaleSessionError: `session_id` is not that of the current session.
            OffsetMismatchError: the output has another size than `expect_offset`.
            BrokenOffError: the time is over, and they may be stored. With both `session_id` and `expect_offset` given, the same
                call finds that out later.
        """
        texts = [lines] if isinstance(lines, str) else list(lines)
        return await self._appends.append(definition_id, texts, session_id, expect_offset)

    async def archive(self, definition_id: str, session_id: str | None = None) -> Archived:
        """Turn the current session into an archive; nothing but None where there is nothing to archive.

        With a `session_id` this may be repeated, and is after a lost answer: once the session is archived, that archive is
        answered again. Without one it is not: it might archive the session that has come since.

        Raises:
            StaleSessionError: `session_id` is neither that of the current session nor of an archive.
            BrokenOffError: without `session_id`: the connection broke, and the session may be archived.
        """
        params = {"definition_id": definition_id, "session_id": session_id}
        repeatable = session_id is not None
        return await self._link.ask(records.ARCHIVED, "agent:session:archive", params, repeatable=repeatable)

    async def list_archives(
        self, definition_id: str, limit: int | None = None, before_ms: int | None = None
    ) -> list[ArchiveSummary]:
        """List archives, newest first.

        Args:
            definition_id: the agent.
            limit: rows at most, up to 100; None or 0 for 20.
            before_ms: only archives older than this, in unix ms: that of the last row, to go on.
        """
        params = {"definition_id": definition_id, "limit": limit, "before_ms": before_ms}
        return await self._link.ask(records.ARCHIVES, "agent:session:list_archives", params)

    async def read_archive(self, definition_id: str, archived_at_ms: int) -> Snapshot:
        """Read the snapshot of the archive of that time (unix ms).

        Raises:
            ZoneNotFoundError: there is no such archive.
        """
        params = {"definition_id": definition_id, "archived_at_ms": archived_at_ms}
        return await self._link.ask(records.SNAPSHOT, "agent:session:read_archive", params)

    async def read_output(
        self,
        definition_id: str,
        archived_at_ms: int | None = None,
        *,
        first_line: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
        session_id: str | None = None,
    ) -> Page:
        """Read a page of the output: from `first_line` on, or else the last lines.

        Args:
            definition_id: the agent.
            archived_at_ms: unix ms of an archive, None for the current session.
            first_line: number of the first line, counted from 0; `next_line` of a page, to go on.
            limit: lines at most, up to 10,000; None or 0 for 200.
            max_bytes: bytes at most, up to 8 MiB, unless one line alone is larger; None or 0 for 1 MiB.
            session_id: the session that must be found there.

        Raises:
            ZoneNotFoundError: there is no such archive.
            StaleSessionError: another session is there.
        """
        params = {
            "definition_id": definition_id,
            "archived_at_ms": archived_at_ms,
            "first_line": first_line,
            "limit": limit,
            "max_bytes": max_bytes,
            "session_id": session_id,
        }
        return await self._link.ask(records.PAGE, "agent:session:read_output", params)

    async def mount(self, definition_id: str, tail_lines: int | None = None, max_bytes: int | None = None) -> Mounted:
        """Read all that a pane needs, of one instant: the snapshot, and the lines that it does not contain yet.

        Args:
            definition_id: the agent.
            tail_lines: lines at most, up to 10,000; None or 0 for 5,000.
            max_bytes: bytes of lines at most, up to 8 MiB, unless one line alone is larger; None or 0 for 1 MiB.
        """
        params = {"definition_id": definition_id, "tail_lines": tail_lines, "max_bytes": max_bytes}
        return await self._link.ask(records.MOUNTED, "agent:session:mount", params)

    async def stat(self, definition_ids: Sequence[str]) -> list[AgentStat]:
        """Describe up to 1,000 agents in the order asked, without reading content."""
        return await self._link.ask(records.STATS, "agent:session:stat", {"definition_ids": list(definition_ids)})

    async def list_agents(self, limit: int | None = None, after: str | None = None) -> AgentsPage:
        """List the agents that have a session, current or archived, in order of id.

        Args:
            limit: agents at most, up to 1,000; None or 0 for 100.
            after: only ids beyond this one: `next` of the page before.
        """
        return await self._link.ask(records.AGENTS, "agent:session:list_agents", {"limit": limit, "after": after})

    async def status(self) -> dict[str, Any]:
        """Describe the daemon: versions, uptime, store, migrations, queue."""
        return await self._link.ask(records.OBJECT, "srv:status", {})

    async def discover(self) -> dict[str, Any]:
        """Return the OpenRPC document, which describes every method."""
        return await self._link.ask(records.OBJECT, "rpc.discover", {})

    def follow(
        self, definition_id: str, *, first_line: int | None = None, session_id: str | None = None
    ) -> AsyncIterator[str]:
        """Yield the lines of the current session's output as they come, each once, without its newline.

        A fresh agent is waited for. When the session is archived, what is left of it comes from the archive, and that is the
        end. While nothing comes it asks again after 50 ms, then less and less often, down to once a second. No more than a page
        (1 MiB, unless one line is larger) is in memory.

        Args:
            definition_id: the agent.
            first_line: number of the first line to yield, from 0; None for what comes from the first step on, or for all of a
                session that is named.
            session_id: the session to follow, archived by now or not; None for the current one.

        Raises:
            StaleSessionError: the session is gone, and no archive is what has become of it.
        """
        return follow(self._link, definition_id, first_line, session_id)
