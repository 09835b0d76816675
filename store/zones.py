"""Names: definition ids and the zones that belong to them (DESIGN.md section 1).

A `Zone` is a string that cannot exist invalid, so whoever holds one need not check it again.
"""

from __future__ import annotations

import re
from typing import Final, Self

from store import limits
from store.errors import InvalidDefinitionIdError, InvalidParamsError, TooLargeError, quote

SNAPSHOT_FILE: Final = "output.state.json"
OUTPUT_FILE: Final = "output"

# `fullmatch` over an explicit class: `$` would accept a trailing newline, `\w` and `isalnum` accept "é" and "٣".
_DEFINITION_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_ARCHIVE_TIME: Final = re.compile(r"0|[1-9][0-9]*")


class Zone(str):
    """The name of a zone: `agent:<definition id>:current` or `agent:<definition id>:archive:<unix ms>`.

    Attributes:
        definition_id: the agent definition that owns the zone.
        archived_at_ms: unix ms of the archive, None for the current zone.
    """

    __slots__ = ("archived_at_ms", "definition_id")

    definition_id: str
    archived_at_ms: int | None

    def __new__(cls, definition_id: str, archived_at_ms: int | None = None) -> Self:
        """Make the name of a definition's current zone, or of the archive of that time.

        Raises:
            InvalidDefinitionIdError: the id does not match `[A-Za-z0-9_-]+`.
            TooLargeError: the id is longer than `limits.DEFINITION_ID_CHARACTERS_MAX`.
            InvalidParamsError: the time is negative or above 2^53 - 1.
        """
        _check_definition_id(definition_id)
        if archived_at_ms is None:
            zone = super().__new__(cls, f"agent:{definition_id}:current")
        elif 0 <= archived_at_ms <= limits.TIME_MS_MAX:
            zone = super().__new__(cls, f"agent:{definition_id}:archive:{archived_at_ms}")
        else:
            message = f"archived_at_ms must be from 0 to {limits.TIME_MS_MAX}, got {archived_at_ms}"
            raise InvalidParamsError("archived_at_ms", message)
        zone.definition_id = definition_id
        zone.archived_at_ms = archived_at_ms
        return zone


def is_valid_definition_id(text: object) -> bool:
    """Tell whether `text` is a string that matches `[A-Za-z0-9_-]+` (ASCII, not empty) and is not too long."""
    return (
        isinstance(text, str)
        and len(text) <= limits.DEFINITION_ID_CHARACTERS_MAX
        and _DEFINITION_ID.fullmatch(text) is not None
    )


def agent_current_zone(definition_id: str) -> Zone:
    """Name the zone of the agent's current session. Raises as `Zone` does."""
    return Zone(definition_id)


def agent_archive_zone(definition_id: str, archived_at_ms: int) -> Zone:
    """Name the zone of the agent's session archived at that time (unix ms). Raises as `Zone` does."""
    return Zone(definition_id, archived_at_ms)


def validate_and_current(definition_id: str) -> Zone:
    """Check an id that comes from outside and name its current zone. Raises as `Zone` does."""
    return Zone(definition_id)


def parse_zone(name: str) -> Zone | None:
    """Take a zone's name back to its parts; None for a name that is not ours, such as a block's UUID.

    Archive times are plain ASCII digits without leading zeros, up to 2^53 - 1 (LEGACY.md section 2): `int()` alone
    would also read " 7 ", "1_000" and "٣".
    """
    match name.split(":"):
        case ["agent", definition_id, "current"] if is_valid_definition_id(definition_id):
            return Zone(definition_id)
        case ["agent", definition_id, "archive", time] if is_valid_definition_id(definition_id):
            if len(time) <= len(str(limits.TIME_MS_MAX)) and _ARCHIVE_TIME.fullmatch(time):
                archived_at_ms = int(time)
                return Zone(definition_id, archived_at_ms) if archived_at_ms <= limits.TIME_MS_MAX else None
    return None


def _check_definition_id(definition_id: str) -> None:
    if _DEFINITION_ID.fullmatch(definition_id) is None:
        raise InvalidDefinitionIdError(f"must match [A-Za-z0-9_-]+, got {quote(definition_id)}")
    if len(definition_id) > limits.DEFINITION_ID_CHARACTERS_MAX:
        raise TooLargeError("definition_id_characters_max", limits.DEFINITION_ID_CHARACTERS_MAX, len(definition_id))
