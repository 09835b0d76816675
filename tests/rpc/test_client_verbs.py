"""Every verb of the client against the real daemon, over TCP and over its Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

from rpc.client import Client
from rpc.client_records import MountedOutput, MountedSnapshot, Snapshot
from rpc.errors import NUMBERS, RpcError, store_error, wire_error
from store.errors import (
    InvalidDefinitionIdError,
    InvalidParamsError,
    OffsetMismatchError,
    RevisionMismatchError,
    StaleSessionError,
    TooLargeError,
    ZoneNotFoundError,
)
from store.zones import Zone
from tests.srv.daemon import Daemon

CONTENT: Final = '{"nodes": [{"type": "user_message", "message": "Grüße"}]}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon with a Unix socket for all tests of this file."""
    folder = tmp_path_factory.mktemp("verbs")
    with Daemon.start(folder / "data", "--unix-socket", str(folder / "s")) as running:
        yield running


@pytest.fixture(params=["tcp", "unix"])
async def client(daemon: Daemon, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Return a client over each kind of connection."""
    over_tcp = request.param == "tcp"
    socket = None if over_tcp else daemon.ready["unix_socket"]
    async with Client(daemon.url, daemon.token if over_tcp else None, socket) as opened:
        yield opened


async def test_a_session_from_its_first_line_to_its_archive(client: Client, agent: str) -> None:
    """Each verb gives a record with what the daemon answered."""
    assert await client.read(agent) == Snapshot()
    appended = await client.append_output(agent, ['{"n": 0}', "é"])
    assert (appended.bytes_written, appended.offset, appended.size_bytes, appended.total_lines) == (12, 0, 12, 2)
    session_id = appended.session_id
    written = await client.write_state(agent, CONTENT, session_id=session_id, expect_revision=0, covers_line=1)
    assert (written.bytes_written, written.revision, written.session_id) == (len(CONTENT.encode()), 1, session_id)
    snapshot = Snapshot(CONTENT, written.modts, 1, session_id)
    assert await client.read(agent) == snapshot
    assert await client.read(agent, if_revision=1) == Snapshot(None, written.modts, 1, session_id, unchanged=True)
    mounted = await client.mount(agent)
    assert mounted.session_id == session_id
    assert mounted.snapshot == MountedSnapshot(CONTENT, written.modts, 1, covers_line=1)
    assert mounted.output == MountedOutput(["é"], 1, 2, 12)
    page = await client.read_output(agent, first_line=0, limit=1, session_id=session_id)
    assert (page.lines, page.next_line, page.total_lines) == (['{"n": 0}'], 1, 2)
    (stat,) = await client.stat([agent])
    assert (stat.session_id, stat.output_bytes, stat.archives) == (session_id, 12, 0)
    archived = await client.archive(agent, session_id)
    assert archived.archived_at_ms is not None
    assert archived.archive_zoneid == Zone(agent, archived.archived_at_ms)
    assert await client.archive(agent, session_id) == archived
    (row,) = await client.list_archives(agent)
    assert (row.archive_zoneid, row.preview, row.session_id) == (archived.archive_zoneid, "Grüße", session_id)
    assert await client.read_archive(agent, row.archived_at_ms) == snapshot
    assert (await client.read_output(agent, row.archived_at_ms)).lines == ['{"n": 0}', "é"]
    assert await client.list_archives(agent, before_ms=row.archived_at_ms) == []
    nothing = await client.archive(agent)
    assert (nothing.archive_zoneid, nothing.archived_at_ms, nothing.session_id) == (None, None, None)


async def test_agents_come_in_pages(client: Client, agent: str) -> None:
    """`next` leads on, and is None on the last page."""
    for number in range(3):
        await client.append_output(f"{agent}-{number}", "{}")
    page = await client.list_agents(limit=2, after=agent)
    assert [each.definition_id for each in page.agents] == [f"{agent}-0", f"{agent}-1"]
    assert page.next == f"{agent}-1"
    assert (await client.list_agents(after="zzzz")).next is None


async def test_the_daemon_describes_itself(client: Client, daemon: Daemon) -> None:
    """Its status and its OpenRPC document come as they are."""
    assert (await client.status())["pid"] == daemon.process.pid
    assert (await client.discover())["openrpc"].startswith("1.")


async def test_errors_are_those_of_the_store(client: Client, agent: str) -> None:
    """The class, the sentence, the hint and the facts are those of the exception that the store raised."""
    with pytest.raises(InvalidDefinitionIdError) as invalid:
        await client.read("a/b")
    assert str(invalid.value).startswith("INVALID_DEFINITION_ID: must match")
    with pytest.raises(StaleSessionError):
        await client.write_state(agent, "{}", session_id="another")
    with pytest.raises(RevisionMismatchError) as revision:
        await client.write_state(agent, "{}", expect_revision=3)
    assert revision.value.facts == {"revision": 0}
    assert revision.value.hint == RevisionMismatchError.hint
    with pytest.raises(OffsetMismatchError) as offset:
        await client.append_output(agent, "{}", expect_offset=5)
    assert offset.value.facts == {"size_bytes": 0}
    with pytest.raises(ZoneNotFoundError):
        await client.read_archive(agent, 1)
    with pytest.raises(InvalidParamsError) as params:
        await client.append_output(agent, [])
    assert params.value.facts == {"param": "lines"}
    with pytest.raises(TooLargeError) as large:
        await client.append_output(agent, ["x"] * 10_001)
    assert large.value.facts == {"limit": "append_lines_max", "max": 10_000}
    assert (await client.stat([agent]))[0].session_id is None


def test_every_error_of_the_store_finds_its_way_back() -> None:
    """Whatever word goes over the wire, the same class comes back, with its sentence and its facts."""
    for word in NUMBERS:
        error = store_error("a sentence", {"code": word, "hint": "", "retry": False, "fact": 1})
        assert error is not None
        assert (error.word, str(error), error.facts) == (word, "a sentence", {"fact": 1})
    sent = wire_error(OffsetMismatchError(3, 5))
    assert isinstance(back := store_error(sent.message, sent.data), OffsetMismatchError)
    assert wire_error(back) == sent
    unknown: list[Any] = [None, [], {}, {"code": "NEWER"}, {"code": []}, {"code": "INTERNAL"}]
    for data in unknown:
        assert store_error("a sentence", data) is None


async def test_an_error_without_a_class_is_an_rpc_error(client: Client) -> None:
    """`call` raises every error as one, as it came."""
    with pytest.raises(RpcError) as unknown:
        await client.call("unknown")
    assert (unknown.value.code, unknown.value.word, unknown.value.retry) == (-32601, None, False)
    with pytest.raises(RpcError) as stale:
        await client.call("agent:session:archive", ["maks", "another"])
    assert stale.value.word == "STALE_SESSION"


async def test_appends_of_one_client_to_one_agent_keep_their_order(client: Client, agent: str) -> None:
    """Started at once they do not fight each other: none is refused, and each is stored once, behind the one before."""
    appended = await asyncio.gather(*(client.append_output(agent, f"{number}") for number in range(50)))
    assert [each.duplicate for each in appended] == [False] * 50
    assert (await client.read_output(agent)).lines == [f"{number}" for number in range(50)]


async def test_two_clients_that_append_the_same_line_store_it_twice(client: Client, agent: str, daemon: Daemon) -> None:
    """What is there already when a client sends for the first time is another's, however equal."""
    async with Client(daemon.url, daemon.token) as other:
        await asyncio.gather(*(each.append_output(agent, "{}") for each in [client, other] * 20))
    assert (await client.read_output(agent)).total_lines == 40


async def test_an_append_goes_to_the_session_that_is_current(client: Client, agent: str, daemon: Daemon) -> None:
    """Another may have archived the session and begun a new one; only who names a session is bound to it."""
    first = await client.append_output(agent, "first")
    daemon.call("agent:session:archive", definition_id=agent)
    with pytest.raises(StaleSessionError):
        await client.append_output(agent, "late", session_id=first.session_id)
    second = await client.append_output(agent, "second")
    assert second.session_id != first.session_id
    assert (await client.read_output(agent)).lines == ["second"]


async def test_follow_yields_each_line_once_and_ends_with_the_archive(client: Client, agent: str) -> None:
    """From the first line asked for, through what is appended meanwhile, to the end of the session."""
    await client.append_output(agent, ["0", "1", "2"])
    lines = []
    async for line in client.follow(agent, first_line=1):
        lines.append(line)
        if line == "2":
            await client.append_output(agent, ["3", " ", "4"])
        if line == "4":
            await client.append_output(agent, "5")
            await client.archive(agent)
            await client.append_output(agent, "of the next session")
    assert lines == ["1", "2", "3", "4", "5"]


async def test_follow_finds_a_session_that_is_archived_by_now(client: Client, agent: str) -> None:
    """Whoever has read some of it gets the rest of the same session, and nothing of the one that is current."""
    first = await client.append_output(agent, ["a", "b", "c"])
    await client.archive(agent)
    await client.append_output(agent, ["of the next session"])
    rest = [line async for line in client.follow(agent, first_line=1, session_id=first.session_id)]
    assert rest == ["b", "c"]


async def test_follow_waits_for_a_fresh_agent(client: Client, agent: str) -> None:
    """It begins with the first line of the session that comes."""
    following = client.follow(agent)
    first = asyncio.ensure_future(anext(following))
    await client.append_output(agent, "first")
    assert await first == "first"
    await client.archive(agent)
    assert [line async for line in following] == []


def test_an_url_that_is_none_is_refused() -> None:
    """Before anything is sent, with what is wrong."""
    for url in ("127.0.0.1:8377", "ftp://127.0.0.1", "http://", "", "http://[::1", "http://a:99999", "http://a:x"):
        with pytest.raises(ValueError, match="url must be like"):
            Client(url)


async def test_find_speaks_to_the_daemon_of_a_data_directory(daemon: Daemon) -> None:
    """Found by the file that it leaves there."""
    async with Client.find(daemon.data_dir) as client:
        assert (await client.status())["pid"] == daemon.process.pid
