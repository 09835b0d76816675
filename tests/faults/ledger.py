"""What was asked of a store, what it answered, and what therefore must be found in it afterwards.

An append's lines and a snapshot's JSON say who sent them and as which of its changes, so whatever is found is known again.
What was acknowledged is there once, where the answer said; what was refused is not; of the rest nobody knows, so it is there
whole or not at all, at most once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Any, Final, NamedTuple

from tests.faults.stored import Stored

EVENT_SECONDS_MAX: Final = 30


class Fate(Enum):
    """What became of a change, as far as its sender knows."""

    UNKNOWN = "unknown"
    STORED = "stored"
    REFUSED = "refused"


class Name(NamedTuple):
    """Which change it is: the sender's name, and a number that grows with each of its changes."""

    sender: str
    number: int


@dataclass
class Sent:
    """An append or a write that was sent.

    Attributes:
        agent: whom it was for.
        name: which it is.
        content: the very bytes it stores.
        fate: what became of it.
        session_id: the session it was stored in.
        place: where: the offset of an append, the revision of a write.
        covers_line: of a write.
    """

    agent: str
    name: Name
    content: bytes
    fate: Fate = Fate.UNKNOWN
    session_id: str | None = None
    place: int | None = None
    covers_line: int | None = None

    def is_stored(self, answer: dict[str, Any], place: str) -> None:
        """Note the answer of a success."""
        self.fate, self.session_id, self.place = Fate.STORED, answer["session_id"], answer[place]
        assert answer["bytes_written"] == len(self.content), f"{self.name}: {answer}"


