"""Spoiled requests to a running daemon, many at once, and what must hold of each answer and of the store afterwards."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from tests.fuzz import judge
from tests.fuzz.digest import digest
from tests.fuzz.framing import BrokenError, Message, answers_in, requests_in
from tests.fuzz.mutations import framed, mutated
from tests.fuzz.recorded import Recorder
from tests.srv.conftest import ORIGIN
from tests.srv.daemon import Daemon, seconds_since

CASES: Final = 700
"""Of a round: some seconds, most of which the daemon waits for what does not come."""

ANSWER_SECONDS_MAX: Final = 30
"""Until a connection must have come to its end, on a busy machine too."""

OPTIONS: Final = (
    *("--head-seconds-max", "1", "--idle-seconds-max", "1", "--silence-seconds-max", "1", "--body-seconds-max", "3"),
    *("--allow-origin", ORIGIN, "--log-level", "debug"),
)
"""Of a daemon that soon gives up on who has stopped sending."""

_FRAMES: Final = (b"append_output", b"chunked", b"Range", b"PUT /zones")
_AT_ONCE: Final = 200
_LATE_SECONDS: Final = 0.5
_SNAPSHOT: Final = re.compile(rb"/zones/([A-Za-z0-9_-]+)/current/output\.state\.json(?:\?.*)?")
_LEAK: Final = re.compile(
    rb'Traceback|File "|\w\.py\b|\b[A-Za-z]+(?:Error|Exception)\b|sqlite3\.|\bSELECT |\bINSERT |\b0x[0-9a-f]{8,}'
)
_FAILURES: Final = ('"level": "error"', "Traceback")
"""In the log: whatever of ours has failed is told there as an error."""


@dataclass(frozen=True)
class Case:
    """What goes over one connection.

    Attributes:
        sent: the bytes.
        token: the token that changes something, where it was shown to those who spoiled it.
        ends: our side is ended behind it; else the daemon must find by itself that no more comes.
    """

    sent: bytes
    token: bytes | None
    ends: bool

    def may_change(self) -> set[str]:
        """Return the definition ids of the agents that it may change something of: those that whole calls in it name."""
        if self.token is None:
            return set()
        messages = (message for message in requests_in(self.sent) if message.is_whole and self._shows_token(message))
        return {agent for message in messages for agent in _agents_changed_by(message)}

    def _shows_token(self, message: Message) -> bool:
        shown = [*message.values(b"authorization"), *message.values(b"x-authkey")]
        return any(value.rpartition(b" ")[2] == self.token for value in shown)


def _agents_changed_by(message: Message) -> Iterator[str]:
    method, target, _ = message.start
    if method == b"PUT" and (match := _SNAPSHOT.fullmatch(target)):
        yield match[1].decode()
    if method != b"POST" or target.partition(b"?")[0] != b"/rpc":
        return
    try:
        sent = judge.read(message.body)
    except judge.NotJsonError:
        return
    for member in sent if isinstance(sent, list) else [sent]:
        if isinstance(member, dict) and member.get("method") in judge.CHANGING:
            params: Any = member.get("params")
            named = params.get("definition_id") if isinstance(params, dict) else params and params[0]
            if isinstance(named, str):
                yield named


class Hostile:
    """Sends rounds of requests, spoiled and good, to a daemon.

    Attributes:
        daemon: the daemon.
        secrets: what no answer may hold.
    """

    def __init__(self, daemon: Daemon) -> None:
        """Know the daemon's secrets."""
        self.daemon = daemon
        self._read_token = (daemon.data_dir / "auth.read.token").read_text(encoding="utf-8").strip()
        self.secrets = [daemon.token.encode(), self._read_token.encode(), str(daemon.data_dir).encode()]
        self._store = daemon.data_dir / "db" / "zones.db"
        self._host = f"127.0.0.1:{daemon.port}"

    def good(self, agent: str) -> list[Case]:
        """Return a case of every recorded request, as it is."""
        return [Case(sent, self.daemon.token.encode(), ends=True) for sent in self._requests(agent, self.daemon.token)]

    def tokenless(self, agent: str) -> list[Case]:
        """Return the same from those who have the token that only reads, another one, or none."""
        tokens = (self._read_token, "x" * len(self._read_token), self.daemon.token[:-1], "")
        return [Case(sent, None, ends=True) for token in tokens for sent in self._requests(agent, token)]

    def framed(self, agent: str) -> list[Case]:
        """Return a case of every odd frame around requests that have a size, chunks, a range, or no body yet."""
        requests = self._requests(agent, self.daemon.token)
        chosen = [next(each for each in requests if word in each) for word in _FRAMES]
        chosen.append(chosen[0].partition(b"{")[0])
        token = self.daemon.token.encode()
        return [Case(sent, token, ends=True) for request in chosen for sent in framed(request)]

    def _requests(self, agent: str, token: str) -> list[bytes]:
        return Recorder(self._host, token, agent).requests()

    def spoiled(self, seed: str, count: int) -> list[Case]:
        """Return spoiled requests, the same ones for the same seed: of those who have the token, of others, and of nobody."""
        return [self._spoiled(f"{seed}/{number}") for number in range(count)]

    def _spoiled(self, seed: str) -> Case:
        random = Random(seed)
        full = self.daemon.token
        token = random.choice((full, full, full, self._read_token, "x" * len(full), full[:-1] + "~", ""))
        sent = mutated(random, self._requests(re.sub(r"\W", "-", seed), token))
        return Case(sent, full.encode() if token == full else None, ends=random.random() < 0.8)

    async def round(self, name: str, cases: list[Case]) -> set[str]:
        """Send cases, many at once, and check all that must hold; returns the definition ids of what has changed.

        Raises:
            AssertionError: something does not hold; the message holds the round's name, and what was sent.
        """
        before = await asyncio.to_thread(digest, self._store)
        turns = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._try(f"{name}/{number}", case, turns) for number, case in enumerate(cases)))
        after = await asyncio.to_thread(digest, self._store)
        changed = {agent for agent in before.keys() | after.keys() if before.get(agent) != after.get(agent)}
        surprises = changed - {agent for case in cases for agent in case.may_change()}
        assert not surprises, f"{name}: nobody could change {surprises}"
        return changed

    async def _try(self, name: str, case: Case, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    received, is_cut = await self.exchange(case)
                self._check(case, received, is_cut=is_cut)
            except Exception as error:
                raise AssertionError(f"{name}: {error!r}\nsent {_shown(case.sent)}") from error

    async def exchange(self, case: Case) -> tuple[bytes, bool]:
        """Send a case on a connection of its own.

        Returns:
            All that came back, and whether there may have been more: the connection was reset, or the daemon had reason to
            think that nothing comes, since a busy machine did not let us send in time.
        """
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.daemon.port)
        received = bytearray()
        try:
            writer.write(case.sent)
            is_late = seconds_since(started) > _LATE_SECONDS
            if case.ends:
                writer.write_eof()
            while piece := await reader.read(1 << 16):
                received += piece
        except OSError:  # ConnectionError, or our own end is not connected any more
            return bytes(received), True
        finally:
            writer.close()
        return bytes(received), is_late

    def _check(self, case: Case, received: bytes, *, is_cut: bool) -> None:
        messages = requests_in(case.sent)
        for secret in self.secrets:
            assert secret not in received or secret in case.sent, "a secret in the answer"
        leak = _LEAK.search(received)
        assert leak is None or leak[0] in case.sent, f"the answer tells of our inside: {leak}"
        methods = [message.start[0] for message in messages]
        if b"HEAD " in case.sent:
            methods.append(b"HEAD")  # what is none may have been near enough to one to get no body
        try:
            answers = answers_in(received, methods)
        except BrokenError:
            assert is_cut, f"no HTTP: {_shown(received)}"
            return
        check_pairs(messages, answers)
        if not is_cut and len(answers) < sum(message.is_whole for message in messages):
            assert answers, "a whole request got no answer"
            assert closes(answers[-1]), "the next request got no answer"

    def check_log(self) -> None:
        """Check that nothing failed, and that no token is in the log."""
        log = self.daemon.log()
        for word in _FAILURES:
            assert word not in log, log[max(0, log.find(word) - 2_000) : log.find(word) + 4_000]
        for line in log.splitlines():
            assert not any(secret in line.encode() for secret in self.secrets[:2]), f"a token in the log: {line}"


