"""A mixed load on a daemon that records, and what the store must hold at every length of the recording.

Each agent has one client, which waits for every answer: so its states follow each other in a row that is known, and at
any instant the store must hold exactly one of them, not before the last that was acknowledged by then. One agent has several
clients at once; the offsets in their answers tell the order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.faults.power_check import NOTHING, Session, State
from tests.faults.shim_daemon import ShimDaemon
from tests.srv.daemon import rpc_body

AGENTS: Final = ("a", "b", "c", "d")
CROWD: Final = "crowd"
CROWD_CLIENTS: Final = 3

STORAGE_WORDS: Final = {"STORAGE_FULL", "STORAGE_UNAVAILABLE"}
"""What is answered where the disk does not do as it should."""

ALL_VERBS: Final = {"append_output": 12, "write_state": 6, "archive": 1}
"""How often each comes, in shares."""

_ATTEMPTS_MAX: Final = 50

_LINES: Final = ("{}", '{{"n":"{}"}}\r', "{}" + "x" * 300, "{}" + "y" * 7_000, "  ", "{}" + "z" * 40_000)
_LINE_WEIGHTS: Final = (6, 4, 6, 2, 1, 1)


@dataclass(frozen=True, slots=True)
class Step:
    """A change that was acknowledged.

    Attributes:
        verb: "append_output", "write_state" or "archive".
        params: what was sent.
        result: what was answered.
        sent_at: length of the recording before it was sent.
        acknowledged_at: length of the recording once it was answered.
    """

    verb: str
    params: dict[str, Any]
    result: dict[str, Any]
    sent_at: int
    acknowledged_at: int


@dataclass
class History:
    """The states of an agent, one after each step, the first one before all.

    Attributes:
        states: the states.
        sent_at: for each state but the first, the length of the recording before which it cannot be there.
        acknowledged_at: for each state but the first, the length from which on it, or a later one, must be there.
    """

    states: list[State]
    sent_at: list[int] = field(default_factory=list)
    acknowledged_at: list[int] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Go one step on."""
        self.states.append(_after(self.states[-1], step))
        self.sent_at.append(step.sent_at)
        self.acknowledged_at.append(step.acknowledged_at)

    def possible_at(self, length: int) -> list[State]:
        """Return the states of which one must be there when the recording is that long."""
        first = max((n for n, at in enumerate(self.acknowledged_at, 1) if at <= length), default=0)
        last = max((n for n, at in enumerate(self.sent_at, 1) if at <= length), default=0)
        return self.states[first : max(first, last) + 1]


Histories = dict[str, History]


def check_states(found: Mapping[str, State], histories: Histories, length: int) -> None:
    """Check that every agent has a state that it may have when the recording is that long."""
    assert found.keys() <= histories.keys(), "an agent that nobody spoke of"
    for agent, history in histories.items():
        state = found.get(agent, NOTHING)
        possible = history.possible_at(length)
        assert state in possible, f"agent {agent} has {shown(state)}, where {[shown(each) for each in possible]} may be"


def shown(state: State) -> list[str]:
    """Describe a state for people, briefly."""
    return sorted(
        f"{'current' if each.archived_at_ms is None else each.archived_at_ms}: output {_size(each.output)},"
        f" snapshot {_size(each.snapshot)} revision {each.revision} covers {each.covers_line}"
        for each in state
    )


class Client:
    """Someone who changes one agent, and waits for each answer."""

    def __init__(self, daemon: ShimDaemon, agent: str, *, insists: bool = False) -> None:
        """Connect to nothing yet.

        Args:
            daemon: to which one.
            agent: the agent that all is about.
            insists: a change that the storage refuses is sent again until it is taken.
        """
        self._attempts = _ATTEMPTS_MAX if insists else 1
        self._daemon = daemon
        self._agent = agent

    def change(self, verb: str, **params: Any) -> Step:
        """Make a change.

        Raises:
            AssertionError: the answer is an error, and is not one to be met with patience.
        """
        sent_at = _length(self._daemon.recording)
        for _ in range(self._attempts):
            answer = self.answer(verb, **params)
            if "result" in answer or answer["error"]["data"]["code"] not in STORAGE_WORDS:
                break
        acknowledged_at = _length(self._daemon.recording)
        assert "result" in answer, answer
        return Step(verb, params, answer["result"], sent_at, acknowledged_at)

    def answer(self, verb: str, **params: Any) -> dict[str, Any]:
        """Call a verb for the agent; returns the whole answer."""
        body = rpc_body(f"agent:session:{verb}", definition_id=self._agent, **params)
        answer: dict[str, Any] = json.loads(self._daemon.request("POST", "/rpc", body)[2])
        return answer


