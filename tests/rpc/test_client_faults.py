"""The client where answers are lost and daemons die: what it may send again it does, and every line is stored exactly once."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from rpc.client import Client
from rpc.errors import BrokenOffError, NoDaemonError
from rpc.retries import Pace
from store.errors import OffsetMismatchError, RevisionMismatchError, StaleSessionError
from store.records import ArchiveSummary
from tests.rpc.fault_proxy import Fault, FaultProxy, Plan, no_time
from tests.srv.daemon import Daemon

APPEND: Final = "agent:session:append_output"
ARCHIVE: Final = "agent:session:archive"
WRITE: Final = "agent:session:write_state"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon with a Unix socket for all tests of this file that leave it alone."""
    folder = tmp_path_factory.mktemp("faults")
    with Daemon.start(folder / "data", "--unix-socket", str(folder / "s")) as running:
        yield running


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    """Return a client that goes through the proxy and waits for nothing."""
    async with Client("http://localhost", unix_socket=proxy.socket) as opened:
        opened._link.pace = Pace(30, sleep=no_time)
        yield opened


def every_third(*faults: Fault) -> Plan:
    """Let every third request meet one of the faults in turn."""
    turns = itertools.cycle([Fault.NONE, Fault.NONE, None])
    troubles = itertools.cycle(faults)
    return lambda _: next(turns) or next(troubles)


def first(method: str, fault: Fault) -> Plan:
    """Let the first request of a method meet a fault."""
    left = [fault]
    return lambda name: left.pop() if name == method and left else Fault.NONE


async def lines_of(client: Client, agent: str) -> list[str]:
    """Read all lines of all sessions of an agent, the oldest first."""
    lines: list[str] = []
    rows: list[ArchiveSummary] = []
    while page := await client.list_archives(agent, 100, rows[-1].archived_at_ms if rows else None):
        rows += page
    for archived_at_ms in [*(row.archived_at_ms for row in reversed(rows)), None]:
        lines += (await client.read_output(agent, archived_at_ms, first_line=0, limit=10_000)).lines
    return lines


async def test_200_appends_past_every_third_answer_broken(client: Client, proxy: FaultProxy, agent: str) -> None:
    """Every line is stored exactly once, in order, whatever was lost of a request or its answer."""
    proxy.plan = every_third(*[fault for fault in Fault if fault is not Fault.NONE])
    for number in range(200):
        await client.append_output(agent, f"{number}")
    proxy.plan = lambda _: Fault.NONE
    assert await lines_of(client, agent) == [f"{number}" for number in range(200)]
    assert Counter(fault for _, fault in proxy.requests)[Fault.ANSWER_LOST] >= 20


async def test_so_it_is_over_tcp(daemon: Daemon, proxy: FaultProxy, agent: str) -> None:
    """A connection that breaks while it is proved is none; those that last are proved once, not with each call."""
    async with Client(proxy.url, daemon.token) as client:
        client._link.pace = Pace(30, sleep=no_time)
        for number in range(10):
            await client.append_output(agent, f"{number}")
        asked = Counter(name for name, _ in proxy.requests)
        assert asked == {"GET /healthz": 1, "agent:session:stat": 1, "agent:session:list_archives": 1, APPEND: 10}
        proxy.plan = every_third(*[fault for fault in Fault if fault is not Fault.NONE])
        for number in range(10, 60):
            await client.append_output(agent, f"{number}")
        proxy.plan = lambda _: Fault.NONE
        assert await lines_of(client, agent) == [f"{number}" for number in range(60)]


async def test_a_crowd_of_calls_shares_a_hundred_connections(client: Client, proxy: FaultProxy, agent: str) -> None:
    """Further calls wait, so that one client does not take the places of all others."""
    await asyncio.gather(*(client.append_output(f"{agent}-{number}", "{}") for number in range(300)))
    assert 1 < len(proxy.connections) <= 100


async def test_the_first_append_of_a_session_is_stored_once(client: Client, proxy: FaultProxy, agent: str) -> None:
    """There is no session to name yet; that the lost one has begun one is found out."""
    for fault in Fault:
        proxy.plan = first(APPEND, fault)
        appended = await client.append_output(f"{agent}-{fault.name}", ["{}", "{}"])
        assert appended.size_bytes == 6
        assert await lines_of(client, f"{agent}-{fault.name}") == ["{}", "{}"]


async def test_the_same_bytes_of_another_are_not_taken_for_a_lost_try(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon
) -> None:
    """Once it is clear that a lost try has stored nothing, what is found elsewhere is another's."""
    meanwhile = iter(["of another", None, "the same"])

    def plan(name: str) -> Fault:
        if name != APPEND:
            return Fault.NONE
        line = next(meanwhile, None)
        if line is not None:
            daemon.call(APPEND, definition_id=agent, line=line)
        return Fault.REQUEST_LOST if line == "of another" else Fault.NONE

    proxy.plan = plan
    assert not (await client.append_output(agent, "the same")).duplicate
    assert await lines_of(client, agent) == ["of another", "the same", "the same"]


