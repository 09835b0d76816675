"""Random calls, one by one and several at once, with restarts in between: the store answers as the model does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from store import codec, limits, parts
from store.engine import ImportSession, MoveSession
from store.errors import StoreError
from store.limits import Limits
from store.records import SessionState, ZoneStat
from store.sessions import Sessions
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_archive_zone, agent_current_zone
from tests.conftest import ENGINE_KINDS, Clock, EngineKind, OpenStore
from tests.contract.made import file_from
from tests.model.model import Answer, Append, Archive, Call, Model, Session, Write, refusal

SMALL_PART: Final = 64
"""In place of 64 KiB, so that small data falls into many parts."""

AGENTS: Final = st.sampled_from(["a", "a-b", "a_b", "B"])
CONTENTS: Final = st.one_of(
    st.sampled_from([b"", b"{}", b"x" * SMALL_PART, b"x" * (SMALL_PART + 1), b"x" * 200, b"x" * 130 + b"y" * 70]),
    st.integers(0, 9).map(lambda n: b'{"nodes": [{"type": "user_message", "message": "said %d"}]}' % n),
    st.binary(max_size=150),
)
LINES: Final = st.lists(
    st.sampled_from(["", " ", "a", "b\n", "c\r\n", "\u2028", "\x1c", "d\ne", "f" * 30, "g" * 64, "h" * 150, "é\x00"]),
    min_size=1,
    max_size=4,
).map(tuple)
OUTPUTS: Final = st.sampled_from(
    [b"", b"\n", b"a\n", b"a\nb", b"a\n ", b"\xff\n\x00", b"x" * 200, b"y\n" * 100, b"z\r"]
)
TIMES: Final = st.integers(0, 2_000)
MAXIMA: Final = st.sampled_from([1, 2, 10, 63, 64, 65, 500])
WHICH: Final = st.sampled_from(["none", "none", "current", "current", "archived", "another agent's", "unknown"])
HOW_FAR: Final = st.sampled_from([None, None, 0, "end", "end", -1, 1, "last", "last", 2**53 - 1])


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Make parts small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", SMALL_PART)
        patch.setattr(parts, "LOOSE_PART_BYTES_MAX", SMALL_PART // 2)
        patch.setattr(parts, "TAIL_PART_BYTES_MAX", SMALL_PART // 8)
        for module in (codec, limits):
            patch.setattr(module, "COMPRESSED_PART_BYTES_MIN", SMALL_PART // 8 + 1)
        yield


def joined(state: SessionState) -> SessionState:
    """Return a state with its content in one piece."""
    return state if state.content is None else replace(state, content=(b"".join(state.content),))


DAEMONS: Final = tuple(zip(ENGINE_KINDS, (1, 2), strict=True))
"""How many daemons may have a store open at once, at least, over each engine."""


class StoreMachine(RuleBasedStateMachine):
    """Drives a store and the model side by side; each step goes through any of the daemons that have the store open."""

    kind: EngineKind = ENGINE_KINDS[0]
    daemons: int = 1

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed: int) -> None:
        """Open an empty store."""
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.clock.now_ms = 1_000
        self.turns = Random(seed)
        self.stores = [
            OpenStore(self.kind, Path(self.directory.name), self.clock, Limits()) for _ in range(self.daemons)
        ]
        for store in self.stores:
            self.runner.run(store.open())
        self.model = Model()
        self.last_append: dict[str, tuple[int, Append]] = {}

    def teardown(self) -> None:
        """Close it."""
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        self.kind.forget(Path(self.directory.name))
        self.directory.cleanup()

    @property
    def store(self) -> OpenStore:
        """The store as one of the daemons has it."""
        return self.turns.choice(self.stores)

    def session_id(self, agent: str, which: str) -> str | None:
        """Return the session id that a caller of that kind would send."""
        known = self.model.agent(agent)
        others = [other.current.id for name, other in self.model.agents.items() if name != agent and other.current]
        return {
            "none": None,
            "current": known.current.id if known.current else "none yet",
            "archived": next((session.id for session in known.archives.values()), "none archived"),
            "another agent's": next(iter(others), "no other"),
            "unknown": "unknown",
        }[which]

    def offset(self, agent: str, how: str | int | None) -> int | None:
        """Return the offset that a caller of that kind would expect."""
        current = self.model.agent(agent).current
        size = len(current.output or b"") if current else 0
        if how == "end":
            return size
        if how == "last":
            return self.last_append.get(agent, (0, None))[0]
        return max(0, size - 1) if how == -1 else how if isinstance(how, int) else None

    @staticmethod
    async def call(sessions: Sessions, call: Call) -> Answer:
        """Make a call."""
        match call:
            case Write(agent, content, session_id, expected, covers):
                return await sessions.write_session_state(
                    agent, content, session_id=session_id, expect_revision=expected, covers_line=covers
                )
            case Append(agent, lines, session_id, expected):
                return await sessions.append_session_output(agent, lines, session_id=session_id, expect_offset=expected)
            case Archive(agent, session_id):
                return await sessions.archive_session(agent, session_id)

    def make(self, *calls: Call) -> None:
        """Make calls at once, of one daemon, and compare each answer in the order they were made."""
        sessions = self.store.sessions

        async def together() -> list[Answer | BaseException]:
            return await asyncio.gather(*(self.call(sessions, call) for call in calls), return_exceptions=True)

        for call, answer in zip(calls, self.runner.run(together()), strict=True):
            self.model.check(call, self.clock.now_ms, answer)

    def asked(self, question: Any) -> Any:
        """Return an answer, or what two refusals have in common."""
        try:
            return self.runner.run(question)
        except StoreError as error:
            return refusal(error)

    @rule(agent=AGENTS, content=CONTENTS, which=WHICH, revision=HOW_FAR, covers=st.sampled_from([None, 0, 1, 3, 99]))
    def write(self, agent: str, content: bytes, which: str, revision: str | int | None, covers: int | None) -> None:
        """Write a snapshot."""
        current = self.model.agent(agent).current
        stored = current.revision if current else 0
        expected = stored if revision in ("end", "last") else stored + 1 if revision == -1 else revision
        assert expected is None or isinstance(expected, int)
        self.make(Write(agent, content, self.session_id(agent, which), expected, covers))

    @rule(agent=AGENTS, lines=LINES, which=WHICH, how=HOW_FAR)
    def append(self, agent: str, lines: tuple[str, ...], which: str, how: str | int | None) -> None:
        """Append lines."""
        current = self.model.agent(agent).current
        size = len(current.output or b"") if current else 0
        call = Append(agent, lines, self.session_id(agent, which), self.offset(agent, how))
        self.make(call)
        self.last_append[agent] = (size, call)

    @rule(agent=AGENTS)
    def append_again(self, agent: str) -> None:
        """Send the last append again, as one whose answer was lost."""
        if agent in self.last_append:
            offset, call = self.last_append[agent]
            self.make(replace(call, expect_offset=offset))

    @rule(agent=AGENTS, which=WHICH)
    def archive(self, agent: str, which: str) -> None:
        """Archive."""
        self.make(Archive(agent, self.session_id(agent, which)))

    @rule(
        data=st.data(),
        agents=st.lists(AGENTS, min_size=1, max_size=3, unique=True),
        count=st.integers(2, 8),
        at_once=st.booleans(),
    )
    def several(self, data: st.DataObject, agents: list[str], count: int, at_once: bool) -> None:
        """Make several changes of few agents, at once or in turn: they take effect in the order they were made."""
        calls: list[Call] = []
        for _ in range(count):
            agent = data.draw(st.sampled_from(agents))
            session_id = self.session_id(agent, data.draw(WHICH))
            number = data.draw(st.sampled_from([None, None, 0, 1, 2]))
            calls.append(
                data.draw(
                    st.one_of(
                        st.builds(
                            Append, st.just(agent), LINES, st.just(session_id), st.just(self.offset(agent, number))
                        ),
                        st.builds(Write, st.just(agent), CONTENTS, st.just(session_id), st.just(number), st.none()),
                        st.just(Archive(agent, session_id)),
                    )
                )
            )
        for together in [calls] if at_once else [[call] for call in calls]:
            self.make(*together)

    @rule(agent=AGENTS, lines=LINES, contents=st.lists(CONTENTS, min_size=2, max_size=5))
    def take_turns(self, agent: str, lines: tuple[str, ...], contents: list[bytes]) -> None:
        """Append and write several times, whoever has the session at the moment."""
        for content in contents:
            self.make(Append(agent, lines, None, None))
            self.make(Write(agent, content, None, None, None))

    @rule(now_ms=TIMES)
    def set_clock(self, now_ms: int) -> None:
        """Let the clock jump, back as well."""
        self.clock.now_ms = now_ms

    @rule()
    def compress(self) -> None:
        """Have the archives compressed that are not yet."""
        assert self.runner.run(self.store.compressions.sweep())
        assert self.runner.run(self.store.engine.archives_to_compress(1)) == []

    @rule()
    def restart(self) -> None:
        """Close the store and open it again."""
        self.runner.run(self.store.reopen())

    def _taken(self, zone: Zone) -> bool:
        agent = self.model.agent(zone.definition_id)
        return bool(agent.current and agent.current.size_bytes) if zone.archived_at_ms is None else False

    def _put(self, zone: Zone, session: Session) -> None:
        agent = self.model.agent(zone.definition_id)
        if zone.archived_at_ms is None:
            agent.current = session
        else:
            assert zone.archived_at_ms not in agent.archives
            agent.archives[zone.archived_at_ms] = session

    @rule(agent=AGENTS, at_ms=st.one_of(st.none(), TIMES), output=OUTPUTS, snapshot=st.one_of(st.none(), CONTENTS))
    def take_over(self, agent: str, at_ms: int | None, output: bytes, snapshot: bytes | None) -> None:
        """Import a session, with whatever its output ends in."""
        zone = agent_current_zone(agent) if at_ms is None else agent_archive_zone(agent, at_ms)
        if self._taken(zone):
            return
        files = [file_from(OUTPUT_FILE, output, 7)]
        if snapshot is not None:
            files.append(file_from(SNAPSHOT_FILE, snapshot, 8))
        taken = self.runner.run(self.store.writer.submit(ImportSession(zone, tuple(files), 5)))
        assert isinstance(taken, ZoneStat)
        session = Session(taken.session_id, snapshot, int(snapshot is not None), None, None, output, 7)
        session.snapshot_ms = None if snapshot is None else 8
        self._put(taken.zone, session)

    @rule(source=AGENTS, other=AGENTS, at_ms=st.one_of(st.none(), TIMES))
    def move(self, source: str, other: str, at_ms: int | None) -> None:
        """Move a current session, or the newest archive where there is none, to another name."""
        old = self.model.agent(source)
        newest = max(old.archives, default=None)
        session = old.current or (old.archives[newest] if newest is not None else None)
        zone = agent_current_zone(other) if at_ms is None else agent_archive_zone(other, at_ms)
        if session is None or source == other or self._taken(zone):
            return
        if old.current is None and newest is not None:
            origin = agent_archive_zone(source, newest)
            del old.archives[newest]
        else:
            origin, old.current = agent_current_zone(source), None
        moved = self.runner.run(self.store.writer.submit(MoveSession(origin, zone)))
        assert isinstance(moved, Zone)
        self._put(moved, session)

    @rule(
        agent=AGENTS,
        at_ms=TIMES,
        newest=st.booleans(),
        first=st.sampled_from([None, 0, 1, 5, 60]),
        limit=MAXIMA,
        size=MAXIMA,
    )
    def read_page(self, agent: str, at_ms: int, newest: bool, first: int | None, limit: int, size: int) -> None:
        """Read pages of the current output and of an archive's."""
        page = self.asked(self.store.sessions.read_output(agent, first_line=first, limit=limit, max_bytes=size))
        assert page == self.model.page(self.model.agent(agent).current, first, limit, size)
        if newest:
            at_ms = max(self.model.agent(agent).archives, default=at_ms)
        question = self.store.sessions.read_output(agent, at_ms, first_line=first, limit=limit, max_bytes=size)
        try:
            expected: object = self.model.page(self.model.archive(agent, at_ms), first, limit, size)
        except StoreError as error:
            expected = refusal(error)
        assert self.asked(question) == expected

    @rule(agent=AGENTS, tail_lines=MAXIMA, size=MAXIMA)
    def mount(self, agent: str, tail_lines: int, size: int) -> None:
        """Mount a pane."""
        mount = self.runner.run(self.store.sessions.mount(agent, tail_lines, size))
        assert replace(mount, state=joined(mount.state)) == self.model.mount(agent, tail_lines, size)

    @rule(agent=AGENTS, at_ms=TIMES)
    def read(self, agent: str, at_ms: int) -> None:
        """Read the current snapshot and archived ones."""
        known = self.model.agent(agent)
        state = self.runner.run(self.store.sessions.read_session_state(agent))
        assert joined(state) == self.model.state(known.current)
        for each in (*list(known.archives)[-2:], at_ms):
            found = self.asked(self.store.sessions.read_archive(agent, each))
            try:
                expected: object = self.model.state(self.model.archive(agent, each))
            except StoreError as error:
                expected = refusal(error)
            assert (joined(found) if isinstance(found, SessionState) else found) == expected

    @rule(agent=AGENTS, limit=st.sampled_from([0, 1, 3]), before_ms=st.one_of(st.none(), TIMES))
    def list_archives(self, agent: str, limit: int, before_ms: int | None) -> None:
        """List archives; a preview may still be missing, but is never wrong."""
        rows = self.runner.run(self.store.sessions.list_archives(agent, limit, before_ms))
        archives = self.model.agent(agent).archives
        times = [at_ms for at_ms in sorted(archives, reverse=True) if before_ms is None or at_ms < before_ms]
        assert [row.archived_at_ms for row in rows] == times[: limit or 20]
        for row in rows:
            session = archives[row.archived_at_ms]
            assert (row.session_id, row.size_bytes, row.total_lines) == (
                session.id,
                session.size_bytes,
                len(session.lines),
            )
            said = (session.snapshot or b"").startswith(b'{"nodes"')
            expected = (session.snapshot or b"")[-10:-4].decode() if said else ""
            assert row.preview in {None, expected}
            assert row.node_count == (int(said) if row.preview is not None else 0)

    @invariant()
    def every_agent_is_described_as_it_is(self) -> None:
        """After every step `stat` and `list_agents` say what the model says."""
        if not hasattr(self, "model"):
            return
        names = self.model.names()
        agents, after = self.runner.run(self.store.sessions.list_agents(2))
        assert [each.definition_id for each in agents] == names[:2]
        assert after == (names[1] if len(names) > 2 else None)
        asked = ["B", "a", "a-b", "a_b", "unknown", "a"]
        assert self.runner.run(self.store.sessions.stat(asked)) == [self.model.stat(name) for name in asked]


@pytest.mark.parametrize(("kind", "daemons"), DAEMONS, ids=["sqlite", "postgresql"])
def test_the_store_answers_as_the_model_does(kind: EngineKind, daemons: int) -> None:
    """Whatever calls are made, in whatever order, with restarts in between; through two daemons where there may be two."""
    machine = type("Machine", (StoreMachine,), {"kind": kind, "daemons": daemons})
    run = settings(
        deadline=None, max_examples=60 // daemons, stateful_step_count=40, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=run)
