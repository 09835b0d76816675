"""JSON Schemas (draft 7) of the results, and values that fit them for the examples.

A schema with a title stands under that name in the OpenRPC document, and is a type of that name in the JavaScript client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rpc.errors import INTERNAL, NUMBERS
from rpc.schema import DEFINITION_ID_SCHEMA
from store.limits import TIME_MS_MAX

Shape = Mapping[str, Any]


def _whole(description: str) -> Shape:
    return {"type": "integer", "minimum": 0, "maximum": TIME_MS_MAX, "description": description}


def _text(description: str) -> Shape:
    return {"type": "string", "description": description}


def _or_null(shape: Shape) -> Shape:
    if "title" in shape:
        return {"oneOf": [shape, {"type": "null"}]}
    return {**shape, "type": [shape["type"], "null"]}


def _object(title: str, /, **members: Shape) -> Shape:
    """Describe an object with exactly these members."""
    return {**_open_object(**members), "title": title, "additionalProperties": False}


def _open_object(**members: Shape) -> Shape:
    """Describe an object with at least these members."""
    return {"type": "object", "properties": members, "required": list(members)}


def _array(items: Shape) -> Shape:
    return {"type": "array", "items": items}


_DEFINITION_ID: Final = {**DEFINITION_ID_SCHEMA, "description": "Id of the agent definition."}
_SESSION_ID: Final = _text("Opaque id of the session; it stays with the session through archive.")
_CONTENT: Final = _text("The whole snapshot.")
_MODTS: Final = _whole("Unix ms of the last change.")
_REVISION: Final = _whole("Revision of the snapshot, to be sent as expect_revision or if_revision.")
_LINES: Final = _array(_text("A line without its newline."))
_FIRST_LINE: Final = _whole("Number of the first line returned, from 0; blank lines are not counted.")
_TOTAL_LINES: Final = _whole("Lines of the whole output that are not blank.")
_SIZE_BYTES: Final = _whole("Size of the whole output.")
_ZONE: Final = {
    "type": "string",
    "pattern": "^agent:[A-Za-z0-9_-]+:archive:(0|[1-9][0-9]*)$",
    "description": "Name of the archive's zone.",
}

STATE: Final = _object(
    "Snapshot",
    content=_or_null(_CONTENT),
    modts=_or_null(_MODTS),
    revision=_or_null(_REVISION),
    session_id=_or_null(_SESSION_ID),
)
_UNCHANGED: Final = _object(
    "Unchanged", unchanged={"const": True}, modts=_MODTS, revision=_REVISION, session_id=_SESSION_ID
)
READ: Final = {"oneOf": [STATE, _UNCHANGED]}
WRITTEN: Final = _object(
    "Written", bytes_written=_whole("Size of the snapshot."), modts=_MODTS, revision=_REVISION, session_id=_SESSION_ID
)
APPENDED: Final = _object(
    "Appended",
    bytes_written=_whole("Bytes of the texts sent, with their newlines."),
    offset=_whole("Where in the output they begin."),
    size_bytes=_SIZE_BYTES,
    total_lines=_TOTAL_LINES,
    session_id=_SESSION_ID,
    duplicate={"type": "boolean", "description": "The very bytes were stored there already, by an earlier try."},
)
ARCHIVED: Final = _object(
    "Archived",
    archive_zoneid=_or_null(_ZONE),
    archived_at_ms=_or_null(_whole("Unix ms.")),
    session_id=_or_null(_SESSION_ID),
)
ARCHIVES: Final = _array(
    _object(
        "ArchiveSummary",
        archive_zoneid=_ZONE,
        archived_at_ms=_whole("Unix ms."),
        preview=_or_null(_text("The first message; null while not worked out.")),
        node_count=_whole("Nodes of the snapshot."),
        total_lines=_TOTAL_LINES,
        size_bytes=_whole("Size of all files together."),
        session_id=_SESSION_ID,
    )
)
PAGE: Final = _object(
    "Page",
    lines=_LINES,
    first_line=_FIRST_LINE,
    next_line=_whole("first_line of the page that follows."),
    total_lines=_TOTAL_LINES,
    size_bytes=_SIZE_BYTES,
    session_id=_or_null(_SESSION_ID),
)
MOUNT: Final = _object(
    "Mounted",
    session_id=_or_null(_SESSION_ID),
    snapshot=_or_null(
        _object(
            "MountedSnapshot",
            content=_CONTENT,
            modts=_MODTS,
            revision=_REVISION,
            covers_line=_or_null(_whole("Number of output lines the snapshot already contains.")),
        )
    ),
    output=_object(
        "MountedOutput", lines=_LINES, first_line=_FIRST_LINE, total_lines=_TOTAL_LINES, size_bytes=_SIZE_BYTES
    ),
)
_STAT: Final = _object(
    "AgentStat",
    definition_id=_DEFINITION_ID,
    session_id=_or_null(_SESSION_ID),
    snapshot_bytes=_whole("Size of the snapshot."),
    revision=_or_null(_REVISION),
    output_bytes=_whole("Size of the output."),
    total_lines=_TOTAL_LINES,
    modts=_or_null(_whole("Unix ms of the last change of any file of the current session.")),
    archives=_whole("Number of archived sessions."),
)
STATS: Final = _array(_STAT)
AGENTS: Final = _object(
    "AgentsPage",
    agents=STATS,
    next=_or_null(_text("Send it as `after` for the next page; null where this is the last.")),
)
_COUNTS: Final = _open_object(outcome=_text("How it went."))
STATUS: Final = {
    **_open_object(
        version=_text("Of Zonekeeper."),
        python=_text("Version of Python."),
        pid=_whole("The process."),
        started_at_ms=_whole("Unix ms."),
        uptime_ms=_whole("Milliseconds since then."),
        store=_open_object(
            engine=_text("Its kind, such as sqlite."),
            schema_version=_whole("Version of the stored form."),
            durability=_open_object(
                level=_text(
                    "What an acknowledgement means: none, disk, replica-received, replica-disk or replica-applied."
                ),
                words=_text("The same for people."),
            ),
            sessions=_or_null(_whole("All of them; null where the store cannot be read, as the next three.")),
            archives=_or_null(_whole("Those of them that are archived.")),
            previews_waiting=_or_null(_whole("Archives whose preview is not worked out yet.")),
            compressions_waiting=_or_null(_whole("Archives that are still to be compressed.")),
        ),
        migrations={
            "type": "object",
            "additionalProperties": _COUNTS,
            "description": "By name, each migration of this start: its outcome and its statistics.",
        },
        writer=_open_object(
            queued_changes=_whole("Changes waiting for the disk."),
            queued_bytes=_whole("Bytes waiting for the disk."),
            applying_ms=_whole("How long the batch that is being applied has been; 0 where none is."),
            batches=_whole("Commits so far."),
            changes=_whole("Changes in them."),
        ),
    ),
    "title": "Status",
    "description": "Versions, uptime, store (sizes in bytes), migrations, queue, calls by outcome, what goes on with callers, "
    "memory, free space and the event loop; members may be added.",
}
STATUS_EXAMPLE: Final = {
    "version": "0.1.0",
    "python": "3.11.7",
    "pid": 4242,
    "started_at_ms": 1_780_000_000_000,
    "uptime_ms": 86_400_000,
    "store": {
        "engine": "sqlite",
        "sqlite_version": "3.40.1",
        "schema_version": 2,
        "database_bytes": 1_073_741_824,
        "wal_bytes": 4_194_304,
        "checkpoint_age_ms": 42_000,
        "checkpoint_pages_left": 0,
        "oldest_reader_ms": 0,
        "parts_merged": 61_440,
        "compression_saved_bytes": 402_653_184,
        "sync_failed": False,
        "durability": {"level": "disk", "words": "an acknowledged change is on the disk of this machine"},
        "sessions": 220,
        "archives": 200,
        "previews_waiting": 0,
        "compressions_waiting": 0,
    },
    "migrations": {
        "migrate_block_zones_v1": {
            "outcome": "done",
            "zones_adopted": 0,
            "files_damaged": 0,
            "blocks_scanned": 200,
            "archives_written": 180,
            "archives_already_present": 0,
            "current_zones_seeded": 20,
            "skipped_no_snapshot": 20,
            "failures": 0,
        },
        "migrate_promote_template_sessions_v1": {
            "outcome": "nothing to migrate",
            "templates_scanned": 0,
            "templates_promoted": 0,
            "archives_moved": 0,
            "instances_repointed": 0,
            "failures": 0,
        },
    },
    "writer": {
        "queued_changes": 0,
        "queued_bytes": 0,
        "applying_ms": 0,
        "batches": 20_000,
        "changes": 90_000,
        "commit_p50_ms": 0.5,
        "commit_p99_ms": 2.5,
        "sync_p50_ms": 0.5,
        "sync_p99_ms": 1.0,
    },
    "calls": {"agent:session:append_output": {"ok": 90_000, "p99_ms": 2.5, "STALE_SESSION": 1}},
    "transport": {"connections": 12, "requests_underway": 1, "refused": {"401": 2}, "slow_calls": 0},
    "memory": {"body_bytes": 0, "answer_bytes": 0},
    "free_space": {
        "free_bytes": 77_309_411_328,
        "level": "enough",
        "warning_bytes": 1_073_741_824,
        "critical_bytes": 104_857_600,
    },
    "event_loop": {"worst_lag_ms": 1.5},
}
DOCUMENT: Final = {
    **_open_object(
        openrpc=_text("Version of the OpenRPC specification."),
        info=_open_object(title=_text("Of the service."), version=_text("Of the wire contract.")),
        methods=_array(_open_object(name=_text("Of the method."))),
    ),
    "title": "OpenRpcDocument",
    "description": "An OpenRPC document.",
}
ERROR_DATA: Final = {
    "type": "object",
    "title": "ErrorData",
    "description": "What `error.data` holds, whatever the method.",
    "properties": {
        "code": {
            "type": "string",
            "title": "ErrorWord",
            "enum": [*NUMBERS, INTERNAL],
            "description": "The stable word.",
        },
        "hint": _text("What to do about it."),
        "retry": {"type": "boolean", "description": "Whether the same call may succeed later, unchanged."},
        "param": _text("The parameter meant (INVALID_PARAMS, INVALID_DEFINITION_ID)."),
        "revision": _whole("The stored revision (REVISION_MISMATCH)."),
        "size_bytes": _whole("The size of the output (OFFSET_MISMATCH)."),
        "limit": _text("The limit (TOO_LARGE)."),
        "max": _whole("Its maximum (TOO_LARGE)."),
        "error_id": _text("Where the log tells the rest (INTERNAL)."),
    },
    "required": ["code", "hint", "retry"],
}

SESSION_EXAMPLE: Final = "01J0ZQ4T7N3C1V5W8Y2B6D9F0K"
STATE_EXAMPLE: Final[Mapping[str, Any]] = {
    "content": '{"nodes":[]}',
    "modts": 1_780_000_000_000,
    "revision": 7,
    "session_id": SESSION_EXAMPLE,
}
ARCHIVE_EXAMPLE: Final[Mapping[str, Any]] = {
    "archive_zoneid": "agent:maks:archive:1780000000000",
    "archived_at_ms": 1_780_000_000_000,
    "preview": "Add a dark mode to the settings page",
    "node_count": 42,
    "total_lines": 1840,
    "size_bytes": 2_097_152,
    "session_id": SESSION_EXAMPLE,
}
MOUNT_EXAMPLE: Final[Mapping[str, Any]] = {
    "session_id": SESSION_EXAMPLE,
    "snapshot": {"content": '{"nodes":[]}', "modts": 1_780_000_000_000, "revision": 7, "covers_line": 11},
    "output": {"lines": ['{"type":"result"}'], "first_line": 11, "total_lines": 12, "size_bytes": 1042},
}
STAT_EXAMPLE: Final[Mapping[str, Any]] = {
    "definition_id": "maks",
    "session_id": SESSION_EXAMPLE,
    "snapshot_bytes": 12,
    "revision": 7,
    "output_bytes": 1042,
    "total_lines": 12,
    "modts": 1_780_000_000_000,
    "archives": 3,
}