@pytest.mark.parametrize("before", [[], ["{}"], ["{}", "{}"]])
@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST])
async def test_an_append_whose_session_is_archived_before_it_is_sent_again_is_stored_once(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon, before: list[str], fault: Fault
) -> None:
    """The archive tells whether it holds the lines; if it does not, they go to the session that is current by then."""
    if before:
        await client.append_output(agent, before)
    proxy.plan = first(APPEND, fault)
    proxy.on_fault = lambda: daemon.call(ARCHIVE, definition_id=agent)
    appended = await client.append_output(agent, ["{}", "last"])
    assert await lines_of(client, agent) == [*before, "{}", "last"]
    assert appended.duplicate == (fault is Fault.ANSWER_LOST)
    current = (await client.stat([agent]))[0].session_id
    assert (appended.session_id == current) == (fault is Fault.REQUEST_LOST)
    assert (await client.append_output(agent, "next")).duplicate is False
    assert await lines_of(client, agent) == [*before, "{}", "last", "next"]


async def test_an_archive_without_output_holds_no_append(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon
) -> None:
    """What was lost before it was done is stored, whatever came and went meanwhile."""
    proxy.plan = first(APPEND, Fault.REQUEST_LOST)

    def come_and_go() -> None:
        daemon.call(WRITE, definition_id=agent, content="{}")
        daemon.call(ARCHIVE, definition_id=agent)

    proxy.on_fault = come_and_go
    assert not (await client.append_output(agent, "{}")).duplicate
    assert await lines_of(client, agent) == ["{}"]


async def test_an_append_bound_to_a_session_is_never_put_into_another(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon
) -> None:
    """Lost and then archived it is done where the archive holds it, and refused where that does not."""
    session_id = (await client.append_output(agent, "first")).session_id
    proxy.plan = first(APPEND, Fault.ANSWER_LOST)
    proxy.on_fault = lambda: daemon.call(ARCHIVE, definition_id=agent)
    appended = await client.append_output(agent, "second", session_id=session_id)
    assert (appended.duplicate, appended.session_id, appended.offset, appended.total_lines) == (True, session_id, 6, 2)
    with pytest.raises(StaleSessionError):
        await client.append_output(agent, "third", session_id=session_id)
    assert await lines_of(client, agent) == ["first", "second"]


async def test_two_writers_an_archiver_and_a_bad_line_lose_nothing_and_double_nothing(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon
) -> None:
    """Each line of each writer is in exactly one session, once, and in its writer's order."""
    proxy.plan = every_third(Fault.ANSWER_LOST, Fault.REQUEST_LOST)

    async def write(writer: Client, name: str) -> None:
        for number in range(60):
            await writer.append_output(agent, f"{name}{number}")

    async with Client(daemon.url, daemon.token) as other:
        writing = asyncio.gather(write(client, "a"), write(other, "b"))
        archived = 0
        while not writing.done():
            archived += (await other.archive(agent)).session_id is not None
        await writing
        lines = await lines_of(other, agent)
    assert archived > 1
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [f"{name}{number}" for number in range(60)]


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
async def test_an_offset_of_the_callers_own_is_sent_again_as_it_is(
    client: Client, proxy: FaultProxy, agent: str, fault: Fault
) -> None:
    """It is never shifted: what is not at that offset is refused, whatever was lost."""
    await client.append_output(agent, "first")
    proxy.plan = first(APPEND, fault)
    appended = await client.append_output(agent, "second", expect_offset=6)
    assert (appended.offset, appended.size_bytes) == (6, 13)
    assert (await client.append_output(agent, "second", expect_offset=6)).duplicate
    proxy.plan = first(APPEND, fault)
    with pytest.raises(OffsetMismatchError):
        await client.append_output(agent, "third", expect_offset=6)
    assert await lines_of(client, agent) == ["first", "second"]


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
async def test_reads_writes_and_archives_of_a_session_are_sent_again(
    client: Client, proxy: FaultProxy, agent: str, fault: Fault
) -> None:
    """What may be executed twice is."""
    proxy.plan = first(WRITE, fault)
    written = await client.write_state(agent, "{}")
    assert written.revision == 1
    proxy.plan = first("agent:session:read", fault)
    assert (await client.read(agent)).content == "{}"
    proxy.plan = first(ARCHIVE, fault)
    archived = await client.archive(agent, written.session_id)
    assert [row.archived_at_ms for row in await client.list_archives(agent)] == [archived.archived_at_ms]


async def test_an_archive_of_whichever_session_is_not_sent_again(client: Client, proxy: FaultProxy, agent: str) -> None:
    """It might archive the next session as well; that it may have been executed is what the error says."""
    await client.append_output(agent, "{}")
    proxy.plan = first(ARCHIVE, Fault.ANSWER_LOST)
    with pytest.raises(BrokenOffError):
        await client.archive(agent)
    assert [fault for name, fault in proxy.requests if name == ARCHIVE] == [Fault.ANSWER_LOST]
    assert len(await client.list_archives(agent)) == 1


