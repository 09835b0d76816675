"""Appends that are stored exactly once: each says behind which byte of which session it belongs.

The daemon stores it there or nowhere, and where those very bytes are there already it says so. So the same may be sent again
after a lost answer, as often as it takes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from rpc import client_records as records
from rpc.link import Link
from rpc.lookups import stat_of
from store.errors import OffsetMismatchError, StaleSessionError
from store.records import Appended

_AGENTS_MAX: Final = 4_096
"""Agents whose ends are remembered; of others they are asked for again."""


@dataclass(frozen=True, slots=True)
class _End:
    """The end of an output, as it was last heard of; `session_id` is None where there is no session yet."""

    session_id: str | None
    size_bytes: int


@dataclass(slots=True)
class _Agent:
    """What is kept of an agent: its end, and who appends now. Two at once would only get into each other's way."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    end: _End | None = None


class Appends:
    """The appends of one client."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._agents: OrderedDict[str, _Agent] = OrderedDict()

    async def append(
        self, definition_id: str, lines: list[str], session_id: str | None, expect_offset: int | None
    ) -> Appended:
        """See `rpc.client.Client.append_output`."""
        agent = self._agent(definition_id)
        async with agent.lock:
            end, agent.end = agent.end, None
            appended = await self._append(end, definition_id, lines, session_id, expect_offset)
            agent.end = _End(appended.session_id, appended.size_bytes)
            return appended

    async def _append(
        self,
        end: _End | None,
        definition_id: str,
        lines: list[str],
        session_id: str | None,
        expect_offset: int | None,
    ) -> Appended:
        tries = self._link.tries()
        while True:
            if end is None:
                stat = await stat_of(self._link, definition_id)
                end = _End(stat.session_id, stat.output_bytes)
            bound_to = session_id or end.session_id
            params = {
                "definition_id": definition_id,
                "lines": lines,
                "session_id": bound_to,
                "expect_offset": end.size_bytes if expect_offset is None else expect_offset,
            }
            try:
                appended = await self._link.ask(records.APPENDED, "agent:session:append_output", params, tries=tries)
            except StaleSessionError:
                if session_id is not None:
                    raise
                end = None
            except OffsetMismatchError as error:
                if expect_offset is not None:
                    raise
                end = None if bound_to is None else _End(bound_to, error.facts["size_bytes"])
            else:
                if not appended.duplicate or tries.has_lost_answer or expect_offset is not None:
                    return appended
                end = _End(appended.session_id, appended.size_bytes)  # another's, of the same bytes
            tries.has_lost_answer = False

    def _agent(self, definition_id: str) -> _Agent:
        agent = self._agents.setdefault(definition_id, _Agent())
        self._agents.move_to_end(definition_id)
        if len(self._agents) > _AGENTS_MAX:
            self._agents.popitem(last=False)
        return agent
