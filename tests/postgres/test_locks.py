"""What daemons hold while others wait: agents, in one order, never for long, and never while a client is waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from store.engine import AppendOutput, Outcome
from store.errors import StorageUnavailableError
from store.postgres import PostgresEngine, batches, open_postgres
from store.records import Appended
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.postgres.conftest import Opener
from tests.postgres.foreign import WAITING, Foreign, connected, having_by_default, refusing_batches
from tests.postgres.own_server import OwnServer
from tests.postgres.test_two_daemons import output_of
from tests.srv.daemon import Daemon, read_response, rpc_body
from tests.waiting import until

Pair = tuple[PostgresEngine, PostgresEngine]

APPENDS: Final = [AppendOutput(agent_current_zone(agent), b"x\n", BEGINNING_MS) for agent in "abc"]

WITHOUT_INDEXES: Final = {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"}
"""Tables are read from their first row to the last."""

_IN_TRANSACTION: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND xact_start IS NOT NULL AND backend_type = 'client backend'"
)


def lock(foreign: Foreign, agent: str) -> None:
    """Lock an agent as a daemon does, in a transaction that stays open."""
    foreign.execute(f"BEGIN; SELECT FROM agents WHERE definition_id = '{agent}' FOR UPDATE")


def line(text: str) -> AppendOutput:
    """Append a line to the first of the agents."""
    return AppendOutput(APPENDS[0].zone, f"{text}\n".encode(), BEGINNING_MS)


def check_stored(outcomes: list[Outcome]) -> None:
    """Check that every append was stored."""
    assert all(isinstance(outcome, Appended) for outcome in outcomes)


async def test_agents_are_locked_in_the_order_of_their_ids(open_engine: Opener, url: str) -> None:
    """Whatever order their rows lie in: who waits for one holds those before it, and none behind it."""
    await (await open_engine(url)).close()
    with connected(url) as holder, connected(url) as looker, having_by_default(looker, **WITHOUT_INDEXES):
        looker.execute("TRUNCATE agents; INSERT INTO agents VALUES ('c'), ('b'), ('a')")
        engine = await open_engine(url)
        lock(holder, "b")
        applied = asyncio.ensure_future(engine.apply(APPENDS))
        await until(lambda: looker.value(WAITING) == 1)
        assert looker.rows("SELECT definition_id FROM agents FOR UPDATE SKIP LOCKED") == [("c",)]
        holder.execute("ROLLBACK")
        check_stored(await applied)


async def test_the_ends_of_several_outputs_are_taken_at_once(open_engine: Opener, url: str) -> None:
    """Each output has its parts in their order, whatever order the server finds sessions and parts in."""
    appends = [AppendOutput(agent_current_zone(agent), b"x" * 4_000 + b"\n", BEGINNING_MS) for agent in "cba"]
    with connected(url) as foreign, having_by_default(foreign, **WITHOUT_INDEXES):
        first, second = await open_engine(url), await open_engine(url)
        for _ in range(12):
            check_stored(await first.apply(appends))
        outcomes = await second.apply(appends)
    assert [each.total_lines for each in outcomes if isinstance(each, Appended)] == [13] * len(appends)
    for append in appends:
        assert len(await output_of(first, append.zone)) == 13


async def test_what_was_changed_during_the_wait_for_a_lock_is_seen_at_any_default_isolation(
    open_engine: Opener, url: str
) -> None:
    """A database whose transactions see one state by default: a batch that waited still sees that the session was archived."""
    default = {"default_transaction_isolation": "repeatable read"}
    with connected(url) as holder, connected(url) as looker, having_by_default(looker, **default):
        engine = await open_engine(url)
        check_stored(await engine.apply(APPENDS[:1]))
        lock(holder, "a")
        applied = asyncio.ensure_future(engine.apply(APPENDS[:1]))
        await until(lambda: looker.value(WAITING) == 1)
        holder.execute("UPDATE zones SET archived_at_ms = 5; UPDATE agents SET last_writer = NULL; COMMIT")
        check_stored(await applied)
    assert await output_of(engine, APPENDS[0].zone) == ["x"]
    assert await output_of(engine, agent_archive_zone("a", 5)) == ["x"]


async def test_a_batch_that_the_server_undoes_for_another_is_tried_again(own_server: OwnServer) -> None:
    """Another program locks agents in an order of its own: it gets what it waits for, and so does the batch."""
    engine = await open_postgres(own_server.url)
    check_stored(await engine.apply(APPENDS))
    with connected(own_server.url) as gate, connected(own_server.url) as other, connected(own_server.url) as looker:
        other.execute("SET deadlock_timeout = '1h'")
        lock(gate, "b")
        lock(other, "c")
        # Only now: a gate that waits for nobody looks for no deadlock, and the other never does.
        async with own_server.having(deadlock_timeout="1ms"):
            with capture_logs() as logs:
                applied = asyncio.ensure_future(engine.apply(APPENDS))
                await until(lambda: looker.value(WAITING) == 1)
                crossing = asyncio.ensure_future(
                    asyncio.to_thread(other.execute, "SELECT FROM agents WHERE definition_id = 'a' FOR UPDATE")
                )
                await until(lambda: looker.value(WAITING) == 2)
                gate.execute("ROLLBACK")
                await crossing
                other.execute("ROLLBACK")
                check_stored(await applied)
    reasons = {each["reason"] for each in logs if each["event"] == "batch_tried_again"}
    assert reasons == {"DeadlockDetectedError"}
    await engine.close()


async def test_a_batch_that_is_undone_again_and_again_is_refused_in_the_end(
    open_engine: Opener, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried so many times and not for ever; STORAGE_UNAVAILABLE says that it may be sent again, and nothing is stored."""
    monkeypatch.setattr(batches, "_PAUSE_SECONDS", 0.0001)
    engine = await open_engine(url)
    with connected(url) as foreign, refusing_batches(foreign, "40001"):
        with pytest.raises(StorageUnavailableError) as caught:
            await engine.apply(APPENDS)
        assert caught.value.retry
        assert foreign.value("SELECT last_value FROM tries") == batches._TRIES_MAX
    check_stored(await engine.apply(APPENDS))
    assert await output_of(engine, APPENDS[0].zone) == ["x"]


