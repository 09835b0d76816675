"""What must be true of a stored session, and how it is said where it is not; pure (the rules are those of `store/DESIGN.md`).

Each function is given rows as they are stored, of whatever kind their values are, and says what is wrong with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from store.codec import UnsoundPartError, unpacked
from store.limits import LINE_PART_BYTES_MAX, PART_BYTES, TIME_MS_MAX
from store.lines import count_lines
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, parse_zone

RESTORE: Final = "Restore this session from a backup; everything else stays readable."
TAKES_ROOM: Final = "They only take up room. If a session is missing, restore the store from a backup."
WRITE_AGAIN: Final = "The next write of this snapshot mends it; else restore it from a backup."

_PART_COLUMNS: Final = 9


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or that people should know.

    Attributes:
        check: which check found it: `open`, `schema`, `structure`, `sessions`, `files` or `orphans`.
        word: what kind of thing it is; does not change.
        message: a sentence for people.
        hint: what to do about it.
        is_wrong: False where it is no more than a warning.
        zone: name of the zone it concerns, as stored.
        file: name of the file it concerns.
        start_byte: where in the file the part begins that it concerns, or would.
    """

    check: str
    word: str
    message: str
    hint: str
    is_wrong: bool = True
    zone: str | None = None
    file: str | None = None
    start_byte: int | None = None


@dataclass(frozen=True, slots=True)
class FileName:
    """Which file is looked at: its zone and its name, as they are stored."""

    zone: str
    name: str

    @property
    def hint(self) -> str:
        """What to do where its bytes are not to be had."""
        parsed = parse_zone(self.zone)
        is_current = parsed is not None and parsed.archived_at_ms is None
        return WRITE_AGAIN if is_current and self.name == SNAPSHOT_FILE else RESTORE

    def finding(self, word: str, message: str, start_byte: int | None = None) -> Finding:
        """Say something of the file."""
        text = f"zone {self.zone}, file {self.name}: {message}"
        return Finding("files", word, text, self.hint, zone=self.zone, file=self.name, start_byte=start_byte)


class Position(NamedTuple):
    """How far the parts of a file have been looked at.

    Attributes:
        parts: number of parts so far.
        end_byte: where the next part must begin.
        end_line: number of lines so far.
        revision_max: the largest revision so far.
        is_cut_well: the last part ends where another one may follow.
        last: the columns of the last part before `data`; tells whether that part has been stored anew since.
    """

    parts: int = 0
    end_byte: int = 0
    end_line: int = 0
    revision_max: int = 0
    is_cut_well: bool = True
    last: tuple[object, ...] = ()

    @property
    def last_start_byte(self) -> object:
        """Where the last part begins; None before the first."""
        return self.last[0] if self.last else None


def check_zone(row: tuple[object, ...]) -> list[Finding]:
    """Check a row of `zones`.

    Args:
        row: zone, definition_id, archived_at_ms, session_id, created_at_ms, covers_line, type of preview, node_count.
    """
    zone, definition_id, archived_at_ms, session_id, created_at_ms, covers_line, preview_type, node_count = row
    parsed = parse_zone(zone) if isinstance(zone, str) else None
    wrong = []
    if parsed is None:
        wrong.append("its name is not that of a zone")
    elif (parsed.definition_id, parsed.archived_at_ms) != (definition_id, archived_at_ms):
        wrong.append(f"its row says agent {definition_id} and archived_at_ms {archived_at_ms}")
    if not isinstance(session_id, str) or not session_id:
        wrong.append("it has no session id")
    if not isinstance(created_at_ms, int):
        wrong.append("its created_at_ms is not a time")
    if covers_line is not None and not _is_number(covers_line):
        wrong.append(f"its covers_line is {covers_line!r}, which is no number of lines")
    if preview_type not in {"null", "text"}:
        wrong.append("its preview is not a text")
    if not _is_number(node_count):
        wrong.append("its node_count is not a number")
    hint = "Restore the store from a backup, or ask for help with this row: nothing else is affected."
    return [Finding("sessions", "ZONE_WRONG", f"zone {zone}: {each}", hint, zone=str(zone)) for each in wrong]


