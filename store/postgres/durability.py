"""What a commit means on a server, by its own settings, and what is said with every BEGIN so that it means enough.

`synchronous_commit` is each transaction's own choice, so a role or a database that has a lower one is no reason to refuse it.
The rest is the server's: whether it syncs at all, and whether it waits for a standby. Both can change while it runs (`ALTER
SYSTEM`), so every batch looks again, under its locks, before it is stored.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from store.durability import Durability, Level

_CHOICES: Final[dict[str | None, Level]] = {
    "off": Level.NONE,
    "local": Level.DISK,
    "remote_write": Level.REPLICA_RECEIVED,
    "on": Level.REPLICA_DISK,
    "remote_apply": Level.REPLICA_APPLIED,
}
"""What `synchronous_commit` gives where there is a standby to wait for."""

CHOICE_OF: Final = {level: choice for choice, level in _CHOICES.items()}

_WORDS: Final = {
    Level.DISK: "on the disk of the database server",
    Level.REPLICA_RECEIVED: "on the disk of the database server, and received by the standbys it waits for",
    Level.REPLICA_DISK: "on the disks of the database server and of the standbys it waits for",
    Level.REPLICA_APPLIED: "on the disks of the database server and of the standbys it waits for, where it can be read",
}


class Commits(NamedTuple):
    """The settings that decide what a commit means, as the server has them.

    Attributes:
        fsync: `on` or `off`; None where the server, not quite PostgreSQL, has no such setting, as with the others.
        synchronous_commit: of this transaction.
        synchronous_standby_names: which standbys a commit waits for; empty for none.
    """

    fsync: str | None
    synchronous_commit: str | None
    synchronous_standby_names: str | None

    @property
    def level(self) -> Level:
        """What a commit gives."""
        if self.fsync != "on":
            return Level.NONE
        level = _CHOICES.get(self.synchronous_commit, Level.NONE)
        return level if self.synchronous_standby_names else min(level, Level.DISK)

    @property
    def lack(self) -> str:
        """Which setting keeps the level from being higher, as people may look it up."""
        if self.fsync != "on":
            return f"fsync is {self.fsync or 'not told'}"
        if not self.synchronous_standby_names and self.synchronous_commit != "off":
            return "synchronous_standby_names is empty"
        return f"synchronous_commit is {self.synchronous_commit}"

    def raised(self, wanted: Level) -> Commits:
        """Return what these are once a transaction has chosen enough for a level, never less than it has."""
        choice = self.synchronous_commit
        if _CHOICES.get(choice, Level.NONE) < wanted:
            choice = CHOICE_OF[wanted]
        return self._replace(synchronous_commit=choice)


class Facts(NamedTuple):
    """The row of the statement `durability`.

    Attributes:
        fsync: as in `Commits`, and the next two.
        synchronous_commit: what a transaction has that chooses nothing.
        synchronous_standby_names: as it stands in the settings.
        full_page_writes: `on` or `off`.
        in_recovery: the server is a standby itself.
        standbys: connected ones.
        synchronous_standbys: those of them that commits wait for; None where this role may not see that.
    """

    fsync: str | None
    synchronous_commit: str | None
    synchronous_standby_names: str | None
    full_page_writes: str | None
    in_recovery: bool
    standbys: int
    synchronous_standbys: int | None

    def durability(self, wanted: Level) -> Durability:
        """Say what an acknowledgement means where every transaction chooses `wanted` at least."""
        commits = Commits(*self[:3]).raised(wanted)
        words = f"an acknowledged change is {_in_words(commits, self.full_page_writes)}"
        return Durability(commits.level, words, self._asdict() | commits._asdict())


def _in_words(commits: Commits, full_page_writes: str | None) -> str:
    if commits.level is Level.NONE:
        return f"in the memory of the database server, whose crash can lose it: {commits.lack}"
    words = _WORDS[commits.level]
    if commits.level > Level.DISK:
        words += f" ({commits.synchronous_standby_names})"
    if full_page_writes == "off":
        words += "; full_page_writes is off, so a power cut may tear a page unless the file system keeps pages whole"
    return words
