"""What an acknowledgement means: how far a change is safe once it was answered, on one scale for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """What an acknowledged change survives; each includes those before it, none aside."""

    NONE = 0
    """It may be in memory only: a crash of the machine can lose it."""
    DISK = 1
    """It is on a disk: it survives a crash and a power cut, not the loss of the disk."""
    REPLICA_RECEIVED = 2
    """A second machine has received it as well."""
    REPLICA_DISK = 3
    """It is on the disk of a second machine as well: it survives the loss of either."""
    REPLICA_APPLIED = 4
    """It can be read on a second machine as well."""

    @property
    def word(self) -> str:
        """The name that settings and `srv:status` know it by; it does not change."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def of(cls, word: str) -> Level:
        """Return the level of a name. Raises KeyError for others."""
        return cls[word.upper().replace("-", "_")]


@dataclass(frozen=True, slots=True)
class Durability:
    """What an acknowledgement means here.

    Attributes:
        level: on the scale.
        words: the same for people, with what makes it so.
        facts: what was read to know it, by the database's own names; empty where nothing had to be.
    """

    level: Level
    words: str
    facts: dict[str, object]

    def status(self) -> dict[str, object]:
        """Describe it for `srv:status`."""
        return {"level": self.level.word, "words": self.words, **self.facts}
