"""What the callers of a crowd do, one act after the other, and what each notes in the ledger."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from tests.faults.ledger import Fate, Ledger, Sent
from tests.faults.wire import Caller, NotSentError, RefusedError

LARGE_BYTES: Final = 700_000
"""Eleven parts, so that half of a snapshot would be seen, and few enough writes until the log is moved into the database."""

ARCHIVE_LINES_MAX: Final = 300
"""Sessions are archived at some number of lines up to this."""

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


class Actor:
    """One caller: whom it speaks for, under what name, and what it remembers of the session."""

    def __init__(self, agent: str, name: str, caller: Caller, ledger: Ledger, random: Random) -> None:
        """Keep all that."""
        self.agent = agent
        self.name = name
        self.caller = caller
        self.ledger = ledger
        self.random = random
        self.session_id: str | None = None

    async def act(self) -> None:
        """Do one thing. Raises as `Caller.call` does."""
        raise NotImplementedError

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method for the agent."""
        return await self.caller.call(method, definition_id=self.agent, **params)

    def padding(self, size: int) -> str:
        """Make a text of that many characters."""
        return self.random.choice(_LETTERS) * size

    def session(self, share: float) -> dict[str, str]:
        """Name the session, where one is known, in that share of the calls."""
        named = self.session_id is not None and self.random.random() < share
        return {"session_id": str(self.session_id)} if named else {}

    async def send(self, kind: str, sent: Sent, method: str, **params: Any) -> dict[str, Any]:
        """Send an append or a write, and note what became of it; returns the answer."""
        was_unknown = sent.name.sender in self.ledger.unfinished
        over = len(self.ledger.over)
        try:
            answer: dict[str, Any] = await self.call(method, **params)
        except RefusedError as error:
            # Of a change that is sent again only this tells that the first try was not stored either.
            if not was_unknown or error.word == "OFFSET_MISMATCH":
                sent.fate = Fate.REFUSED
            if error.word == "STALE_SESSION":
                self.session_id = None
            raise
        except NotSentError:
            if not was_unknown:
                sent.fate = Fate.REFUSED
            raise
        sent.is_stored(answer, "offset" if kind == "append" else "revision")
        late = not was_unknown and self.ledger.over.get(answer["session_id"], over) < over
        assert not late, f"{sent.name} was sent after its session was archived, and is stored there"
        self.session_id = answer["session_id"]
        self.ledger.count(kind)
        return answer


class Appender(Actor):
    """Appends wherever the end is."""

    def new_append(self) -> tuple[Sent, dict[str, Any]]:
        """Make one to four lines; returns the change, and the parameters that say it."""
        name = self.ledger.next_name(self.name)
        size = self.random.choices((self.random.randrange(600), 20_000, 150_000), (96, 3, 1))[0]
        pieces = self.random.randrange(1, 5)
        lines = [f"{name.sender} {name.number} {piece} {self.padding(size)}" for piece in range(pieces)]
        sent = Sent(self.agent, name, "".join(line + "\n" for line in lines).encode())
        self.ledger.appends[name] = sent
        return sent, {"line": lines[0]} if pieces == 1 else {"lines": lines}

    async def act(self) -> None:
        """Append once."""
        sent, params = self.new_append()
        await self.send("append", sent, "append_output", **params, **self.session(0.2))


class CarefulAppender(Appender):
    """Appends only where it expects the end to be, and sends again what it has no answer to."""

    offset: int | None = None

    async def act(self) -> None:
        """Append once, or look where the end is."""
        unfinished = self.ledger.unfinished.get(self.name)
        if unfinished is None and (self.session_id is None or self.offset is None):
            await self._look()
            return
        sent, params = unfinished or self._new_careful_append()
        try:
            answer = await self.send("append", sent, "append_output", **params)
        except RefusedError as error:
            self.offset = error.data.get("size_bytes")
            self.ledger.unfinished.pop(self.name, None)
            raise
        except BaseException:
            self.ledger.unfinished[self.name] = (sent, params)
            raise
        self.ledger.unfinished.pop(self.name, None)
        self.offset = answer["size_bytes"]
        if answer["duplicate"]:
            self.ledger.count("duplicate")

    def _new_careful_append(self) -> tuple[Sent, dict[str, Any]]:
        sent, params = self.new_append()
        return sent, {**params, "session_id": self.session_id, "expect_offset": self.offset}

    async def _look(self) -> None:
        page = await self.call("read_output", limit=1)
        self.session_id, self.offset = page["session_id"], page["size_bytes"]
        self.ledger.count("read")


