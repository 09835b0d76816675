"""Every maximum, with its reason. Sizes are in bytes and binary units.

`Limits` holds those that a setting can change; the constants below it are part of the wire contract (DESIGN.md section
2) or of the stored form (section 4) and are the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

TIME_MS_MAX: Final = 2**53 - 1
"""The largest whole number that JSON carries safely everywhere; also bounds revisions, offsets and line numbers."""

DEFINITION_ID_CHARACTERS_MAX: Final = 512
"""Ids are UUIDs or slugs; the bound keeps zone names and index keys small."""

JSON_CONTAINERS_MAX: Final = 1_000_000
"""Arrays and objects in one request; a full batch needs 3,000. Millions, which a body has room for, would fill the memory, and
keep the garbage collector looking through them while everybody waits."""

PART_BYTES: Final = 64 * KIB
"""The size parts are cut to: large enough for few rows, small enough that a small change writes little."""

TAIL_PART_BYTES_MAX: Final = 3 * KIB
"""A tail part grows in place up to this size: with its row header it stays on one 4 KiB page, which an append writes anyway."""

COMPRESSED_PART_BYTES_MIN: Final = TAIL_PART_BYTES_MAX + 1
"""A smaller part is stored as it is: it fits a page either way, and may yet grow."""

LINE_PART_BYTES_MAX: Final = 64 * MIB
"""A line above this size, which only a broken old file holds, is stored and counted as several: parts are read whole."""

LOOSE_PART_BYTES_MAX: Final = 32 * KIB
"""Output parts below this size are merged once together they fill a part."""

BATCH_CHANGES_MAX: Final = 1_000
"""Changes in one commit: enough for every client of a busy daemon at once, few enough that a commit stays short."""

BATCH_BYTES_MAX: Final = 8 * MIB
"""Bytes in one commit, unless one change alone is larger."""

COPY_SESSIONS_MAX: Final = 100
COPY_BYTES_MAX: Final = 16 * MIB
"""Of a copy to another store in one commit: the disk's share is small by then, and an interruption loses less than a second."""

COMPRESSION_PIECE_BYTES: Final = 256 * KIB
"""Of an archive that are read and compressed at once in the background: a millisecond of work for a thread."""

COMPRESSION_PIECE_PARTS: Final = 1_000
"""Parts looked at with a piece; all but a few may be compressed already."""

COMPRESSION_COMMIT_BYTES: Final = 64 * KIB
"""Pieces of small archives are stored together up to this size, compressed: others in the same commit do not feel it."""

KEPT_SNAPSHOT_BYTES_MAX: Final = 64 * MIB
"""Snapshots written last that the writing side keeps, all together: those of the panes that are open."""

READ_ARCHIVES_DEFAULT: Final = 20
READ_ARCHIVES_MAX: Final = 100
READ_LINES_DEFAULT: Final = 200
READ_LINES_MAX: Final = 10_000
READ_BYTES_DEFAULT: Final = 1 * MIB
READ_BYTES_MAX: Final = 8 * MIB
MOUNT_LINES_DEFAULT: Final = 5_000
LIST_AGENTS_DEFAULT: Final = 100
LIST_AGENTS_MAX: Final = 1_000
STAT_DEFINITIONS_MAX: Final = 1_000

PREVIEW_CHARACTERS_MAX: Final = 240
"""A preview is one line of a list."""

LIST_PREVIEW_WAIT_MS: Final = 250
"""How long `list_archives` works on the previews its rows still lack."""

QUOTE_CHARACTERS_MAX: Final = 100
"""A value quoted in an error message is cut here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The maxima that settings can change; the field names are the names that TOO_LARGE reports.

    Attributes:
        snapshot_bytes_max: one snapshot; the largest seen in the field is 50 MB.
        body_bytes_max: one request body; a snapshot may double when escaped as a JSON string.
        append_bytes_max: all texts of one append call; keeps one commit short.
        append_lines_max: texts in one append call.
        line_bytes_max: one line of an append; a page must hold at least one, whole.
        batch_members_max: members of one JSON-RPC batch.
        answer_memory_bytes_max: large answers in memory together, from the reading on until they have left; more wait.
        batch_answer_bytes_max: answers to one batch together; members beyond it are refused. One read alone is not bounded.
        json_nesting_max: depth of arrays and objects in a request; ours need five.
        queue_changes_max: changes waiting for the writer; more are OVERLOADED.
        queue_bytes_max: bytes waiting for the writer.
        connections_max: connections at once; a dozen panes need a dozen, and open files and read buffers stay finite.
        requests_per_connection_max: requests after which a connection is closed, so that none holds its place for ever.
        head_seconds_max: seconds until the first whole request head of a connection: whoever connects has something to say.
        idle_seconds_max: seconds until the next request head of a connection; longer than clients keep theirs in a pool.
        body_memory_bytes_max: request bodies of more than 256 KiB in memory together; more are OVERLOADED.
        body_seconds_max: seconds for a whole body; on a loopback even the largest takes one.
        answer_seconds_max: seconds to take a whole answer, or half a MiB of an output; who is slower keeps others waiting.
        silence_seconds_max: seconds without another byte of a body sent, or of an answer taken: who is silent has stopped.
    """

    snapshot_bytes_max: int = 64 * MIB
    body_bytes_max: int = 128 * MIB
    append_bytes_max: int = 8 * MIB
    append_lines_max: int = 10_000
    line_bytes_max: int = 8 * MIB
    batch_members_max: int = 1_000
    answer_memory_bytes_max: int = 512 * MIB
    batch_answer_bytes_max: int = 256 * MIB
    json_nesting_max: int = 128
    queue_changes_max: int = 10_000
    queue_bytes_max: int = 256 * MIB
    connections_max: int = 1_000
    requests_per_connection_max: int = 100_000
    head_seconds_max: int = 10
    idle_seconds_max: int = 75
    body_memory_bytes_max: int = 512 * MIB
    body_seconds_max: int = 60
    answer_seconds_max: int = 60
    silence_seconds_max: int = 10
