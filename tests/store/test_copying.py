"""Copies of stores, in either direction: what they have in common, how they go on, and what they refuse."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cluster import execute
from store import copying, reads
from store.copied import CopySession, DropSession
from store.copy_pieces import Chunks
from store.copying import CopyReport, CopyStoppedError
from store.engine import (
    AppendOutput,
    Change,
    CompleteSession,
    Engine,
    KeepPreview,
    MoveSession,
    Outcome,
    WriteState,
)
from store.errors import StorageDamagedError, StorageUnavailableError, StoreRefusedError
from store.moving import copy_place
from store.place import Place
from store.postgres.place import DatabasePlace
from store.records import FilePiece, FileStat, SessionFacts
from store.sqlite.check import check_store
from store.sqlite.place import FilePlace
from store.stored import read_parts
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import BEGINNING_MS, ENGINE_KINDS, OpenStore
from tests.contract.made import AGENT, OTHER, archived_at, session_from
from tests.postgres.foreign import connected, having_by_default
from tests.postgres.server import DATABASES
from tests.store.foreign import meddling

NOW = BEGINNING_MS + 5_000


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every step small, so that a little content takes many."""
    monkeypatch.setattr(copying, "COPY_BYTES_MAX", 100_000)
    monkeypatch.setattr(copying, "COPY_SESSIONS_MAX", 3)
    monkeypatch.setattr(copying, "_PAGE", 4)


@pytest.fixture
async def source(store: OpenStore, tmp_path: Path) -> Place:
    """Return the place of a store that is open and has sessions of every kind."""
    await store.previews.stop()  # which changes sessions on its own
    await store.sessions.write_session_state(AGENT, b"{}" * 40_000, covers_line=3)
    for number in range(5):
        line = f"{number} {'x' * 60_000}"
        await store.sessions.append_session_output(AGENT, [line, ""])
    for at_ms in range(1, 9):
        await archived_at(store, OTHER, at_ms, b'{"nodes": []}' + b" " * at_ms)
    await store.writer.submit(KeepPreview(agent_archive_zone(OTHER, 3), "a\0preview", 7))
    files = {"output": b"a\n\nb", "notes": b"y" * 150_000, "empty": b""}
    imported = replace(session_from(agent_archive_zone("old", 5), files), origin="block:1")
    await store.writer.submit(imported)
    await store.writer.submit(session_from(agent_current_zone("empty"), {}))
    return await place_of(store, tmp_path)


async def place_of(store: OpenStore, directory: Path) -> Place:
    """Return the place of a test's store."""
    if store.engine.name == "sqlite":
        return FilePlace(directory / "zones.db")
    return DatabasePlace(await DATABASES.url_of(directory), asyncio.new_event_loop)


@pytest.fixture
async def target(store: OpenStore, tmp_path: Path) -> AsyncIterator[Place]:
    """Return a place of the other kind."""
    directory = tmp_path / "target"
    if store.engine.name == "sqlite":
        yield DatabasePlace(await DATABASES.url_of(directory), asyncio.new_event_loop)
        DATABASES.release(directory)
    else:
        directory.mkdir()
        yield FilePlace(directory / "zones.db")


