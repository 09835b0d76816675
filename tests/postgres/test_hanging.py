"""A database that neither answers nor goes away: nobody waits for it without end, and a stop does not wait for it at all."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest

from srv.exits import Exit
from store.engine import AppendOutput
from store.errors import StorageUnavailableError
from store.postgres import connections, open_postgres
from store.postgres.begins import Begins
from store.postgres.handle import PostgresHandle
from store.terms import Terms
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.faults.soak import STOP_SECONDS_MAX
from tests.postgres.own_server import OwnServer
from tests.postgres.proxy import Proxy
from tests.postgres.test_two_daemons import output_of
from tests.srv.daemon import Daemon, read_response, rpc_body, seconds_since
from tests.waiting import until

AGENT = agent_current_zone("maks")
BRIEF = Terms(statement_seconds_max=1)


async def test_who_asks_is_refused_in_time_and_at_once_while_it_lasts(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many that ask meanwhile one finds out at a time; when the server answers again so do we."""
    monkeypatch.setattr(connections, "_ANSWER_SECONDS", -0.5)
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 0.2)
    engine = await open_postgres(proxy.url, terms=BRIEF)
    await engine.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)])
    assert await output_of(engine, AGENT) == ["a"]
    proxy.swallow = True
    with pytest.raises(StorageUnavailableError):
        await output_of(engine, AGENT)
    before = proxy.accepted
    answers = await asyncio.gather(*(output_of(engine, AGENT) for _ in range(100)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageUnavailableError}
    assert proxy.accepted - before < 10
    monkeypatch.setattr("store.postgres.batches._TRY_SECONDS_MAX", 0.1)
    with pytest.raises(StorageUnavailableError):
        await engine.apply([AppendOutput(AGENT, b"b\n", BEGINNING_MS)])
    proxy.swallow = False
    await engine.apply([AppendOutput(AGENT, b"c\n", BEGINNING_MS)])
    assert await output_of(engine, AGENT) == ["a", "c"]
    await engine.close()


async def test_a_connection_that_hung_before_a_batch_began_is_used_no_more(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new agent is made known first: where that is not answered, the next batch has a connection of its own."""
    monkeypatch.setattr(connections, "_ANSWER_SECONDS", -0.5)
    monkeypatch.setattr("store.postgres.batches._TRY_SECONDS_MAX", 0)
    engine = await open_postgres(proxy.url, terms=BRIEF)
    proxy.swallow = True
    with pytest.raises(StorageUnavailableError):
        await engine.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)])
    proxy.swallow = False
    await engine.apply([AppendOutput(AGENT, b"b\n", BEGINNING_MS)])
    assert await output_of(engine, AGENT) == ["b"]
    await engine.close()


async def test_a_close_gives_up_a_server_that_hangs(proxy: Proxy) -> None:
    """What is under way is given up as well, and its caller told so."""
    engine = await open_postgres(proxy.url)
    proxy.swallow = True
    applied = asyncio.ensure_future(engine.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)]))
    await proxy.swallowed.wait()
    await asyncio.wait_for(engine.close(), STOP_SECONDS_MAX)
    with pytest.raises(StorageUnavailableError):
        await applied


async def test_a_close_does_not_wait_to_hear_what_became_of_a_commit(proxy: Proxy) -> None:
    """The database is away just then: whoever waits is told that nobody can say."""
    engine = await open_postgres(proxy.url)
    await engine.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)])
    proxy.lose, proxy.refuse = ["answer"], True
    applied = asyncio.ensure_future(engine.apply([AppendOutput(AGENT, b"b\n", BEGINNING_MS)]))
    await until(lambda: proxy.lost == 1)
    await asyncio.wait_for(engine.close(), STOP_SECONDS_MAX)
    with pytest.raises(StorageUnavailableError, match="cannot be asked whether it did"):
        await applied


async def test_who_asked_waits_once_and_not_for_the_end_of_the_transaction_as_well(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection whose answer did not come is asked nothing more."""
    monkeypatch.setattr(connections, "_ANSWER_SECONDS", 1.0 - Terms().statement_seconds_max)
    engine = await open_postgres(proxy.url)
    await engine.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)])
    fetched, carried_out = PostgresHandle.rows, PostgresHandle.script
    asked: list[str] = []

    def rows(handle: PostgresHandle, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        proxy.swallow = statement == "last_part"
        asked.append(statement)
        return fetched(handle, statement, **values)

    def script(handle: PostgresHandle, text: str) -> None:
        asked.append(text)
        carried_out(handle, text)

    monkeypatch.setattr(PostgresHandle, "rows", rows)
    monkeypatch.setattr(PostgresHandle, "script", script)
    with pytest.raises(StorageUnavailableError):
        await output_of(engine, AGENT)
    assert asked[-1] == "last_part"
    proxy.swallow = False
    await engine.close()


async def test_a_server_that_hangs_does_not_keep_us_from_the_other_that_is_named(
    proxy: Proxy, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is gone refuses nobody: whoever asks it hears nothing."""
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 0.2)
    (hanging,) = parse_qs(urlsplit(proxy.url).query)["host"]
    hosts = {"host": f"{hanging},{own_server.cluster.directory}", "port": f"5432,{own_server.port}"}
    proxy.swallow = True
    engine = await open_postgres(urlunsplit(urlsplit(own_server.url)._replace(query=urlencode(hosts))))
    assert await output_of(engine, agent_current_zone("nobody")) == []
    assert proxy.accepted == 1
    await engine.close()


async def test_what_is_stuck_in_the_server_ends(url: str) -> None:
    """A question, a change behind somebody's lock, and a transaction whose daemon is gone: before who waits for it gives up."""
    engine = await open_postgres(url, terms=BRIEF)
    await engine.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)])
    stranger = await asyncpg.connect(url)
    async with stranger.transaction():
        await stranger.execute("LOCK TABLE zonekeeper.zones IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageUnavailableError, match="57014"):
            await output_of(engine, AGENT)
    async with stranger.transaction():
        await stranger.execute("SELECT FROM zonekeeper.agents FOR UPDATE")
        with pytest.raises(StorageUnavailableError, match="55P03"):
            await engine.apply([AppendOutput(AGENT, b"b\n", BEGINNING_MS)])
    await stranger.execute(Begins(BRIEF).writing)
    await stranger.execute("SELECT FROM zonekeeper.agents FOR UPDATE")
    await engine.apply([AppendOutput(AGENT, b"c\n", BEGINNING_MS)])
    assert await output_of(engine, AGENT) == ["a", "c"]
    await engine.close()
    stranger.terminate()


async def test_a_stop_does_not_wait_for_it(proxy: Proxy, tmp_path: Path) -> None:
    """Whoever waits is told that the change failed, and the exit is 0 in time."""
    environment = {"ZONEKEEPER_STORE": proxy.url}
    daemon = await asyncio.to_thread(Daemon.start, tmp_path / "data", environment=environment)
    await asyncio.to_thread(daemon.call, "agent:session:append_output", definition_id="maks", line="a")
    proxy.swallow = True
    body = rpc_body("agent:session:append_output", definition_id="maks", line="b")
    with daemon.connect() as connection:
        connection.sendall(daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body)
        await proxy.swallowed.wait()
        started = time.monotonic()
        daemon.signal()
        _, _, answer = await asyncio.to_thread(read_response, connection)
    assert await asyncio.to_thread(daemon.wait) == Exit.STOPPED
    assert seconds_since(started) < STOP_SECONDS_MAX
    assert json.loads(answer)["error"]["data"]["code"] == "STORAGE_UNAVAILABLE"
    assert len(daemon.events("store_given_up")) == 1
    assert daemon.events("stopped_at_once") == []


async def test_a_daemon_has_as_many_connections_as_it_was_told(url: str) -> None:
    """Whatever is asked of it at once. All are known by the name of the program."""
    watching = await asyncpg.connect(url)
    counted = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'zonekeeper' AND datname = current_database()"
    )
    engine = await open_postgres(url, terms=Terms(connections=3))
    busy = asyncio.gather(
        *(output_of(engine, AGENT) for _ in range(200)),
        *(engine.apply([AppendOutput(AGENT, b"a\n", BEGINNING_MS)]) for _ in range(20)),
    )
    most = 0
    while not busy.done():
        most = max(most, await watching.fetchval(counted))
    await busy
    assert (most, await watching.fetchval(counted)) == (3, 3)
    await engine.close()
    await watching.close()