async def test_a_write_that_is_done_already_is_no_conflict(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon
) -> None:
    """Sent again after a lost answer, a write that expects a revision meets its own; that of another is a conflict."""
    proxy.plan = first(WRITE, Fault.ANSWER_LOST)
    written = await client.write_state(agent, '"mine"', expect_revision=0)
    assert (written.revision, written.bytes_written) == (1, 6)
    proxy.plan = first(WRITE, Fault.ANSWER_LOST)
    proxy.on_fault = lambda: daemon.call(WRITE, definition_id=agent, content='"of another"')
    with pytest.raises(RevisionMismatchError):
        await client.write_state(agent, '"mine again"', expect_revision=1)
    with pytest.raises(RevisionMismatchError):
        await client.write_state(agent, '"of another"', expect_revision=1)
    assert (await client.read(agent)).content == '"of another"'


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST])
async def test_a_write_whose_session_is_archived_before_it_is_sent_again(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon, fault: Fault
) -> None:
    """It is done where the archive holds it, and stale where that does not; the next session gets nothing of it."""
    session_id = (await client.append_output(agent, "{}")).session_id
    proxy.plan = first(WRITE, fault)
    proxy.on_fault = lambda: daemon.call(ARCHIVE, definition_id=agent)
    if fault is Fault.ANSWER_LOST:
        assert (await client.write_state(agent, '"mine"', session_id=session_id)).session_id == session_id
    else:
        with pytest.raises(StaleSessionError):
            await client.write_state(agent, '"mine"', session_id=session_id)
    (row,) = await client.list_archives(agent)
    expected = '"mine"' if fault is Fault.ANSWER_LOST else None
    assert (await client.read_archive(agent, row.archived_at_ms)).content == expected
    assert (await client.read(agent)).content is None


async def test_follow_gives_a_session_that_has_come_and_gone_while_nobody_looked(
    client: Client, agent: str, daemon: Daemon
) -> None:
    """The first of them, where there were several."""
    daemon.call(APPEND, definition_id=agent, line="long ago")
    daemon.call(ARCHIVE, definition_id=agent)

    async def live(_seconds: float) -> None:
        for line in ("first", "second"):
            daemon.call(APPEND, definition_id=agent, line=line)
            daemon.call(ARCHIVE, definition_id=agent)

    client._link.pace = Pace(30, sleep=live)
    assert [line async for line in client.follow(agent)] == ["first"]


async def test_follow_misses_nothing_and_doubles_nothing(
    client: Client, proxy: FaultProxy, agent: str, daemon: Daemon
) -> None:
    """Lost answers and pages of its own reading do not show in what it yields."""
    proxy.plan = every_third(Fault.ANSWER_LOST, Fault.ANSWER_CUT, Fault.REQUEST_LOST)
    lines = []
    for number in range(5):
        daemon.call(APPEND, definition_id=agent, lines=[f"{number}-{each}" for each in range(3_000)])
    async for line in client.follow(agent, first_line=0):
        lines.append(line)
        if len(lines) == 15_000:
            daemon.call(APPEND, definition_id=agent, line="last")
            daemon.call(ARCHIVE, definition_id=agent)
    assert lines == [*(f"{number}-{each}" for number in range(5) for each in range(3_000)), "last"]


async def test_appends_go_on_where_a_killed_daemon_is_started_anew(tmp_path: Path) -> None:
    """Found by its data directory it is found again, with another port and another token; no line is lost or stored twice."""
    data_dir = tmp_path / "data"
    daemon = Daemon.start(data_dir)
    try:
        async with Client.find(data_dir) as client:
            for number in range(60):
                append = asyncio.ensure_future(client.append_output("maks", f"{number}"))
                if number % 20 == 10:
                    for _ in range(number // 5):
                        await asyncio.sleep(0)  # the append is more or less far on its way
                    daemon.kill()
                    daemon = await asyncio.to_thread(Daemon.start, data_dir)
                await append
            assert await lines_of(client, "maks") == [f"{number}" for number in range(60)]
            assert (await client.status())["pid"] == daemon.process.pid
    finally:
        daemon.kill()


async def test_a_daemon_that_was_killed_is_not_waited_for_by_who_never_knew_it(tmp_path: Path) -> None:
    """What it left leads nowhere: that no daemon runs, and how to start one, is said at once, by raw calls as well."""
    data_dir = tmp_path / "data"
    Daemon.start(data_dir).kill()
    async with Client.find(data_dir) as client:
        for call in (client.status, partial(client.call, "srv:status")):
            with pytest.raises(NoDaemonError, match=f"zonekeeper serve --data-dir {data_dir}"):
                await call()
    with pytest.raises(NoDaemonError):
        Client.find(tmp_path)
