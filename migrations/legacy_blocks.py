"""Reading the agent blocks of objects.db (LEGACY.md sections 1 and 2.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from migrations.legacy import LegacyDatabase, readable
from migrations.records import Failure
from migrations.sql import load
from store.zones import is_valid_definition_id

_SQL: Final = load("objects.sql")


@dataclass(frozen=True, slots=True)
class AgentBlock:
    """A pane that showed an agent.

    Attributes:
        oid: its id, which is the name of its zone too.
        definition_id: the agent; valid.
    """

    oid: str
    definition_id: str

    @property
    def origin(self) -> str:
        """What the store remembers the block by. Control characters are escaped: the store keeps origins a line each."""
        return block_origin(self.oid)


def block_origin(oid: str) -> str:
    """Return what the store remembers a block by."""
    return f"block:{oid.encode('unicode_escape').decode('ascii')}"


def read_agent_blocks(database: LegacyDatabase | None) -> tuple[list[AgentBlock], list[Failure]]:
    """Read the blocks with `meta.view = "agent"` and a valid definition id, in row order.

    The failures are the rows that are not JSON.

    Raises:
        MigrationFailedError: the table cannot be read, or lacks a column.
    """
    blocks: list[AgentBlock] = []
    failures: list[Failure] = []
    if database is None or not database.require("db_block", "oid", "data"):
        return blocks, failures
    with readable(database.path, "the table db_block"):
        for oid, data in database.connection.execute(_SQL["blocks"]):
            try:
                definition_id = _definition_id(data)
            except (ValueError, TypeError, RecursionError) as error:
                failures.append((block_origin(str(oid)), f"the row is not JSON: {error}"))
                continue
            if definition_id is not None and oid is not None:
                blocks.append(AgentBlock(oid, definition_id))
    return blocks, failures


def _definition_id(data: bytes | None) -> str | None:
    """Return the agent that a block shows, None where it shows none or the id is invalid.

    What else the row holds must not hide it: bad UTF-8 is read as U+FFFD, and no number is too long to be read.
    """
    data = data or b""
    block = json.loads(data.decode(json.detect_encoding(data), "replace"), parse_int=float)
    meta = block.get("meta") if isinstance(block, dict) else None
    if not isinstance(meta, dict) or meta.get("view") != "agent":
        return None
    agent_id = meta.get("agentId")
    if not isinstance(agent_id, str) or not agent_id:
        agent_id = meta.get("agent:id")
    return agent_id if is_valid_definition_id(agent_id) else None