class Writer(Actor):
    """Writes snapshots, small and large, some of them a little changed only."""

    padded = ""
    revision: int | None = None

    async def act(self) -> None:
        """Write once."""
        if self.random.random() < 0.15:
            self.padded = self.padding(LARGE_BYTES)
        elif self.random.random() < 0.5:
            self.padded = self.padding(self.random.randrange(3_000))
        name = self.ledger.next_name(self.name)
        covers_line = self.random.randrange(1_000)
        # The padding first: what differs between two snapshots stands near the end, as in those of a pane.
        content = json.dumps({"padding": self.padded, "name": name, "covers_line": covers_line})
        sent = Sent(self.agent, name, content.encode(), covers_line=covers_line)
        self.ledger.writes[name] = sent
        expected = {"expect_revision": self.revision} if self.revision and self.random.random() < 0.2 else {}
        params = {"content": content, "covers_line": covers_line, **expected, **self.session(0.2)}
        try:
            self.revision = (await self.send("write", sent, "write_state", **params))["revision"]
        except RefusedError as error:
            self.revision = error.data.get("revision")
            raise


class Reader(Actor):
    """Reads what a pane and a list show, and notes what it was shown."""

    async def act(self) -> None:
        """Read once."""
        await self.random.choice((self.mount, self.mount, self.read_page, self.read_list, self.read_state))()
        self.ledger.count("read")

    async def mount(self) -> None:
        """Mount: what is shown is of one instant."""
        shown = await self.call("mount", tail_lines=20)
        output, snapshot = shown["output"], shown["snapshot"]
        assert output["first_line"] + len(output["lines"]) == output["total_lines"], f"{self.name}: {output}"
        covers_line = snapshot and json.loads(snapshot["content"])["covers_line"]
        assert snapshot is None or covers_line == snapshot["covers_line"], (
            f"{self.name}: not {covers_line} in {snapshot}"
        )
        self.ledger.see(shown["session_id"], output["total_lines"], snapshot)
        self.session_id = shown["session_id"]

    async def read_state(self) -> None:
        """Read the snapshot."""
        shown = await self.call("read")
        self.ledger.see(shown["session_id"], 0, shown if shown["content"] is not None else None)

    async def read_page(self) -> None:
        """Read a page somewhere."""
        page = await self.call("read_output", first_line=self.random.randrange(ARCHIVE_LINES_MAX), limit=20)
        self.ledger.see(page["session_id"], page["total_lines"], None)

    async def read_list(self) -> None:
        """Read the newest archives; those that were acknowledged before are there."""
        before = [at_ms for (agent, _), at_ms in self.ledger.archives.items() if agent == self.agent]
        rows = await self.call("list_archives", limit=5)
        newest = rows[0]["archived_at_ms"] if rows else 0
        assert newest >= max(before, default=0), (
            f"{self.name}: archives up to {max(before)} were acknowledged, not {newest}"
        )
        for row in rows:
            self.ledger.see(row["session_id"], row["total_lines"], None)


class Archiver(Reader):
    """Archives a session that has some lines, and sends again what it has no answer to."""

    async def act(self) -> None:
        """Archive, or look whether it is time."""
        session_id = self.ledger.unfinished.get(self.name)
        if session_id is None:
            await self.mount()
            self.ledger.count("read")
            lines = self.ledger.seen_lines.get(self.session_id or "", 0)
            if self.session_id is None or lines < self.random.randrange(40, ARCHIVE_LINES_MAX):
                return
            session_id = self.session_id
        self.ledger.unfinished[self.name] = session_id
        archived = await self.call("archive", session_id=session_id)
        del self.ledger.unfinished[self.name]
        assert archived["session_id"] == session_id, f"{self.name}: {session_id} was to be archived, not {archived}"
        self.ledger.archived(self.agent, archived)