async def copy(
    source: Place,
    target: Place,
    *,
    verify_all: bool = False,
    steps: int | None = None,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> CopyReport:
    """Copy, and stop after so many steps where that is said; something may happen once the first sessions are compared."""
    loop = asyncio.get_running_loop()
    left = [steps]

    def stop() -> bool:
        if left[0] is None:
            return False
        left[0] -= 1
        return left[0] < 0

    told: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        if meanwhile is not None and not told:
            asyncio.run_coroutine_threadsafe(_awaited(meanwhile), loop).result()
        told.append((what, done, total))

    report, _ = await copy_place(
        source,
        target,
        is_held=False,
        progress=progress,
        stop=stop,
        verify_all=verify_all,
    )
    assert told[-1][1] == told[-1][2]
    return report


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def content_of(place: Place) -> dict[str, tuple[SessionFacts, dict[str, bytes]]]:
    """Return all that a place keeps, by session."""
    return await asyncio.to_thread(_content_of, place)


def _content_of(place: Place) -> dict[str, tuple[SessionFacts, dict[str, bytes]]]:
    with place.reader() as reader, reader.transaction() as handle:
        return {
            facts.session_id: (
                facts,
                {
                    file.name: b"".join(part.data for part in read_parts(handle, key, facts.zone, file.name))
                    for file in facts.files
                },
            )
            for key, facts in reads.sessions_after(handle, "", 1_000)
        }


async def apply(store: OpenStore, *changes: Change) -> None:
    """Have the source's daemon change something."""
    for change in changes:
        await store.writer.submit(change)


async def change_copy(target: Place, change: CopySession) -> None:
    """Change a whole copy, as a further run would."""
    engine = await target.open(is_target=True)
    await engine.begin_copy()
    await engine.apply([change])
    await engine.finish_copy()
    await engine.close()


async def test_a_copy_that_another_run_has_finished_is_not_changed_any_more(source: Place, target: Place) -> None:
    """Two runs at once: whichever is slower stops, as a daemon may have taken the copy by then."""
    slower = await target.open(is_target=True)
    await slower.begin_copy()
    await copy(source, target)
    facts, _ = next(iter((await content_of(target)).values()))
    with pytest.raises(StorageUnavailableError, match="finished that"):
        await slower.apply([DropSession(facts.zone, facts.session_id)])
    await slower.close()
    assert await content_of(target) == await content_of(source)


async def test_a_copy_in_a_file_is_whole_without_a_log(source: Place, tmp_path: Path) -> None:
    """Whoever moves or keeps that file alone has everything."""
    (tmp_path / "alone").mkdir()
    await copy(source, FilePlace(tmp_path / "alone" / "zones.db"))
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["zones.db"]


async def test_a_copy_is_what_its_source_is(source: Place, target: Place) -> None:
    """All that clients can see and all that is kept for later, with a digest that tells so, and nothing is read twice."""
    report = await copy(source, target, verify_all=True)
    copied = await content_of(target)
    assert copied == await content_of(source)
    assert (report.sessions, report.sessions_changed, report.failures) == (len(copied), len(copied), [])
    assert report.bytes_copied == sum(file.size_bytes for facts, _ in copied.values() for file in facts.files)
    again = await copy(source, target)
    assert (again.sessions_changed, again.bytes_copied, again.files_verified) == (0, 0, 0)
    assert (await copy(source, target, verify_all=True)).digest == report.digest
    if isinstance(target, FilePlace):
        assert check_store(target.path).findings == []


async def test_what_changes_meanwhile_is_followed(store: OpenStore, source: Place, target: Place) -> None:
    """Growth is added, another snapshot replaces the old one, and what was archived or moved is moved, not copied again."""
    await copy(source, target)
    await store.sessions.append_session_output("old", ["begun since"])
    await apply(
        store,
        AppendOutput(agent_current_zone(AGENT), b"one more line\n", NOW),
        WriteState(agent_current_zone(AGENT), b"[]", NOW, covers_line=None),
        MoveSession(agent_archive_zone("old", 5), agent_archive_zone("new", 5)),
    )
    grown = await copy(source, target)
    assert grown.bytes_copied < 100
    assert await content_of(target) == await content_of(source)
    # A circle: the archive becomes the current session, and that one the archive.
    store.clock.now_ms = NOW
    current = agent_current_zone(AGENT)
    archived = await store.sessions.archive_session(AGENT)
    await store.sessions.append_session_output(AGENT, ["new"])
    first = agent_archive_zone(AGENT, archived.archived_at_ms or 0)
    await copy(source, target)
    await apply(store, MoveSession(current, agent_archive_zone(AGENT, NOW + 9)), MoveSession(first, current))
    await apply(store, MoveSession(agent_archive_zone(AGENT, NOW + 9), first))
    moved = await copy(source, target)
    assert moved.bytes_copied == 0
    assert await content_of(target) == await content_of(source)


async def test_what_makes_room_amid_a_run_is_brought_to_where_it_is(
    store: OpenStore, source: Place, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that was compared already is archived, and a new one, which is yet to come, takes its place."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
    await store.sessions.append_session_output("first", ["of all ids"])
    await copy(source, target)

    async def begin_anew() -> None:
        await store.sessions.archive_session("first")
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=2**128 - 1))
        await store.sessions.append_session_output("first", ["of another session"])
        monkeypatch.undo()

    await copy(source, target, meanwhile=begin_anew)
    assert await content_of(target) == await content_of(source)