def test_nothing_is_held_while_a_client_is_waited_for(tmp_path: Path, url: str) -> None:
    """One does not take its answer, one has sent half of its change: no transaction is open, and another daemon archives."""
    large = {"definition_id": "maks", "content": "x" * (16 << 20)}
    environment = {"ZONEKEEPER_STORE": url}
    with Daemon.start(tmp_path / "a", environment=environment) as first, connected(url) as looker:
        first.call("agent:session:write_state", **large)
        reading, writing = first.connect(), first.connect()
        with reading, writing:
            question = rpc_body("agent:session:read", definition_id="maks")
            reading.sendall(first.head("POST", "/rpc", f"Content-Length: {len(question)}") + question)
            assert reading.recv(1)
            change = rpc_body("agent:session:append_output", definition_id="maks", line="x" * 1_000)
            writing.sendall(first.head("POST", "/rpc", f"Content-Length: {len(change)}") + change[:-1])
            first.call("srv:status")
            while looker.value(_IN_TRANSACTION):
                pass
            with Daemon.start(tmp_path / "b", environment=environment) as second:
                assert second.call("agent:session:archive", definition_id="maks")["archive_zoneid"]
            writing.sendall(change[-1:])
            assert read_response(writing)[0] == 200


async def test_agents_that_a_restore_has_taken_away_are_locked_all_the_same(pair: Pair, url: str) -> None:
    """A database is put back under a daemon, to before it had heard of an agent: its next batch makes the row, and holds it."""
    first, second = pair
    check_stored(await first.apply(APPENDS))
    with connected(url) as holder:
        holder.execute("DELETE FROM agents")
        check_stored(await first.apply(APPENDS[:1]))
        lock(holder, "a")
        applied = asyncio.ensure_future(second.apply(APPENDS[:1]))
        with connected(url) as looker:
            await until(lambda: looker.value(WAITING) == 1)
        holder.execute("ROLLBACK")
        check_stored(await applied)
    assert await output_of(first, APPENDS[0].zone) == ["x"] * 3


async def test_agents_that_cannot_be_locked_are_not_changed(
    pair: Pair, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rows go as often as they are made: the change is refused, with the reason, until they stay."""
    monkeypatch.setattr(batches, "_PAUSE_SECONDS", 0.0001)
    first, _ = pair
    with connected(url) as foreign:
        foreign.execute("CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        foreign.execute("CREATE TRIGGER gone BEFORE INSERT ON agents FOR EACH ROW EXECUTE FUNCTION gone()")
        with pytest.raises(StorageUnavailableError, match="put back to an earlier state"):
            await first.apply(APPENDS)
        foreign.execute("DROP FUNCTION gone CASCADE")
    check_stored(await first.apply(APPENDS))


@pytest.mark.parametrize("others", ["c", ""])
async def test_what_is_remembered_from_before_a_restore_is_not_believed(pair: Pair, url: str, others: str) -> None:
    """A database is put back under a daemon, and another one may bring an output to the same size: its lines stay."""
    first, second = pair
    tables = ("agents", "file_parts", "batches")
    check_stored(await first.apply([line("a")]))
    with connected(url) as foreign:
        foreign.execute("".join(f"CREATE TABLE public.{name} AS TABLE {name};" for name in tables))
        check_stored(await first.apply([line("b")]))
        foreign.execute("".join(f"DELETE FROM {name}; INSERT INTO {name} TABLE public.{name};" for name in tables))
        foreign.execute("".join(f"DROP TABLE public.{name};" for name in tables))
    check_stored(await second.apply([line(each) for each in others]))
    check_stored(await first.apply([line("d")]))
    assert await output_of(first, APPENDS[0].zone) == ["a", *others, "d"]
