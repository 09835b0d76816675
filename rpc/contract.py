"""The table of methods: DESIGN.md section 2 as data. It feeds the checks, `rpc.discover`, `openrpc.json` and their tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rpc import shapes
from rpc.schema import (
    CONTENT,
    DEFINITION_ID,
    DEFINITION_IDS,
    LINE,
    LINES,
    SESSION_ID,
    WHOLE_NUMBER,
    Param,
    Params,
    count,
)
from store import limits

CONTRACT_VERSION: Final = "1.1.0"
"""Of the wire contract, not of the program: it grows with every change a client can see."""

_ANY: Final = ("INVALID_PARAMS", "SHUTTING_DOWN")
_READS: Final = (*_ANY, "INVALID_DEFINITION_ID", "STORAGE_UNAVAILABLE", "STORAGE_DAMAGED", "TOO_LARGE")
_CHANGES: Final = (*_READS, "STALE_SESSION", "STORAGE_FULL", "OVERLOADED", "READ_ONLY")


@dataclass(frozen=True, slots=True)
class Example:
    """One call and its answer.

    Attributes:
        params: by name.
        result: what comes back.
    """

    params: Mapping[str, Any]
    result: Any


@dataclass(frozen=True, slots=True)
class Row:
    """A method as the wire sees it.

    Attributes:
        name: of the method.
        summary: in one line.
        params: its parameters.
        result: JSON Schema (draft 7) of the result.
        errors: words of the errors it may give.
        example: a call and its answer.
        description: what the summary leaves out.
        changes: whether it changes what is stored; calls of one batch that do are kept in order with those that read.
        large: whether its result may hold much of what is stored.
    """

    name: str
    summary: str
    params: Params
    result: Mapping[str, Any]
    errors: tuple[str, ...]
    example: Example
    description: str = ""
    changes: bool = False
    large: bool = False


_DEFINITION_ID: Final = Param("definition_id", DEFINITION_ID, "Id of the agent definition.", required=True)
_SESSION_ID: Final = Param("session_id", SESSION_ID, "The session meant; STALE_SESSION if it is not the current one.")
_ARCHIVED_AT_MS: Final = Param("archived_at_ms", WHOLE_NUMBER, "Unix ms of an archive; absent: the current session.")
_MAX_BYTES: Final = Param(
    "max_bytes",
    count(limits.READ_BYTES_DEFAULT, limits.READ_BYTES_MAX),
    "Bytes of lines at most, unless one line alone is larger.",
)

METHODS: Final[tuple[Row, ...]] = (
    Row(
        "agent:session:read",
        "Read the current session's snapshot.",
        Params(
            (
                _DEFINITION_ID,
                Param("if_revision", WHOLE_NUMBER, "A revision you have: if it is the stored one, no content is sent."),
            )
        ),
        shapes.READ,
        _READS,
        Example({"definition_id": "maks"}, shapes.STATE_EXAMPLE),
        "A fresh agent is not an error: content, modts and revision are null where there is no snapshot, session_id where "
        "there is no session.",
        large=True,
    ),
    Row(
        "agent:session:write_state",
        "Create or replace the snapshot, whole and atomically.",
        Params(
            (
                _DEFINITION_ID,
                Param("content", CONTENT, "The whole snapshot, opaque.", required=True),
                _SESSION_ID,
                Param("expect_revision", WHOLE_NUMBER, "The revision that must be stored; 0: there must be none."),
                Param("covers_line", WHOLE_NUMBER, "Number of output lines the snapshot already contains."),
            )
        ),
        shapes.WRITTEN,
        (*_CHANGES, "REVISION_MISMATCH"),
        Example(
            {"definition_id": "maks", "content": '{"nodes":[]}', "expect_revision": 6},
            {"bytes_written": 12, "modts": 1_780_000_000_000, "revision": 7, "session_id": shapes.SESSION_EXAMPLE},
        ),
        "Writing what is stored already changes neither revision nor modts.",
        changes=True,
    ),
    Row(
        "agent:session:append_output",
        "Append to the output, line by line.",
        Params(
            (
                _DEFINITION_ID,
                Param("line", LINE, "One text; send either line or lines."),
                Param("lines", LINES, "Several texts, stored as one change."),
                _SESSION_ID,
                Param("expect_offset", WHOLE_NUMBER, "The size in bytes the output must have."),
            ),
            alternatives=("line", "lines"),
        ),
        shapes.APPENDED,
        (*_CHANGES, "OFFSET_MISMATCH"),
        Example(
            {"definition_id": "maks", "line": '{"type":"result"}'},
            {
                "bytes_written": 18,
                "offset": 1024,
                "size_bytes": 1042,
                "total_lines": 12,
                "session_id": shapes.SESSION_EXAMPLE,
                "duplicate": False,
            },
        ),
        "Each text gets one newline only if it does not end with one. If the bytes stored at expect_offset are the ones sent, "
        "the append succeeds as a duplicate. By position, line and lines share one place: a string is line, an array lines.",
        changes=True,
    ),
    Row(
        "agent:session:archive",
        "Turn the current session into an archive.",
        Params((_DEFINITION_ID, _SESSION_ID)),
        shapes.ARCHIVED,
        _CHANGES,
        Example(
            {"definition_id": "maks"},
            {
                "archive_zoneid": "agent:maks:archive:1780000000000",
                "archived_at_ms": 1_780_000_000_000,
                "session_id": shapes.SESSION_EXAMPLE,
            },
        ),
        "Nulls where there is nothing to archive. With the session_id of a session that is archived already: that archive "
        "again.",
        changes=True,
    ),
    Row(
        "agent:session:list_archives",
        "List the agent's archives, newest first.",
        Params(
            (
                _DEFINITION_ID,
                Param("limit", count(limits.READ_ARCHIVES_DEFAULT, limits.READ_ARCHIVES_MAX), "Rows at most."),
                Param("before_ms", WHOLE_NUMBER, "Only archives older than this, in unix ms."),
            )
        ),
        shapes.ARCHIVES,
        _READS,
        Example({"definition_id": "maks", "limit": 1}, [shapes.ARCHIVE_EXAMPLE]),
        "preview is null while it is being worked out.",
    ),
    Row(
        "agent:session:read_archive",
        "Read an archive's snapshot.",
        Params(
            (
                _DEFINITION_ID,
                Param("archived_at_ms", WHOLE_NUMBER, "Unix ms of the archive.", required=True),
            )
        ),
        shapes.STATE,
        (*_READS, "ZONE_NOT_FOUND"),
        Example({"definition_id": "maks", "archived_at_ms": 1_780_000_000_000}, shapes.STATE_EXAMPLE),
        large=True,
    ),
    Row(
        "agent:session:read_output",
        "Read a page of the output.",
        Params(
            (
                _DEFINITION_ID,
                _ARCHIVED_AT_MS,
                Param("first_line", WHOLE_NUMBER, "Number of the first line, from 0; absent: the last lines."),
                Param("limit", count(limits.READ_LINES_DEFAULT, limits.READ_LINES_MAX), "Lines at most."),
                _MAX_BYTES,
                Param("session_id", SESSION_ID, "The session that must be found there; STALE_SESSION if it is not."),
            )
        ),
        shapes.PAGE,
        (*_READS, "ZONE_NOT_FOUND", "STALE_SESSION"),
        Example(
            {"definition_id": "maks", "first_line": 0, "limit": 2},
            {
                "lines": ['{"type":"user"}', '{"type":"result"}'],
                "first_line": 0,
                "next_line": 2,
                "total_lines": 12,
                "size_bytes": 1042,
                "session_id": shapes.SESSION_EXAMPLE,
            },
        ),
        large=True,
    ),
    Row(
        "agent:session:mount",
        "Read what a pane needs at once, from one transaction.",
        Params(
            (
                _DEFINITION_ID,
                Param("tail_lines", count(limits.MOUNT_LINES_DEFAULT, limits.READ_LINES_MAX), "Lines at most."),
                _MAX_BYTES,
            )
        ),
        shapes.MOUNT,
        _READS,
        Example({"definition_id": "maks"}, shapes.MOUNT_EXAMPLE),
        "Lines start at covers_line, or are the last tail_lines where that is fewer; of those the newest that fit max_bytes.",
        large=True,
    ),
    Row(
        "agent:session:stat",
        "Describe agents without reading any content.",
        Params((Param("definition_ids", DEFINITION_IDS, "Ids of agent definitions.", required=True),)),
        shapes.STATS,
        _READS,
        Example({"definition_ids": ["maks"]}, [shapes.STAT_EXAMPLE]),
        "In the order asked; zeros and nulls where there is nothing.",
    ),
    Row(
        "agent:session:list_agents",
        "List the agents that have a session, current or archived, in order of id.",
        Params(
            (
                Param("limit", count(limits.LIST_AGENTS_DEFAULT, limits.LIST_AGENTS_MAX), "Agents at most."),
                Param("after", DEFINITION_ID, "Only ids beyond this one: `next` of the page before."),
            )
        ),
        shapes.AGENTS,
        _READS,
        Example({"limit": 1}, {"agents": [shapes.STAT_EXAMPLE], "next": "maks"}),
    ),
    Row(
        "srv:status",
        "Describe the daemon: versions, uptime, store, migrations, queue, calls, memory, free space.",
        Params(()),
        shapes.STATUS,
        _ANY,
        Example({}, shapes.STATUS_EXAMPLE),
        "Answers as well where the store cannot be read.",
    ),
    Row(
        "rpc.discover",
        "Return the OpenRPC document of these methods.",
        Params(()),
        shapes.DOCUMENT,
        _ANY,
        Example({}, {"openrpc": "1.3.2", "info": {"title": "Zonekeeper", "version": CONTRACT_VERSION}, "methods": []}),
    ),
)