async def test_what_was_not_stored_as_it_was_read_is_found(
    source: Place, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the target gives back is compared with what the source gave, of this run or, where that is asked for, of all."""

    class Spoiled(Chunks):
        def __call__(self) -> Generator[bytes, None, None]:
            for chunk in super().__call__():
                yield chunk.replace(b"y", b"z")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "Chunks", Spoiled)
        report = await copy(source, target)
    assert report.failures == [("agent:old:archive:5", "file notes was not stored as it was read")]
    assert (await copy(source, target)).failures == []
    copied = await content_of(target)
    assert copied == await content_of(source)
    facts = next(facts for facts, _ in copied.values() if facts.zone == "agent:old:archive:5")
    await change_copy(target, CopySession(facts, (FilePiece("notes", 0, lambda: [b"z" * 150_000]),)))
    report = await copy(source, target, verify_all=True)
    assert report.failures == [("agent:old:archive:5", "file notes has other bytes in the copy")]
    with pytest.raises(StoreRefusedError, match="not whole"):
        await target.open()
    await copy(source, target)
    assert await content_of(target) == copied


async def test_a_session_that_is_gone_goes(store: OpenStore, source: Place, target: Place) -> None:
    """One that another took the files of is deleted in the copy as well, and its files are where they belong."""
    await apply(store, session_from(agent_archive_zone("half", 1), {"output.state.json": b"{}"}))
    await copy(source, target)
    await apply(
        store,
        CompleteSession(agent_archive_zone("old", 5), agent_archive_zone("half", 1), ("output", "notes", "empty")),
    )
    report = await copy(source, target)
    assert report.sessions_dropped == 1
    assert await content_of(target) == await content_of(source)


async def test_a_session_that_goes_while_it_is_copied_is_said(
    store: OpenStore, source: Place, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amid its output, of which the copy has a half by then: nobody is served that, and the next run puts it right."""
    with monkeypatch.context() as patch:
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))  # the first of all
        await store.sessions.append_session_output("first", ["x" * 60_000] * 5)
    half = agent_archive_zone("half", 1)
    await apply(store, session_from(half, {"output.state.json": b"{}"}))

    async def take_files() -> None:
        await apply(store, CompleteSession(agent_current_zone("first"), half, ("output",)))

    report = await copy(source, target, meanwhile=take_files)
    assert report.failures == [("agent:first:current", "file output was deleted while it was copied")]
    with pytest.raises(StoreRefusedError, match="not whole"):
        await target.open()
    assert (await copy(source, target)).failures == []
    assert await content_of(target) == await content_of(source)


async def test_an_interrupted_copy_goes_on(source: Place, target: Place) -> None:
    """After any number of steps: nobody opens what it leaves, and another run copies the rest and no more."""
    everything = (await content_of(source)).values()
    size_bytes = sum(len(data) for _, files in everything for data in files.values())
    copied = 0
    steps = refused = 0
    while True:
        try:
            copied += (await copy(source, target, steps=steps)).bytes_copied
        except CopyStoppedError:
            steps += 1
            try:
                engine = await target.open()
            except StoreRefusedError as error:
                assert "not whole" in str(error)  # noqa: PT017 - before the first step there is nothing yet
                refused += 1
            else:
                assert await engine.list_agents(1, None) == []
                await engine.close()
        else:
            break
    assert steps > refused > 2
    assert 0 < copied < size_bytes
    assert await content_of(target) == await content_of(source)


