"""One batch as one transaction, among other daemons: locked in one order, tried again where two met, and never in doubt.

    begin → lock the agents → look at what is not known of their sessions → the changes → store the batch's id and commit

What this process remembers of a session is believed where the agent's row says, under the lock, that nobody else has changed
its sessions since, and where our last batch is stored still. A commit whose answer is lost may have taken effect or not: then
the batch's id is claimed on a new connection. That waits for a transaction which still holds the id, and tells where it has
been stored; where it has not, the claim stores it, and the lost commit can never take effect any more.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from time import perf_counter
from typing import Any, Final

import asyncpg
import structlog

from store import limits
from store.changes import TAIL_PARTS_MAX, Changes, Known
from store.durability import Level
from store.engine import Change, CompleteSession, MoveSession, Outcome
from store.errors import StorageUnavailableError
from store.place import taken_meanwhile
from store.postgres.durability import Commits
from store.postgres.failures import CONNECTION_ERRORS, is_lost, is_retried
from store.postgres.handle import Key, PostgresHandle
from store.records import Standing
from store.verbs import Verbs

_log = structlog.get_logger()

_TRIES_MAX: Final = 8
"""Of a batch that met others, or lost its connection before the commit."""

_TRY_SECONDS_MAX: Final = 10.0
"""After which none of those begins any more, as whoever waits should hear of a database that is away. Asking does not count."""

_PAUSE_SECONDS: Final = 0.01
"""Before the second try, times a number between nought and one; twice as long before each further one."""

_ASK_SECONDS_MAX: Final = 30.0
"""How long is asked what became of a commit whose answer was lost. A server that restarts is back by then."""

_ASK_PAUSE_SECONDS: Final = 0.1
_AGENTS_HEARD_OF_MAX: Final = 100_000

_Failures = (asyncpg.PostgresError, *CONNECTION_ERRORS)


class CommitLostError(Exception):
    """The answer to a commit was lost, or says that the commit did not wait for what it should have."""


class AgentsGoneError(Exception):
    """Rows by which agents are locked are not there any more: the database was put back to an earlier state under us."""


class Batches:
    """Applies batches over the writing connection, and opens that anew where it was lost.

    Attributes:
        changes: what is remembered of sessions between batches.
        sync_seconds: how long the last commit took.
        applied: batches so far.
        level: what the last commit meant; None before there was one.
    """

    def __init__(self, open_handle: Callable[[], PostgresHandle], wanted: Level, standing: Standing) -> None:
        """Say how the first batch opens a connection, what a commit must mean at least, and whose the store must be."""
        self._open = open_handle
        self._wanted = wanted
        self._standing = standing
        self._handle: PostgresHandle | None = None
        self._verbs: Verbs
        self._writer = uuid.uuid4()
        self._heard_of: set[str] = set()
        self._last_batch: uuid.UUID | None = None
        self.changes: Changes
        self.sync_seconds = 0.0
        self.applied = 0
        self.level: Level | None = None
        self._must_choose = False
        self._enough: Commits | None = None
        self._is_warned = False
        self._given_up = threading.Event()

    def handle(self) -> PostgresHandle:
        """Return the writing connection, open."""
        if self._handle is not None and self._handle.connection.is_closed():
            self.drop()
        if self._handle is None:
            self._handle = self._open()
            self._must_choose = False
            self._handle.connection.add_log_listener(self._hear)
            self.changes = Changes(self._handle)
            self._verbs = Verbs(
                self._handle, self.changes, (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
            )
        return self._handle

    def drop(self) -> None:
        """Close the connection and forget what was known through it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def give_up(self) -> None:
        """Try nothing again from now on; from any thread."""
        self._given_up.set()

    def apply(self, batch: Sequence[Change]) -> list[Outcome]:
        """See `Engine.apply`; raises asyncpg's errors, and the store's where nothing can be said in time."""
        agents = sorted({agent for change in batch for agent in _agents_of(change)})
        batch_id = _new_id()
        until = perf_counter() + _TRY_SECONDS_MAX
        tries = 0
        while True:
            tries += 1
            try:
                return self._transaction(batch, agents, batch_id)
            except CommitLostError as error:
                began = perf_counter()
                if (outcomes := self._asked_again(batch_id)) is not None:
                    return outcomes
                until += perf_counter() - began  # the database is back now
                failure: Exception = error
                batch_id = _new_id()
            except AgentsGoneError as error:
                self._heard_of.clear()
                failure = error
            except _Failures as error:
                if not (is_retried(error) or is_lost(error)):
                    raise
                failure = error
            if tries == _TRIES_MAX or perf_counter() > until or self._given_up.is_set():
                raise _refusal(failure)
            _log.info("batch_tried_again", tries=tries, reason=type(failure).__name__)
            self._given_up.wait(random.random() * _PAUSE_SECONDS * 2**tries)  # noqa: S311 - so that two do not meet again

    def _transaction(self, batch: Sequence[Change], agents: list[str], batch_id: uuid.UUID) -> list[Outcome]:
        handle = self.handle()
        try:
            self._introduce(handle, agents)
            handle.wait(self._begin(handle, agents))
            outcomes = self._outcomes = [self._verbs.outcome(change) for change in batch]
            handle.wait(self._end(handle, batch_id))
        except BaseException as error:
            self.changes.forget()
            if isinstance(error, CommitLostError) or handle.connection.is_closed() or is_lost(error):
                self.drop()
            elif handle.connection.is_in_transaction():
                handle.script("ROLLBACK")
            raise
        self.applied += 1
        self._last_batch = batch_id
        return outcomes

    async def _begin(self, handle: PostgresHandle, agents: list[str]) -> None:
        """Lock the agents, forget what others have changed of their sessions, and read what is not known.

        Raises:
            AgentsGoneError: they cannot be locked.
            StorageUnavailableError: the store has become a copy's target since it was opened, or is none any more.
        """
        await self._open_transaction(handle)
        ((locked, changed_elsewhere, standing, is_continued, *commits),) = await handle.ask(
            "lock_agents", definition_ids=agents, writer=self._writer, last_batch=self._last_batch
        )
        if standing != self._standing:
            raise StorageUnavailableError(taken_meanwhile())
        if locked < len(agents):
            raise AgentsGoneError
        if not is_continued:
            # The database was put back to before it, and may have come as far again, with other bytes; or it was an hour ago.
            self.changes.forget()
        await self._weigh(handle, Commits(*commits))
        if unknown := self.changes.unknown(agents, changed_elsewhere or ()):
            await self._take(handle, unknown)

    async def _open_transaction(self, handle: PostgresHandle) -> None:
        await handle.connection.execute(handle.begins.choosing if self._must_choose else handle.begins.writing)

    async def _weigh(self, handle: PostgresHandle, now: Commits) -> None:
        """Have the commit of the open transaction mean what was asked for.

        Raises:
            StorageUnavailableError: the server no longer lets it.
        """
        if now == self._enough:
            return
        self._enough = None
        enough = now.raised(self._wanted)
        if enough.level < self._wanted:
            self._tell(enough)
            raise StorageUnavailableError(
                f"the database would keep this less safely than --durability {self._wanted.word} asks for: {enough.lack}"
            )
        if enough == now:
            self._enough = now
        else:
            # A role or a database that has it so: from now on it is said with the BEGIN.
            self._must_choose = True
            await handle.connection.execute(handle.begins.choose)
        self._tell(enough)

    def _tell(self, commits: Commits) -> None:
        """Log that commits have another meaning than before."""
        if (level := commits.level) != self.level:
            if self.level is not None:
                _log.warning("durability_changed", level=level.word, before=self.level.word, reason=commits.lack)
            self.level = level

    def _hear(self, _connection: object, message: Any) -> None:
        """A commit whose wait for a standby was broken off succeeds, with a warning."""
        self._is_warned = self._is_warned or message.severity_en == "WARNING"

    async def _take(self, handle: PostgresHandle, agents: list[str]) -> None:
        """Read the current sessions of agents and the ends of their outputs, all at once, and be who changes them last."""
        rows = await handle.ask(
            "take_agents",
            definition_ids=agents,
            writer=self._writer,
            limit=TAIL_PARTS_MAX,
            small_bytes=limits.TAIL_PART_BYTES_MAX,
        )
        for definition_id, newest_first in groupby(rows, itemgetter(0)):
            parts = list(newest_first)
            _, home, session_id, start_byte, *_, crc32, codec, data = parts[0]
            shapes = [] if start_byte is None else [part[3:8] for part in parts]
            self.changes.learn(definition_id, Known(Key(home, session_id), session_id), shapes, (crc32, codec, data))

    async def _end(self, handle: PostgresHandle, batch_id: uuid.UUID) -> None:
        """Store what appends have left, then the batch's id, and commit with it in one message: the id is ours, so it may."""
        pending = self.changes.take_pending()
        if any(pending):
            await handle.store(*pending)
        began = perf_counter()
        try:
            await self._finish(handle, f"INSERT INTO zonekeeper.batches (id) VALUES ('{batch_id}'); COMMIT")
        finally:
            self.sync_seconds = perf_counter() - began

    async def _finish(self, handle: PostgresHandle, commit: str) -> None:
        self._is_warned = False
        try:
            await handle.connection.execute(commit)
        except _Failures as error:
            if not is_lost(error):
                raise
            raise CommitLostError from error
        if self._is_warned:
            raise CommitLostError

    def _asked_again(self, batch_id: uuid.UUID) -> list[Outcome] | None:
        """Find out what became of a commit, on a new connection: its outcomes, or None where it will never take effect.

        Raises:
            StorageUnavailableError: the database cannot be reached for so long that nobody can say.
        """
        until = perf_counter() + _ASK_SECONDS_MAX
        while True:
            try:
                handle = self.handle()
                is_ours = handle.wait(self._claim(handle, batch_id))
            except (CommitLostError, StorageUnavailableError, *_Failures) as error:
                self.drop()
                if perf_counter() > until or self._given_up.is_set():
                    raise StorageUnavailableError(
                        "the connection to the database was lost while it stored this, and it cannot be asked whether it did"
                    ) from error
                self._given_up.wait(_ASK_PAUSE_SECONDS)
            else:
                _log.info("commit_answer_lost", took_effect=not is_ours)
                return None if is_ours else self._outcomes

    async def _claim(self, handle: PostgresHandle, batch_id: uuid.UUID) -> bool:
        """Store the id of a batch unless it is there; tells whether the batch will never take effect."""
        await self._open_transaction(handle)
        ((is_claim, *commits),) = await handle.ask("claim_batch", id=batch_id)
        await self._weigh(handle, Commits(*commits))
        await self._finish(handle, "COMMIT")
        return bool(is_claim)

    def _introduce(self, handle: PostgresHandle, agents: list[str]) -> None:
        """Make the rows by which agents are locked, where we have not heard of them yet."""
        unheard = [agent for agent in agents if agent not in self._heard_of]
        if unheard:
            with handle.transaction():
                handle.rows("add_agents", definition_ids=unheard)
            if len(self._heard_of) > _AGENTS_HEARD_OF_MAX:
                self._heard_of.clear()
            self._heard_of.update(unheard)


def _new_id() -> uuid.UUID:
    """Make an id that begins with the time (version 7): it goes to the end of the index, where the ids before it are.

    One that may go anywhere would have the server log a whole page with most batches.
    """
    random_bits = uuid.uuid4().int & ((1 << 76) - 1)
    return uuid.UUID(int=time.time_ns() // 1_000_000 << 80 | 7 << 76 | random_bits)


def _refusal(failure: Exception) -> Exception:
    """Say of the last try of a batch what asyncpg has no error for."""
    if isinstance(failure, CommitLostError):
        return StorageUnavailableError("the connection to the database was lost at the commit; nothing was stored")
    if isinstance(failure, AgentsGoneError):
        return StorageUnavailableError("the database was put back to an earlier state meanwhile; nothing was stored")
    return failure


def _agents_of(change: Change) -> tuple[str, ...]:
    if isinstance(change, MoveSession | CompleteSession):
        return change.source.definition_id, change.target.definition_id
    return (change.zone.definition_id,)
