"""The disk is full: nothing of the change is stored, reads go on, and writes work again when there is room.

Here to the batch; what callers see of a real disk stands in `test_refusals.py`.
"""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from store.engine import AppendOutput, ArchiveSession, Change, WriteState
from store.errors import StorageFullError
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS, EngineKind, OpenStore
from tests.contract.made import content_of
from tests.faults.conftest import SQLITE, OnWriter

LARGE_BYTES = 4_000_000
ZONE = agent_current_zone("agent")


@pytest.fixture
def engine_kind() -> EngineKind:
    """Return SQLite: it can be told how many pages its file may have."""
    return SQLITE


async def fill_up(on_writer: OnWriter) -> None:
    """Let the file take no further page than it has."""
    await on_writer("PRAGMA max_page_count = 1")


async def make_room(on_writer: OnWriter) -> None:
    """Let the file grow again."""
    await on_writer("PRAGMA max_page_count = 1000000")


async def test_a_change_that_does_not_fit_is_storage_full(store: OpenStore, on_writer: OnWriter) -> None:
    """STORAGE_FULL, worth a retry; everything stored before is read as ever."""
    await store.sessions.write_session_state("agent", b"before")
    await store.sessions.append_session_output("agent", ["a"])
    await fill_up(on_writer)
    with pytest.raises(StorageFullError) as caught:
        await store.sessions.write_session_state("agent", b"x" * 1_000_000)
    assert (caught.value.word, caught.value.retry) == ("STORAGE_FULL", True)
    with pytest.raises(StorageFullError):
        await store.sessions.append_session_output("agent", ["x" * 100_000])
    mount = await store.sessions.mount("agent")
    assert (content_of(mount.state), mount.output.lines) == (b"before", ["a"])


async def test_writes_work_again_when_there_is_room(store: OpenStore, on_writer: OnWriter) -> None:
    """The very calls that failed go through, and go on exactly where the store was."""
    first = await store.sessions.append_session_output("agent", ["a"])
    await fill_up(on_writer)
    for _ in range(3):
        with pytest.raises(StorageFullError):
            await store.sessions.append_session_output("agent", ["b" * 100_000], expect_offset=2)
    await make_room(on_writer)
    second = await store.sessions.append_session_output("agent", ["b" * 100_000], expect_offset=2)
    assert (second.offset, second.total_lines, second.session_id) == (2, 2, first.session_id)
    await store.reopen()
    page = await store.sessions.read_output("agent")
    assert page.lines == ["a", "b" * 100_000]


async def test_what_did_not_fit_is_let_go_of(store: OpenStore, on_writer: OnWriter) -> None:
    """No error or traceback holds it until the garbage collector comes by; nor does the writer hold what did fit."""
    await store.sessions.write_session_state("agent", b"before")
    gc.disable()
    tracemalloc.start()
    try:
        await store.sessions.write_session_state("agent", b"a" * LARGE_BYTES)
        await fill_up(on_writer)
        for _ in range(3):
            with pytest.raises(StorageFullError):
                await store.sessions.write_session_state("other", b"b" * LARGE_BYTES)
        await make_room(on_writer)  # and the writer's thread is done with what was before
        assert tracemalloc.get_traced_memory()[0] < LARGE_BYTES
    finally:
        tracemalloc.stop()
        gc.enable()


async def test_a_new_session_that_does_not_fit_leaves_nothing_behind(store: OpenStore, on_writer: OnWriter) -> None:
    """The session that failed to come into being is not there, on disk or in memory: the next one has its own id."""
    await fill_up(on_writer)
    with pytest.raises(StorageFullError):
        await store.sessions.write_session_state("agent", b"x" * 100_000)
    assert await store.sessions.list_agents() == ([], None)
    await make_room(on_writer)
    written = await store.sessions.write_session_state("agent", b"y", expect_revision=0)
    appended = await store.sessions.append_session_output("agent", ["a"], session_id=written.session_id)
    assert (written.revision, appended.offset) == (1, 0)


async def test_the_change_that_does_not_fit_does_not_take_the_others_with_it(
    store: OpenStore, on_writer: OnWriter
) -> None:
    """Of one batch the small changes are stored, the large one is refused, and each answer is true."""
    for number in range(3):
        await store.sessions.append_session_output(f"agent-{number}", ["a"])
    await fill_up(on_writer)
    change: list[Change] = [
        AppendOutput(agent_current_zone("agent-0"), b"b\n", BEGINNING_MS, expect_offset=2),
        WriteState(agent_current_zone("agent-1"), b"x" * 1_000_000, BEGINNING_MS),
        AppendOutput(agent_current_zone("agent-2"), b"b\n", BEGINNING_MS, expect_offset=2),
    ]
    with pytest.raises(StorageFullError):
        await store.engine.apply(change)
    sizes = [stat.output_bytes for stat in await store.sessions.stat(["agent-0", "agent-1", "agent-2"])]
    assert sizes == [2, 2, 2]
    await store.writer.submit(change[0])
    with pytest.raises(StorageFullError):
        await store.writer.submit(change[1])
    await store.writer.submit(change[2])
    sizes = [stat.output_bytes for stat in await store.sessions.stat(["agent-0", "agent-1", "agent-2"])]
    assert sizes == [4, 2, 4]


async def test_a_batch_rolled_back_in_its_middle_leaves_memory_and_disk_agreeing(
    store: OpenStore, on_writer: OnWriter
) -> None:
    """Append, archive, append, then a change that fails: all are undone, and what follows goes on from before them."""
    await store.sessions.append_session_output("agent", ["a"])
    before = await store.engine.zones_of("agent")
    await fill_up(on_writer)
    batch: list[Change] = [
        AppendOutput(ZONE, b"b\n", BEGINNING_MS),
        ArchiveSession(ZONE, BEGINNING_MS),
        AppendOutput(ZONE, b"c\n", BEGINNING_MS),
        WriteState(ZONE, b"x" * 1_000_000, BEGINNING_MS),
        AppendOutput(ZONE, b"d\n", BEGINNING_MS),
    ]
    with pytest.raises(StorageFullError):
        await store.engine.apply(batch)
    assert await store.engine.zones_of("agent") == before
    appended = await store.sessions.append_session_output("agent", ["e"], session_id=before[0].session_id)
    assert (appended.offset, appended.size_bytes, appended.total_lines) == (2, 4, 2)
    await make_room(on_writer)
    await store.engine.apply(batch)
    assert (await store.sessions.read_output("agent", BEGINNING_MS)).lines == ["a", "e", "b"]
    assert (await store.sessions.read_output("agent")).lines == ["c", "d"]