async def test_a_copy_that_was_served_is_a_store_of_its_own(source: Place, target: Place) -> None:
    """Once a daemon has opened it nothing is copied to it any more, whatever it has taken since."""
    await copy(source, target)
    engine = await target.open()
    await engine.apply([AppendOutput(agent_current_zone(AGENT), b"the first line after the move\n", NOW)])
    await engine.close()
    with pytest.raises(StoreRefusedError, match="has sessions of its own"):
        await copy(source, target)
    back = await target.open()
    page = await back.read_output(agent_current_zone(AGENT), None, 1, 1_000)
    await back.close()
    assert page is not None
    assert page.lines == ["the first line after the move"]


async def test_a_copy_of_another_store_is_refused_as_it_is(source: Place, target: Place, tmp_path: Path) -> None:
    """Nothing of it is deleted for not being in the source, and it can still be served."""
    await copy(source, target)
    before = await content_of(target)
    stranger = FilePlace(tmp_path / "stranger.db")
    engine = await stranger.open()
    await engine.apply([WriteState(agent_current_zone(AGENT), b"{}", NOW)])
    await engine.close()
    with pytest.raises(StoreRefusedError, match="copy of another store"):
        await copy(stranger, target)
    assert await content_of(target) == before
    await (await target.open()).close()


async def test_an_earlier_state_is_not_copied_over_a_later_one(source: Place, target: Place) -> None:
    """An old backup as the source, say: the copy stays as it is."""
    await copy(source, target)
    facts, _ = next(each for each in (await content_of(target)).values() if each[0].zone == agent_current_zone(AGENT))
    later = replace(facts, files=tuple(replace(file, revision=file.revision + 1) for file in facts.files))
    size_bytes = next(file.size_bytes for file in facts.files if file.name == "output")
    await change_copy(target, CopySession(later, (FilePiece("output", size_bytes, list),)))
    before = await content_of(target)
    with pytest.raises(StoreRefusedError, match="an earlier state"):
        await copy(source, target)
    assert await content_of(target) == before


async def test_what_a_copy_has_beyond_its_source_goes(source: Place, target: Place) -> None:
    """The source was put back to an earlier state, and has gone another way since: without a file, and with fewer lines."""
    await copy(source, target)
    facts, _ = next(each for each in (await content_of(target)).values() if each[0].zone == agent_current_zone(AGENT))
    size_bytes = next(file.size_bytes for file in facts.files if file.name == "output")
    earlier = (replace(file, revision=file.revision - 1) for file in facts.files)
    other_way = replace(facts, files=(*earlier, FileStat("notes", 4, 0, NOW, 1)))
    pieces = FilePiece("output", size_bytes, lambda: [b"another\n"]), FilePiece("notes", 0, lambda: [b"gone"])
    await change_copy(target, CopySession(other_way, pieces))
    await copy(source, target)
    assert await content_of(target) == await content_of(source)


async def test_what_is_damaged_is_named_and_keeps_the_copy_from_being_served(
    store: OpenStore, source: Place, target: Place, tmp_path: Path
) -> None:
    """All else is copied; once it is mended in the source another run copies it."""
    zone = agent_current_zone(AGENT)
    if store.engine.name == "sqlite":
        with meddling(tmp_path / "zones.db") as connection:
            connection.execute("UPDATE file_parts SET crc32 = 1 WHERE name = 'output.state.json' AND start_byte > 0")
    else:
        spoil = "UPDATE zonekeeper.file_parts SET crc32 = 1 WHERE name = 'output.state.json' AND start_byte > 0"
        await execute(await DATABASES.url_of(tmp_path), spoil)
    report = await copy(source, target)
    assert [where for where, _ in report.failures] == [zone]
    with pytest.raises(StoreRefusedError, match="not whole"):
        await target.open()
    with pytest.raises(StorageDamagedError):
        await store.sessions.read_session_state(AGENT)
    await store.sessions.write_session_state(AGENT, b"{}" * 40_000)
    assert (await copy(source, target)).failures == []
    assert await content_of(target) == await content_of(source)


