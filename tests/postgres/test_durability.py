"""What an acknowledgement means: a level that the server gives or a transaction chooses, never one below what is asked for."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from bench.cluster import execute
from srv.config import DURABILITIES
from store.durability import Level
from store.engine import AppendOutput
from store.errors import StorageUnavailableError, StoreRefusedError
from store.postgres import PostgresEngine, open_postgres
from store.postgres.check import check_database
from store.postgres.durability import Commits
from store.postgres.place import DatabasePlace
from store.records import Appended
from store.terms import Terms
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.postgres.own_server import STANDBY, OwnServer
from tests.postgres.test_two_daemons import output_of

AGENT = agent_current_zone("maks")
REPLICA = Terms(durability=Level.REPLICA_DISK)


async def append(engine: PostgresEngine, line: str) -> Appended:
    """Append a line."""
    (outcome,) = await engine.apply([AppendOutput(AGENT, f"{line}\n".encode(), BEGINNING_MS)])
    assert isinstance(outcome, Appended)
    return outcome


async def level_of(engine: PostgresEngine) -> object:
    """Return what the engine says that an acknowledgement means."""
    told = (await engine.status())["durability"]
    assert isinstance(told, dict)
    return told["level"]


@pytest.mark.parametrize(
    ("commits", "level"),
    [
        (Commits("off", "on", "standby"), Level.NONE),
        (Commits(None, None, None), Level.NONE),
        (Commits("on", "off", "standby"), Level.NONE),
        (Commits("on", "local", "standby"), Level.DISK),
        (Commits("on", "remote_apply", ""), Level.DISK),
        (Commits("on", "remote_write", "standby"), Level.REPLICA_RECEIVED),
        (Commits("on", "on", "standby"), Level.REPLICA_DISK),
        (Commits("on", "remote_apply", "standby"), Level.REPLICA_APPLIED),
    ],
)
def test_a_commit_means_what_the_settings_make_of_it(commits: Commits, level: Level) -> None:
    """It waits for a standby only where one is named, and nothing is safe on a server that does not sync."""
    assert commits.level is level
    assert Level.of(level.word) is level


def test_the_setting_has_the_words_of_the_levels_in_their_order() -> None:
    """`srv/config.py` may not know `store`."""
    assert tuple(level.word for level in Level) == DURABILITIES


async def test_a_role_s_own_choice_is_raised_to_what_is_asked_for_and_never_lowered(own_server: OwnServer) -> None:
    """A database that would not wait for the disk: every batch waits all the same. One that waits for more goes on to."""
    chosen = "SELECT string_agg(DISTINCT choice, ' ') FROM seen"
    await execute(
        own_server.url,
        "ALTER DATABASE zonekeeper SET synchronous_commit = off",
    )
    connection = await asyncpg.connect(own_server.url)
    try:
        engine = await open_postgres(own_server.url)
        await connection.execute("CREATE TABLE public.seen (choice text)")
        await connection.execute(
            "CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$"
        )
        await connection.execute(
            "CREATE TRIGGER see BEFORE INSERT ON zonekeeper.batches FOR EACH ROW EXECUTE FUNCTION public.see()"
        )
        await append(engine, "a")
        await append(engine, "b")
        assert await level_of(engine) == "disk"
        assert await connection.fetchval(chosen) == "local"
        await connection.execute(
            "DELETE FROM public.seen; ALTER DATABASE zonekeeper SET synchronous_commit = remote_write"
        )
        await engine.close()
        engine = await open_postgres(own_server.url)
        await append(engine, "c")
        assert await connection.fetchval(chosen) == "remote_write"
        await engine.close()
    finally:
        await connection.execute("DROP TABLE IF EXISTS public.seen; DROP FUNCTION IF EXISTS public.see CASCADE")
        await connection.execute("ALTER DATABASE zonekeeper RESET synchronous_commit")
        await connection.close()


async def test_a_server_that_does_not_sync_is_refused_unless_that_was_asked_for(own_server: OwnServer) -> None:
    """At the start, and for as long as it lasts while the daemon serves: reads go on, changes are refused and not stored.

    The log tells of both, that it has begun and that it is over.
    """
    engine = await open_postgres(own_server.url)
    await append(engine, "safe")
    lines = await output_of(engine, AGENT)
    with capture_logs() as logs:
        async with own_server.having(fsync="off"):
            with pytest.raises(
                StoreRefusedError, match=r"--durability disk asks for more than .* gives, where .*fsync is off"
            ):
                await open_postgres(own_server.url)
            with pytest.raises(
                StorageUnavailableError, match="less safely than --durability disk asks for: fsync is off"
            ):
                await append(engine, "refused")
            assert await output_of(engine, AGENT) == lines
            assert await level_of(engine) == "none"
            careless = await open_postgres(own_server.url, terms=Terms(durability=Level.NONE))
            await append(careless, "careless")
            await careless.close()
        await append(engine, "safe again")
    told = [(each["before"], each["level"]) for each in logs if each["event"] == "durability_changed"]
    assert told == [("disk", "none"), ("none", "disk")]
    assert (await output_of(engine, AGENT))[len(lines) :] == ["careless", "safe again"]
    await engine.close()


async def test_a_change_is_on_a_second_machine_where_that_was_asked_for(own_server: OwnServer) -> None:
    """Without a standby to wait for, a start and every change are refused; with one the status names it."""
    with pytest.raises(StoreRefusedError, match=r"is on the disk of the database server;"):
        await open_postgres(own_server.url, terms=REPLICA)
    with own_server.standby():
        async with own_server.having(synchronous_standby_names=STANDBY):
            engine = await open_postgres(own_server.url, terms=REPLICA)
            await append(engine, "a")
            assert await level_of(engine) == "replica-disk"
            facts = engine.figures()["durability"]
            assert isinstance(facts, dict)
            assert (facts["standbys"], facts["synchronous_standbys"]) == (1, 1)
            assert STANDBY in facts["words"]
    with pytest.raises(StorageUnavailableError, match="synchronous_standby_names is empty"):
        await append(engine, "b")
    await engine.close()


async def test_the_doctor_says_what_an_acknowledgement_means(own_server: OwnServer) -> None:
    """Less than is asked for is wrong; so is a standby that commits wait for while there is none."""
    await (await open_postgres(own_server.url)).close()
    place = DatabasePlace(own_server.url, asyncio.new_event_loop)

    async def found(wanted: Level) -> tuple[str, set[str]]:
        check = await asyncio.to_thread(check_database, place, lambda *_: None, wanted)
        return check.durability, {finding.word for finding in check.findings if finding.check == "durability"}

    assert await found(Level.DISK) == ("disk", set())
    assert await found(Level.REPLICA_DISK) == ("disk", {"LESS_DURABLE"})
    async with own_server.having(synchronous_standby_names=STANDBY):
        assert await found(Level.REPLICA_DISK) == ("replica-disk", {"STANDBY_MISSING"})


async def test_a_wait_for_a_standby_that_is_broken_off_acknowledges_nothing(own_server: OwnServer) -> None:
    """The server then says that it has committed, with a warning. It is answered once the standby has it, and stored once."""
    watching = await asyncpg.connect(own_server.url)

    async def waiting() -> int:
        """Wait until a commit waits for the standby, and return its process."""
        while not (
            pid := await watching.fetchval("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' LIMIT 1")
        ):
            pass
        return int(pid)

    with own_server.standby():
        async with own_server.having(synchronous_standby_names=STANDBY):
            engine = await open_postgres(own_server.url, terms=REPLICA)
            await append(engine, "begun")
            lines = await output_of(engine, AGENT)
    # Whoever has the server keep its warnings to itself does not have it keep this one.
    async with own_server.having(synchronous_standby_names=STANDBY, client_min_messages="error"):
        appending = asyncio.ensure_future(append(engine, "once"))
        first = await waiting()
        await watching.fetchval("SELECT pg_cancel_backend($1)", first)
        while await waiting() == first:
            pass
        assert not appending.done()
        with own_server.standby():
            await appending
    assert await output_of(engine, AGENT) == [*lines, "once"]
    await engine.close()
    await watching.close()