def put_under_load(
    daemon: ShimDaemon,
    begin: Mapping[str, State],
    seed: str,
    steps: int,
    verbs: Mapping[str, int] = ALL_VERBS,
    *,
    crowd_clients: int = CROWD_CLIENTS,
    insists: bool = False,
) -> Histories:
    """Let all clients change their agents, so many steps each, and return what became of them.

    Args:
        daemon: the daemon.
        begin: the states at the beginning, by agent.
        seed: of what the clients do.
        steps: of each client.
        verbs: how often each verb comes.
        crowd_clients: how many share the agent of the crowd.
        insists: as of a `Client`.
    """
    histories = {agent: History([begin.get(agent, NOTHING)]) for agent in {*begin, *AGENTS, CROWD}}
    client = partial(Client, daemon, insists=insists)
    with ThreadPoolExecutor(len(AGENTS) + crowd_clients) as pool:
        alone = {
            agent: pool.submit(_work_alone, client(agent), Random(f"{seed} {agent}"), f"{seed} {agent}", steps, verbs)
            for agent in AGENTS
        }
        crowd = [
            pool.submit(_work_in_crowd, client(CROWD), f"{seed} {number}", steps) for number in range(crowd_clients)
        ]
    for agent, future in alone.items():
        for step in future.result():
            histories[agent].add(step)
    appends = [step for future in crowd for step in future.result()]
    for step in sorted(appends, key=lambda step: int(step.result["offset"])):
        histories[CROWD].add(step)
    return histories


def _work_alone(client: Client, random: Random, name: str, steps: int, verbs: Mapping[str, int]) -> list[Step]:
    content = b""
    done: list[Step] = []
    for number in range(steps):
        verb = random.choices(list(verbs), list(verbs.values()))[0]
        if verb == "append_output":
            done.append(client.change(verb, lines=list(_lines(random, f"{name}.{number}"))))
        elif verb == "write_state":
            content = _next_content(content, random)
            covers_line = random.choice((None, number))
            done.append(client.change(verb, content=content.decode(), covers_line=covers_line))
        else:
            step = client.change(verb)
            done += [step] if step.result["session_id"] else []
    return done


def _work_in_crowd(client: Client, name: str, steps: int) -> list[Step]:
    return [client.change("append_output", lines=[f"{name}.{number}"]) for number in range(steps)]


def _lines(random: Random, name: str) -> Iterator[str]:
    for number in range(random.choice((1, 1, 2, 5))):
        yield random.choices(_LINES, _LINE_WEIGHTS)[0].format(f"{name}.{number}")


def _next_content(content: bytes, random: Random) -> bytes:
    """Make the next snapshot: a small change of the last one mostly, sometimes the same, sometimes another altogether."""
    match random.choice(("other", "change", "change", "grow", "shrink", "same")):
        case "change" if content:
            at = random.randrange(len(content))
            piece = random.randbytes(20).hex().encode()
            return content[:at] + piece + content[at + len(piece) :]
        case "grow":
            return content + random.randbytes(random.choice((10, 5_000, 40_000))).hex().encode()
        case "shrink":
            return content[: random.randrange(len(content) + 1)]
        case "same":
            return content
    return random.randbytes(random.choice((5, 3_000, 50_000))).hex().encode()


def _after(state: State, step: Step) -> State:
    """Return the state after a change, and check that the answer speaks of it."""
    result = step.result
    before = next((each for each in state if each.archived_at_ms is None), None)
    session = before or Session(result["session_id"], None, None)
    assert session.session_id == result["session_id"]
    if step.verb == "append_output":
        text = "".join(line + "\n" for line in step.params["lines"]).encode()
        session = replace(session, output=(session.output or b"") + text)
        assert result["size_bytes"] == _size(session.output)
    elif step.verb == "write_state":
        content = step.params["content"].encode()
        covers_line, revision = step.params["covers_line"], result["revision"]
        session = replace(session, snapshot=content, revision=revision, covers_line=covers_line)
    else:
        session = replace(session, archived_at_ms=result["archived_at_ms"])
    return (state - {before} if before else state) | {session}


def _size(content: bytes | None) -> int | None:
    return None if content is None else len(content)


def _length(path: Path) -> int:
    return path.stat().st_size