@dataclass
class Ledger:
    """Everything sent to one store.

    Attributes:
        appends: by name.
        writes: by name.
        archives: times of acknowledged archives, by agent and session.
        over: the archived sessions, with the number of archives acknowledged before each.
        seen_lines: the most lines that an answer has shown of a session.
        seen_snapshots: contents that an answer has shown, by session and revision.
        unfinished: what a sender asked for last and may ask for again, by its name.
        counts: how many of which kind were answered: `append`, `write`, `archive`, `read`, and the words of refusals.
    """

    appends: dict[Name, Sent] = field(default_factory=dict)
    writes: dict[Name, Sent] = field(default_factory=dict)
    archives: dict[tuple[str, str], int] = field(default_factory=dict)
    over: dict[str, int] = field(default_factory=dict)
    seen_lines: dict[str, int] = field(default_factory=dict)
    seen_snapshots: dict[tuple[str, int], bytes] = field(default_factory=dict)
    unfinished: dict[str, Any] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _numbers: Counter[str] = field(default_factory=Counter)
    _waiting: list[tuple[Callable[[], bool], asyncio.Event]] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """Number of acknowledged changes."""
        return self.counts["append"] + self.counts["write"] + self.counts["archive"]

    @property
    def unknown(self) -> int:
        """Number of appends and writes of which nobody knows what became of them."""
        return sum(sent.fate is Fate.UNKNOWN for sent in (*self.appends.values(), *self.writes.values()))

    def next_name(self, sender: str) -> Name:
        """Name a sender's next change."""
        self._numbers[sender] += 1
        return Name(sender, self._numbers[sender])

    def archived(self, agent: str, answer: dict[str, Any]) -> None:
        """Note an acknowledged archive."""
        session_id = answer["session_id"]
        known = self.archives.setdefault((agent, session_id), answer["archived_at_ms"])
        assert known == answer["archived_at_ms"], f"session {session_id} was archived twice"
        self.over.setdefault(session_id, len(self.over))
        self.count("archive")

    def count(self, kind: str) -> None:
        """Count an answer, and wake whoever waits for it."""
        self.counts[kind] += 1
        for is_so, event in self._waiting:
            if is_so():
                event.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something holds; it is looked at after each answer."""
        event = asyncio.Event()
        waiting = (is_so, event)
        self._waiting.append(waiting)
        try:
            if not is_so():
                async with asyncio.timeout(EVENT_SECONDS_MAX):
                    await event.wait()
        except TimeoutError as error:
            raise AssertionError(f"what was waited for has not come: {dict(self.counts)}") from error
        finally:
            self._waiting.remove(waiting)

    def see(self, session_id: str | None, lines: int, snapshot: dict[str, Any] | None) -> None:
        """Note what a read has shown; whatever was shown stays true."""
        if session_id is None:
            return
        self.seen_lines[session_id] = max(lines, self.seen_lines.get(session_id, 0))
        if snapshot is not None:
            content = snapshot["content"].encode()
            known = self.seen_snapshots.setdefault((session_id, snapshot["revision"]), content)
            assert known == content, f"session {session_id} shows two snapshots of revision {snapshot['revision']}"

    def check(self, sessions: list[Stored]) -> None:
        """Check that a store holds what it must and nothing else. `sessions` as `sessions_in` returns them."""
        by_id = {session.session_id: session for session in sessions}
        self._check_archives(by_id)
        self._check_appends(sessions)
        for session in sessions:
            self._check_snapshot(session)
        named = {sent.session_id for sent in (*self.appends.values(), *self.writes.values())} - {None}
        lost = (named | self.seen_lines.keys()) - by_id.keys()
        assert not lost, f"sessions that were answered or shown are gone: {lost}"

    def _check_archives(self, by_id: dict[str, Stored]) -> None:
        for (agent, session_id), at_ms in self.archives.items():
            found = by_id.get(session_id)
            assert found is not None, f"{agent}: the archived session {session_id} is gone"
            assert (found.agent, found.archived_at_ms) == (agent, at_ms), f"{agent}: archive {at_ms} is not as answered"

    def _check_appends(self, sessions: Iterable[Stored]) -> None:
        """Check that appends are whole, once, where the answer said, and in each sender's order."""
        places: dict[Name, tuple[str, int]] = {}
        for agent, mine in groupby(sessions, key=lambda session: session.agent):
            order: dict[str, int] = {}
            for session in mine:
                for sent, offset in self._appends_in(session):
                    assert sent.agent == agent, f"{sent.name} was sent to {sent.agent} and stands at {agent}"
                    assert sent.name not in places, f"{sent.name} is there twice"
                    places[sent.name] = (session.session_id, offset)
                    before = order.get(sent.name.sender, -1)
                    assert before < sent.name.number, f"{sent.name} stands behind number {before}"
                    order[sent.name.sender] = sent.name.number
        for name, sent in self.appends.items():
            place = places.get(name)
            if sent.fate is Fate.STORED:
                expected = (sent.session_id, sent.place)
                assert place == expected, f"{name} was acknowledged at {expected} and stands at {place}"
            assert sent.fate is not Fate.REFUSED or place is None, f"{name} was refused and stands at {place}"

    def _appends_in(self, session: Stored) -> Iterable[tuple[Sent, int]]:
        """Find the appends that an output is made of, from its first byte to its last, with their offsets."""
        offset = lines = 0
        while offset < len(session.output):
            first = session.output[offset : offset + 100].split(b" ", 2)
            name = Name(first[0].decode(), int(first[1])) if len(first) == 3 and first[1].isdigit() else None
            sent = self.appends.get(name) if name else None
            assert sent is not None, f"session {session.session_id}, byte {offset}: nobody sent {first}"
            end = offset + len(sent.content)
            assert session.output[offset:end] == sent.content, f"{name} is not whole in session {session.session_id}"
            yield sent, offset
            offset, lines = end, lines + sent.content.count(b"\n")
        seen = self.seen_lines.get(session.session_id, 0)
        assert lines >= seen, f"session {session.session_id} has {lines} lines, and {seen} were shown"

    def _check_snapshot(self, session: Stored) -> None:
        """Check that a snapshot is the newest that was acknowledged or shown, or a newer one of unknown fate."""
        known = {
            revision: content for (id_, revision), content in self.seen_snapshots.items() if id_ == session.session_id
        }
        for sent in self.writes.values():
            if sent.fate is Fate.STORED and sent.session_id == session.session_id:
                assert sent.place is not None
                other = known.setdefault(sent.place, sent.content)
                assert other == sent.content, f"revision {sent.place} was given twice, the second time to {sent.name}"
        newest = max(known, default=0)
        if session.snapshot is None:
            assert not newest, f"the snapshot of session {session.session_id} is gone; its revision was {newest}"
            return
        assert session.revision is not None
        assert session.revision >= newest, f"session {session.session_id}: revision {session.revision} after {newest}"
        found = [sent for sent in self.writes.values() if sent.content == session.snapshot]
        assert len(found) == 1, f"session {session.session_id}: {len(found)} sent its snapshot"
        (sent,) = found
        assert sent.agent == session.agent, f"{sent.name} was sent to {sent.agent} and stands at {session.agent}"
        if session.revision > newest:
            assert sent.fate is Fate.UNKNOWN, f"{sent.name} is {sent.fate.value} and stands as {session.revision}"
        else:
            assert known[newest] == session.snapshot, f"revision {newest} is now {sent.name}"
        if session.archived_at_ms is None or session.covers_line is not None:
            assert session.covers_line == sent.covers_line, f"{sent.name}: half of the write is there"
