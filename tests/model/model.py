"""A plain model of the store: dictionaries, whole byte strings and loops, read straight off DESIGN.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from store.errors import OffsetMismatchError, RevisionMismatchError, StaleSessionError, StoreError, ZoneNotFoundError
from store.records import AgentStat, Appended, Archived, Mount, Page, SessionState, Written
from store.zones import agent_archive_zone
from tests.store.slow_lines import lines_of

TIME_MS_MAX = 2**53 - 1


@dataclass
class Session:
    """A session, whole."""

    id: str | None = None
    snapshot: bytes | None = None
    revision: int = 0
    snapshot_ms: int | None = None
    covers_line: int | None = None
    output: bytes | None = None
    output_ms: int | None = None

    @property
    def lines(self) -> list[bytes]:
        """The lines of its output."""
        return lines_of(self.output or b"")

    @property
    def size_bytes(self) -> int:
        """Bytes of both files."""
        return len(self.snapshot or b"") + len(self.output or b"")


@dataclass
class Agent:
    """An agent's current session and its archives by time."""

    current: Session | None = None
    archives: dict[int, Session] = field(default_factory=dict)


@dataclass(frozen=True)
class Write:
    """A call of `write_session_state`."""

    agent: str
    content: bytes
    session_id: str | None
    expect_revision: int | None
    covers_line: int | None


@dataclass(frozen=True)
class Append:
    """A call of `append_session_output`."""

    agent: str
    lines: tuple[str, ...]
    session_id: str | None
    expect_offset: int | None

    @property
    def text(self) -> bytes:
        """The bytes it sends."""
        return "".join(line if line.endswith("\n") else line + "\n" for line in self.lines).encode()


@dataclass(frozen=True)
class Archive:
    """A call of `archive_session`."""

    agent: str
    session_id: str | None


Call = Write | Append | Archive
Answer = Written | Appended | Archived


def refusal(error: StoreError) -> tuple[object, ...]:
    """Return what two refusals must have in common."""
    return (type(error), error.facts)