def check_pairs(messages: list[Message], answers: list[Message]) -> None:
    """Check each answer against its request. Beyond the last request there is at most one: that what follows is none."""
    assert len(answers) <= len(messages) + 1, "more answers than requests"
    for number, answer in enumerate(answers):
        _check_answer(answer, messages[number] if number < len(messages) else None)
        assert number == len(answers) - 1 or not closes(answer), "an answer behind the last one"


def _check_answer(answer: Message, message: Message | None) -> None:
    status = answer.status
    assert status < 500 or status == 503, f"status {status}: {answer.body!r}"
    assert answer.values(b"x-content-type-options") == [b"nosniff"], "the answer does not say what it is"
    if status >= 400:
        assert answer.values(b"content-length") != [b"0"], "the refusal does not say why"
        assert not answer.body or isinstance(judge.read(answer.body)["error"], str), "the refusal does not say why"
    if message is None:
        assert 400 <= status < 500, f"status {status} to what is no request"
        assert closes(answer), "what follows rubbish is read"
    elif status == 200 and message.start[:2] == (b"POST", b"/rpc"):
        assert message.is_whole, "a call was executed before all of it was there"
        judge.check(message.body, answer.body)
    elif status == 204 and message.start[0] == b"POST":
        judge.check(message.body, None)


def closes(answer: Message) -> bool:
    """Tell whether an answer says that it is the last."""
    return b"close" in [value.lower() for value in answer.values(b"connection")]


@dataclass(frozen=True)
class Held:
    """What a process holds of the machine, as Linux tells it."""

    sockets: int
    memory_bytes: int

    @classmethod
    def by(cls, pid: int) -> Self:
        """Look at a process."""
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return cls(sum(map(_is_socket, Path(f"/proc/{pid}/fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE"))


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except FileNotFoundError:  # closed meanwhile
        return False


def _shown(text: bytes) -> str:
    return repr(text if len(text) < 3_000 else text[:1_500] + b" ... " + text[-1_500:])
