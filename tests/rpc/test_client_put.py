"""Snapshots streamed to the real daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from rpc.client import Client
from rpc.errors import BrokenOffError
from rpc.retries import Pace
from store.errors import InvalidDefinitionIdError, RevisionMismatchError, StaleSessionError, TooLargeError
from tests.rpc.fault_proxy import Fault, FaultProxy, no_time
from tests.srv.daemon import Daemon

CONTENT: Final = '{"nodes": "' + "é" * 700_000 + '"}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon that takes snapshots of 4 MiB."""
    folder = tmp_path_factory.mktemp("put")
    options = ("--unix-socket", str(folder / "s"), "--snapshot-bytes-max", "4MiB")
    with Daemon.start(folder / "data", *options) as running:
        yield running


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    """Return a client that goes through the proxy and waits for nothing."""
    async with Client("http://localhost", unix_socket=proxy.socket) as opened:
        opened._link.pace = Pace(30, sleep=no_time)
        yield opened


async def pieces(content: str, asked: list[int] | None = None) -> AsyncIterator[bytes]:
    """Give a content in pieces that end anywhere, and note how often it was asked for."""
    if asked is not None:
        asked.append(1)
    data = content.encode()
    for start in range(0, len(data), 99_999):
        yield data[start : start + 99_999]


async def test_a_snapshot_is_stored_as_it_was_streamed(client: Client, agent: str) -> None:
    """Whole or in pieces, with what was said of it; the answer is that of a write."""
    appended = await client.append_output(agent, ["{}", "{}"])
    written = await client.put_state(agent, CONTENT.encode(), session_id=appended.session_id, covers_line=1)
    assert (written.bytes_written, written.revision) == (len(CONTENT.encode()), 1)
    mounted = await client.mount(agent)
    assert mounted.snapshot is not None
    assert (mounted.snapshot.content, mounted.snapshot.covers_line) == (CONTENT, 1)
    again = await client.put_state(agent, pieces(CONTENT), expect_revision=1)
    assert again == written
    assert (await client.put_state(agent, pieces("{}"), expect_revision=1)).revision == 2
    assert (await client.read(agent)).content == "{}"


async def test_errors_of_a_put_are_those_of_a_write(client: Client, agent: str) -> None:
    """Class, sentence and facts."""
    with pytest.raises(RevisionMismatchError) as mismatch:
        await client.put_state(agent, b"{}", expect_revision=3)
    with pytest.raises(RevisionMismatchError) as written:
        await client.write_state(agent, "{}", expect_revision=3)
    assert (str(mismatch.value), mismatch.value.facts) == (str(written.value), written.value.facts)
    with pytest.raises(StaleSessionError):
        await client.put_state(agent, pieces("{}"), session_id="another")
    with pytest.raises(TooLargeError) as large:
        await client.put_state(agent, pieces(CONTENT * 4))
    assert large.value.facts["limit"] == "snapshot_bytes_max"
    with pytest.raises(InvalidDefinitionIdError):
        await client.put_state("../maks", b"{}")
    assert (await client.stat([agent]))[0].session_id is None


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
async def test_what_is_at_hand_is_sent_again(client: Client, proxy: FaultProxy, agent: str, fault: Fault) -> None:
    """A write that is done already is no conflict."""
    left = [fault]
    proxy.plan = lambda name: left.pop() if name.startswith("PUT ") and left else Fault.NONE
    assert (await client.put_state(agent, CONTENT.encode(), expect_revision=0)).revision == 1
    assert (await client.read(agent)).content == CONTENT


async def test_what_was_streamed_is_not(client: Client, proxy: FaultProxy, agent: str) -> None:
    """It cannot be given again: that it may be stored is what the error says."""
    asked: list[int] = []
    proxy.plan = lambda name: Fault.ANSWER_LOST if name.startswith("PUT ") else Fault.NONE
    with pytest.raises(BrokenOffError):
        await client.put_state(agent, pieces(CONTENT, asked))
    assert asked == [1]
    assert (await client.read(agent)).content == CONTENT


async def test_what_was_not_begun_to_be_streamed_is_tried_again(tmp_path: Path, agent: str, daemon: Daemon) -> None:
    """A refused connection has taken nothing of it."""
    asked: list[int] = []
    async with Client("http://localhost", unix_socket=tmp_path / "s") as client:

        async def link(_seconds: float) -> None:
            assert asked == []
            (tmp_path / "s").symlink_to(daemon.ready["unix_socket"])

        client._link.pace = Pace(30, sleep=link)
        await client.put_state(agent, pieces("{}", asked))
    assert asked == [1]