async def test_a_failing_target_ends_the_copy(source: Place, target: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the target refuses is raised, and the next run goes on."""
    opened = type(target).open

    async def open_failing(self: Place, *, is_target: bool = False) -> Engine:
        engine = await opened(self, is_target=is_target)

        async def refuse(_batch: object) -> list[Outcome]:
            raise StorageUnavailableError("gone")

        monkeypatch.setattr(engine, "apply", refuse)
        return engine

    with monkeypatch.context() as patch:
        patch.setattr(type(target), "open", open_failing)
        with pytest.raises(StorageUnavailableError):
            await copy(source, target)
    await copy(source, target)
    assert await content_of(target) == await content_of(source)


async def test_a_target_is_maintained_while_it_is_copied_to(
    source: Place, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a daemon does it between batches: else the log of a file grew to all that is copied."""
    opened = type(target).open
    maintained: list[str] = []

    async def open_due(self: Place, *, is_target: bool = False) -> Engine:
        engine = await opened(self, is_target=is_target)
        maintain = engine.maintain

        async def maintain_and_note() -> None:
            await maintain()
            maintained.append(engine.name)

        monkeypatch.setattr(type(engine), "maintenance_due", True)
        monkeypatch.setattr(engine, "maintain", maintain_and_note)
        return engine

    with monkeypatch.context() as patch:
        patch.setattr(type(target), "open", open_due)
        await copy(source, target)
    assert len(maintained) > 3
    assert await content_of(target) == await content_of(source)


async def test_a_session_of_which_a_piece_cannot_be_read_stays_as_it_was(
    source: Place, target: Place, store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of one session or nothing of it, beside the others of its commit."""
    await copy(source, target)
    before = await content_of(target)
    await store.sessions.write_session_state(AGENT, b"[]" * 40_000)

    class Damaged(Chunks):
        """Bytes of which only the first can be read."""

        def __call__(self) -> Generator[bytes, None, None]:
            yield next(super().__call__())
            raise StorageDamagedError("amid a file")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "Chunks", Damaged)
        assert (await copy(source, target)).failures
    engine = await target.open(is_target=True)
    await engine.finish_copy()
    await engine.close()
    assert await content_of(target) == before


@pytest.mark.parametrize("engine_kind", ENGINE_KINDS[:1], indirect=True, ids=["from sqlite"])
async def test_a_second_copy_to_a_database_is_refused_while_one_runs(
    source: Place, target: Place, tmp_path: Path
) -> None:
    """Before it has changed anything, also where idle transactions are ended. A file is held by its data directory instead."""
    url = await DATABASES.url_of(tmp_path / "target")
    with connected(url) as foreign, having_by_default(foreign, idle_in_transaction_session_timeout="400ms"):
        first = await target.open(is_target=True)
        async with first.turn(lambda: True) as is_ours:
            assert is_ours
            with pytest.raises(StoreRefusedError, match="somebody else copies"):
                await copy(source, target)
        await first.close()


async def test_a_run_that_ends_late_does_not_take_a_store_from_its_daemon(source: Place, target: Place) -> None:
    """Another run has finished the copy meanwhile, and a daemon took it: it stays the daemon's."""
    slower = await target.open(is_target=True)
    await slower.begin_copy()
    await copy(source, target)
    await (await target.open()).close()  # a daemon takes it
    with pytest.raises(StorageUnavailableError):
        await slower.finish_copy()
    await slower.close()
    with pytest.raises(StoreRefusedError, match="sessions of its own"):
        await target.open(is_target=True)


async def test_a_copy_does_not_begin_in_a_store_that_a_daemon_has_taken(target: Place) -> None:
    """It was empty when it was looked at, and has sessions of its own by now."""
    late = await target.open(is_target=True)
    daemon = await target.open()
    await daemon.apply([AppendOutput(agent_current_zone("own"), b"a\n", NOW)])
    await daemon.close()
    with pytest.raises(StoreRefusedError, match="sessions of its own"):
        await late.begin_copy()
    await late.close()
