"""The paths of files: which file one leads to; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from store.errors import InvalidParamsError, quote
from store.limits import TIME_MS_MAX
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE

MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {SNAPSHOT_FILE: "application/json", OUTPUT_FILE: "application/x-ndjson"}
)
"""Of the files that have a path."""

_PATH: Final = re.compile(rf"/zones/([^/]*)/(?:current|archive/([^/]*))/({'|'.join(map(re.escape, MEDIA_TYPES))})")
NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")
"""A whole number as it stands in a URL."""


@dataclass(frozen=True, slots=True)
class FilePath:
    """The path of a file. Whether there can be such an agent and such an archive is not known yet.

    Attributes:
        definition_id: the agent.
        archived_at: the time of an archive, as it is written; None for the current session.
        name: of the file.
    """

    definition_id: str
    archived_at: str | None
    name: str

    @classmethod
    def parse(cls, path: str) -> Self | None:
        """Take a path to its parts, None where it is not that of a file.

        Nothing is decoded, and no dots are followed: of each file there is one path.
        """
        match = _PATH.fullmatch(path)
        return cls(match[1], match[2], match[3]) if match else None

    def __str__(self) -> str:
        """Write the path."""
        place = "current" if self.archived_at is None else f"archive/{self.archived_at}"
        return f"/zones/{self.definition_id}/{place}/{self.name}"

    @property
    def is_writable(self) -> bool:
        """Tell whether the file can be replaced: the snapshot of the current session can."""
        return self.archived_at is None and self.name == SNAPSHOT_FILE

    @property
    def archived_at_ms(self) -> int | None:
        """The time of an archive, unix ms.

        Raises:
            InvalidParamsError: it is not a whole number as we write it.
        """
        text = self.archived_at
        if text is None:
            return None
        if not NUMBER.fullmatch(text):
            message = f"archived_at_ms must be a whole number from 0 to {TIME_MS_MAX}, got {quote(text)}"
            raise InvalidParamsError("archived_at_ms", message)
        return int(text)