def check_part(file: FileName, before: Position, row: tuple[object, ...]) -> tuple[Position, list[Finding]]:
    """Check one part of a file, in its order.

    Args:
        file: which file.
        before: how far it has been looked at.
        row: start_byte, first_line, size_bytes, line_count, modified_at_ms, revision, crc32, codec, data.

    Returns:
        How far it has been looked at now, and what is wrong with the part or between it and the one before.
    """
    match row:
        case (
            int() as start_byte,
            int() as first_line,
            int() as size_bytes,
            int() as line_count,
            int(),
            int() as revision,
            int() as crc32,
            int() as codec,
            stored,
        ):
            pass
        case _:
            start = row[0] if isinstance(row[0], int) else before.end_byte
            kinds = file.finding("PART_DAMAGED", "a part's row holds values of the wrong kind", start)
            return before._replace(parts=before.parts + 1, last=row[: _PART_COLUMNS - 1]), [kinds]
    try:
        if start_byte < 0:
            raise UnsoundPartError("begins before the file does")  # noqa: TRY301 - one more way to be unsound
        data = unpacked(codec, stored, size_bytes, crc32)
    except UnsoundPartError as error:
        findings = _joint_findings(file, before, start_byte, first_line, None)
        findings.append(file.finding("PART_DAMAGED", f"the part at byte {start_byte} {error}", start_byte))
        is_cut_well = True
    else:
        findings = _joint_findings(file, before, start_byte, first_line, data)
        findings += _content_findings(file, start_byte, first_line, line_count, data)
        is_cut_well = _is_cut_well(file, data)
    if revision < 1:
        findings.append(
            file.finding("REVISION_WRONG", f"the part at byte {start_byte} has revision {revision}", start_byte)
        )
    after = Position(
        before.parts + 1,
        start_byte + max(0, size_bytes),
        first_line + line_count,
        max(before.revision_max, revision),
        is_cut_well,
        row[: _PART_COLUMNS - 1],
    )
    return after, findings


def check_end(file: FileName, end: Position) -> list[Finding]:
    """Check what is true of a file as a whole, once its last part has been looked at."""
    revision = end.last[5] if end.last else 0
    if not isinstance(revision, int) or revision >= end.revision_max:
        return []
    message = f"its last part has revision {revision}, an earlier one {end.revision_max}: its last part may be missing"
    return [file.finding("REVISION_WRONG", message, end.end_byte)]


def _is_number(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= TIME_MS_MAX


def _joint_findings(
    file: FileName, before: Position, start_byte: int, first_line: int, data: bytes | None
) -> list[Finding]:
    """Check where a part begins by where the one before it ended. Its bytes are None where they are unsound."""
    if start_byte > before.end_byte:
        message = f"bytes {before.end_byte} to {start_byte - 1} are missing"
        return [file.finding("PART_MISSING", message, before.end_byte)]
    if start_byte < before.end_byte:
        message = f"the part at byte {start_byte} begins within the one before it, which ends at {before.end_byte}"
        return [file.finding("PART_MISPLACED", message, start_byte)]
    found = []
    if file.name == OUTPUT_FILE and first_line != before.end_line:
        message = f"the part at byte {start_byte} says it begins with line {first_line}, and it is {before.end_line}"
        found.append(file.finding("LINES_MISCOUNTED", message, start_byte))
    # An append behind an unterminated part that could not be read begins with the line end that was missing.
    if not before.is_cut_well and not (data is not None and data.startswith(b"\n")):
        where = "not end at a line end" if file.name == OUTPUT_FILE else f"not have {PART_BYTES} bytes"
        message = f"the part before byte {start_byte} does {where}, and is not the last one"
        found.append(file.finding("PART_MISCUT", message, start_byte))
    return found


def _content_findings(file: FileName, start_byte: int, first_line: int, line_count: int, data: bytes) -> list[Finding]:
    """Check a part whose bytes are sound: its size, and its lines counted again."""
    found = []
    bytes_max = LINE_PART_BYTES_MAX if file.name == OUTPUT_FILE else PART_BYTES
    if len(data) > bytes_max:
        message = f"the part at byte {start_byte} has {len(data)} bytes, and {bytes_max} is the most"
        found.append(file.finding("PART_MISCUT", message, start_byte))
    lines = count_lines(data) if file.name == OUTPUT_FILE else 0
    if lines != line_count:
        message = f"the part at byte {start_byte} says it has {line_count} lines, and it has {lines}"
        found.append(file.finding("LINES_MISCOUNTED", message, start_byte))
    if file.name != OUTPUT_FILE and first_line:
        message = f"the part at byte {start_byte} says it begins with line {first_line}, in a file that has no lines"
        found.append(file.finding("LINES_MISCOUNTED", message, start_byte))
    return found


def _is_cut_well(file: FileName, data: bytes) -> bool:
    if file.name == OUTPUT_FILE:
        return data.endswith(b"\n") or len(data) >= LINE_PART_BYTES_MAX
    return len(data) == PART_BYTES