class Model:
    """What the store must answer. A session's id is learnt from the answer that first tells it."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}

    def agent(self, name: str) -> Agent:
        """Return an agent, one without a session where it is not known."""
        return self.agents.setdefault(name, Agent())

    def check(self, call: Call, now_ms: int, answer: Answer | BaseException) -> None:
        """Do what the call does, and compare the store's answer."""
        found = refusal(answer) if isinstance(answer, StoreError) else answer
        try:
            expected: object = self._do(call, now_ms, answer)
        except StoreError as error:
            expected = refusal(error)
        assert found == expected, call

    def _do(self, call: Call, now_ms: int, answer: object) -> Answer:
        match call:
            case Write():
                return self._write(call, now_ms, answer)
            case Append():
                return self._append(call, now_ms, answer)
            case Archive():
                return self._archive(call, now_ms)

    def _current(self, call: Call) -> Session | None:
        current = self.agent(call.agent).current
        if call.session_id is not None and (current is None or current.id != call.session_id):
            raise StaleSessionError("stale")
        return current

    def _begin(self, call: Call, current: Session | None, answer: object) -> Session:
        """Return the session, a new one with the id that the answer tells where there is none."""
        if current is None:
            assert isinstance(answer, Written | Appended)
            assert answer.session_id not in self.session_ids()
            current = self.agent(call.agent).current = Session(answer.session_id)
        assert current.id is not None
        return current

    def session_ids(self) -> set[str | None]:
        """Return the ids of all sessions there are."""
        sessions = [agent.current for agent in self.agents.values() if agent.current]
        sessions += [archive for agent in self.agents.values() for archive in agent.archives.values()]
        return {session.id for session in sessions}

    def _write(self, call: Write, now_ms: int, answer: object) -> Written:
        current = self._current(call)
        revision = current.revision if current else 0
        if call.expect_revision is not None and call.expect_revision != revision:
            raise RevisionMismatchError(call.expect_revision, revision)
        session = self._begin(call, current, answer)
        session.covers_line = call.covers_line
        if session.snapshot != call.content:
            session.snapshot, session.snapshot_ms, session.revision = call.content, now_ms, revision + 1
        return Written(len(call.content), session.snapshot_ms or 0, session.revision, session.id or "")

    def _append(self, call: Append, now_ms: int, answer: object) -> Appended:
        current = self._current(call)
        stored = (current.output if current else None) or b""
        if call.expect_offset is not None and call.expect_offset != len(stored):
            offset = self._offset_of_duplicate(stored, call.expect_offset, call.text)
            if current is None or offset is None:
                raise OffsetMismatchError(call.expect_offset, len(stored))
            duplicate = True
        else:
            current = self._begin(call, current, answer)
            if stored and not stored.endswith(b"\n"):
                stored += b"\n"
            offset, duplicate = len(stored), False
            current.output, current.output_ms = stored + call.text, now_ms
        size = len(current.output or b"")
        return Appended(len(call.text), offset, size, len(current.lines), current.id or "", duplicate)

    @staticmethod
    def _offset_of_duplicate(stored: bytes, offset: int, text: bytes) -> int | None:
        if offset < len(stored) and stored[offset:].startswith(text):
            return offset
        closed = 0 < offset < len(stored) and stored[offset - 1 : offset] != b"\n"
        return offset + 1 if closed and stored[offset:].startswith(b"\n" + text) else None

    def _archive(self, call: Archive, now_ms: int) -> Archived:
        agent = self.agent(call.agent)
        for at_ms, session in agent.archives.items():
            if call.session_id is not None and session.id == call.session_id:
                return Archived(agent_archive_zone(call.agent, at_ms), at_ms, session.id)
        current = self._current(call)
        if current is None or current.size_bytes == 0:
            return Archived(None, None, None)
        at_ms = max(now_ms, max(agent.archives, default=-1) + 1)
        agent.archives[at_ms], agent.current = current, None
        return Archived(agent_archive_zone(call.agent, at_ms), at_ms, current.id)

    def state(self, session: Session | None) -> SessionState:
        """Return what reading it must give, the content in one piece."""
        if session is None or session.snapshot is None:
            return SessionState(session.id if session else None)
        return SessionState(session.id, (session.snapshot,), session.snapshot_ms, session.revision)

    def archive(self, name: str, at_ms: int) -> Session:
        """Return an archive, or say that there is none."""
        if at_ms not in self.agent(name).archives:
            raise ZoneNotFoundError("none")
        return self.agent(name).archives[at_ms]

    def page(self, session: Session | None, first_line: int | None, limit: int, max_bytes: int) -> Page:
        """Return the page that must be read: from a line the oldest that fit, else the newest."""
        if session is None:
            return Page([], 0, 0, 0, 0, None)
        sizes = self._stored_sizes(session.output or b"")
        numbers = range(first_line, len(sizes)) if first_line is not None else range(len(sizes) - 1, -1, -1)
        taken: list[int] = []
        used = 0
        for number in list(numbers)[:limit]:
            used += sizes[number]
            if taken and used > max_bytes:
                break
            taken.append(number)
        taken.sort()
        first = taken[0] if taken else len(sizes)
        lines = [line.decode("utf-8", "replace") for line in session.lines[first : first + len(taken)]]
        return Page(lines, first, first + len(lines), len(sizes), len(session.output or b""), session.id)

    @staticmethod
    def _stored_sizes(output: bytes) -> list[int]:
        *ended, last = output.split(b"\n")
        return [len(piece) for piece in (*(each + b"\n" for each in ended), last) if lines_of(piece)]

    def mount(self, name: str, tail_lines: int, max_bytes: int) -> Mount:
        """Return what a pane must be given."""
        session = self.agent(name).current
        left = max(0, len(session.lines) - (session.covers_line or 0)) if session else 0
        page = self.page(session, None, min(tail_lines, left), max_bytes)
        return Mount(self.state(session), session.covers_line if session else None, page)

    def stat(self, name: str) -> AgentStat:
        """Return what is said of an agent."""
        agent = self.agent(name)
        session = agent.current or Session()
        times = [at_ms for at_ms in (session.snapshot_ms, session.output_ms) if at_ms is not None]
        return AgentStat(
            definition_id=name,
            session_id=session.id,
            snapshot_bytes=len(session.snapshot or b""),
            revision=session.revision or None,
            output_bytes=len(session.output or b""),
            total_lines=len(session.lines),
            modts=max(times, default=None),
            archives=len(agent.archives),
        )

    def names(self) -> list[str]:
        """Return the ids of all agents that have a session, in order."""
        return sorted(name for name, agent in self.agents.items() if agent.current or agent.archives)
