"""Archives in SQLite, compressed in the background: what is stored then, what is left, and what happens meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from store import limits
from store.compression_worker import REST_ALONE, REST_AMONG_OTHERS, CompressionWorker
from store.engine import AppendOutput, ArchiveSession, Change, MoveSession, WriteState
from store.errors import OverloadedError, StorageDamagedError, StorageFullError
from store.limits import PART_BYTES, Limits
from store.pieces import CompressParts
from store.previews import Preview
from store.records import Archived
from store.sessions import Sessions
from store.sqlite import SqliteEngine, open_sqlite
from store.sqlite.check import check_store
from store.writer import Writer
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_current_zone
from tests.store.foreign import meddling, rows

LINE = b'{"type": "assistant", "text": "what was said"}\n'
OUTPUT = LINE * 20_000
NOISE = random.Random(1).randbytes(3 * PART_BYTES)
CODECS = "SELECT codec, count(*), sum(size_bytes), sum(length(data)) FROM file_parts GROUP BY codec ORDER BY codec"


class NoPreviews:
    """Works out none."""

    def notify(self) -> None:
        """Do nothing."""

    async def work_out(self, zone: Zone) -> Preview:
        """Find nothing."""
        raise AssertionError(zone)


class Bench:
    """A store, and a worker whose changes a test may refuse and whose rests it sees.

    Attributes:
        pieces: what was submitted, in order.
        rests_s: how long the worker wanted to rest.
        refusals: what to answer instead of the next changes.
        between: done before each change is applied.
    """

    def __init__(self, engine: SqliteEngine) -> None:
        self.engine = engine
        self.writer = Writer(engine, Limits())
        self.worker = CompressionWorker(engine, self.submit, lambda: self.writer.batch_changes.total, self.rest)
        self.pieces: list[CompressParts] = []
        self.rests_s: list[float] = []
        self.refusals: list[Exception] = []
        self.between: Callable[[], Awaitable[object]] | None = None

    async def submit(self, change: Change) -> object:
        """Store a piece, or refuse it."""
        assert isinstance(change, CompressParts)
        if self.refusals:
            raise self.refusals.pop(0)
        if self.between is not None:
            await self.between()
        self.pieces.append(change)
        return await self.writer.submit(change)

    async def rest(self, seconds: float) -> None:
        """Do not."""
        self.rests_s.append(seconds)

    async def archive(self, agent: str, output: bytes, snapshot: bytes = b"{}") -> Zone:
        """Put an archive into the store."""
        zone = agent_current_zone(agent)
        await self.writer.submit(WriteState(zone, snapshot, 1_000))
        await self.writer.submit(AppendOutput(zone, output, 1_000))
        archived = await self.writer.submit(ArchiveSession(zone, 1_000))
        assert isinstance(archived, Archived)
        assert archived.archive_zoneid is not None
        return archived.archive_zoneid

    async def waiting(self) -> object:
        """Return how many archives are left."""
        return (await self.engine.status())["compressions_waiting"]


@pytest.fixture
async def bench(sqlite: SqliteEngine) -> AsyncIterator[Bench]:
    """Open a store, with a worker that is not started."""
    bench = Bench(sqlite)
    bench.writer.start()
    yield bench
    await bench.worker.stop()
    await bench.writer.drain()


async def test_parts_are_compressed_where_that_helps(bench: Bench, path: Path) -> None:
    """Those of the archive, and not those of the current session; the figures say what is left and what was saved."""
    await bench.archive("agent", OUTPUT, NOISE)
    await bench.writer.submit(AppendOutput(agent_current_zone("agent"), OUTPUT, 1))
    assert await bench.waiting() == 1
    assert await bench.worker.sweep()
    (raw, raw_parts, raw_bytes, _), (codec, parts, size_bytes, stored_bytes) = rows(path, CODECS)
    assert (raw, codec) == (0, 1)
    assert (raw_bytes, size_bytes) == (len(OUTPUT) + len(NOISE), len(OUTPUT))
    assert (parts, raw_parts) == (len(OUTPUT) // PART_BYTES + 1, len(OUTPUT) // PART_BYTES + 1 + 3)
    assert stored_bytes < size_bytes // 10
    status = await bench.engine.status()
    assert (status["compressions_waiting"], status["compression_saved_bytes"]) == (0, size_bytes - stored_bytes)


async def test_what_is_done_is_not_looked_at_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another sweep reads no part and stores nothing."""
    await bench.archive("agent", OUTPUT)
    assert await bench.worker.sweep()
    bench.pieces.clear()
    monkeypatch.setattr(bench.engine, "compressed_parts", None)
    assert await bench.worker.sweep()
    assert bench.pieces == []


async def test_a_step_is_bounded_and_rests_afterwards(bench: Bench) -> None:
    """A piece has at most 256 KiB and a part; the rest follows the step, and is long where others write."""
    await bench.archive("agent", OUTPUT)
    assert await bench.worker.sweep()
    sizes = [sum(part.size_bytes for part in piece.parts) for piece in bench.pieces]
    assert len(sizes) == len(OUTPUT) // limits.COMPRESSION_PIECE_BYTES + 1
    assert max(sizes) <= limits.COMPRESSION_PIECE_BYTES + PART_BYTES
    assert len(bench.rests_s) == len(sizes)
    await bench.archive("agent", OUTPUT)

    async def append() -> None:
        await bench.writer.submit(AppendOutput(agent_current_zone("other"), LINE, 1))

    alone, bench.rests_s = bench.rests_s, []
    bench.between = append
    assert await bench.worker.sweep()
    # Each is so many times what its step took, which differs from step to step.
    assert min(bench.rests_s) > min(alone) * REST_AMONG_OTHERS / REST_ALONE / 10


async def test_what_does_not_get_smaller_is_passed_over(bench: Bench, path: Path) -> None:
    """A piece of which nothing is to be stored is no commit, and the next one begins behind it."""
    noise = random.Random(2).randbytes(3 * limits.COMPRESSION_PIECE_BYTES).replace(b"\n", b"") + b"\n"
    archive = await bench.archive("agent", noise + OUTPUT)
    batches = bench.writer.batch_changes.count
    async with asyncio.timeout(30):
        assert await bench.worker.sweep()
    assert (
        bench.writer.batch_changes.count - batches
        == len(bench.pieces)
        <= len(OUTPUT) // limits.COMPRESSION_PIECE_BYTES + 2
    )
    assert rows(path, CODECS)[1][2] == len(OUTPUT)
    assert await bench.engine.read_bytes(archive, OUTPUT_FILE, 0, 1 << 30) == noise + OUTPUT


async def test_small_archives_are_done_together(bench: Bench) -> None:
    """A store of many small archives takes a commit for each sixteen of them, not for each."""
    for number in range(20):
        await bench.archive(f"agent-{number}", LINE)
    batches = bench.writer.batch_changes.count
    assert await bench.worker.sweep()
    assert bench.writer.batch_changes.count - batches == 2
    assert await bench.waiting() == 0


async def test_a_commit_has_one_piece_or_some_that_are_small(bench: Bench) -> None:
    """However many archives there are, and however large."""
    rests: list[int] = []

    async def rest(_seconds: float) -> None:
        rests.append(len(bench.pieces))

    for number in range(4):
        await bench.archive(f"dense-{number}", random.Random(number).randbytes(48_000).hex().encode() + b"\n")
    for number in range(4):
        await bench.archive(f"large-{number}", OUTPUT)
    assert await CompressionWorker(bench.engine, bench.submit, sleep=rest).sweep()
    steps = [bench.pieces[former:latter] for former, latter in pairwise([0, *rests])]
    for step in steps:
        assert all(piece.is_last for piece in step[:-1])
        assert sum(piece.size_bytes for piece in step[:-1]) < limits.COMPRESSION_COMMIT_BYTES
    assert max(map(len, steps)) > 1


async def test_a_restart_goes_on_amid_an_archive(path: Path, bench: Bench) -> None:
    """What was stored by then stays, and is not stored again; the rest follows."""
    await bench.archive("agent", OUTPUT)
    bench.refusals = [StorageFullError()]
    assert not await bench.worker.sweep()
    reached = asyncio.Event()

    async def enough() -> None:
        if len(bench.pieces) == 2:
            reached.set()
            await asyncio.Event().wait()

    bench.between = enough
    bench.worker.start()
    async with asyncio.timeout(30):
        await reached.wait()
    await bench.worker.stop()
    await bench.writer.drain()
    await bench.engine.close()
    ((_, raw_before, *_), (_, done, *_)) = rows(path, CODECS)
    again = Bench(await open_sqlite(path))
    again.writer.start()
    assert await again.waiting() == 1
    assert await again.worker.sweep()
    assert sum(len(piece.parts) for piece in again.pieces) == raw_before - 1  # the snapshot is too small
    assert done == sum(len(piece.parts) for piece in bench.pieces)
    assert await again.waiting() == 0
    await again.writer.drain()
    await again.engine.close()


@pytest.mark.parametrize("moves_back", [False, True])
async def test_an_archive_that_goes_meanwhile_is_left_as_it_is(bench: Bench, path: Path, moves_back: bool) -> None:
    """Moved to a current zone it keeps the parts that others may write; a piece that was read before is not stored."""
    archive = await bench.archive("agent", OUTPUT)
    current = agent_current_zone("agent")

    async def move() -> None:
        bench.between = None
        await bench.writer.submit(MoveSession(archive, current))
        await bench.writer.submit(AppendOutput(current, LINE, 2))
        if moves_back:
            await bench.writer.submit(MoveSession(current, archive))

    bench.between = move
    assert await bench.worker.sweep()
    assert await bench.waiting() == 0
    zone = archive if moves_back else current
    assert await bench.engine.read_bytes(zone, OUTPUT_FILE, 0, 1 << 30) == OUTPUT + LINE
    assert [codec for codec, *_ in rows(path, CODECS)] == ([0, 1] if moves_back else [0])


async def test_a_session_that_was_current_again_is_gone_through_again(bench: Bench, path: Path) -> None:
    """Once it is archived anew: what was written meanwhile is stored as it came."""
    archive = await bench.archive("agent", OUTPUT)
    assert await bench.worker.sweep()
    current = agent_current_zone("agent")
    await bench.writer.submit(MoveSession(archive, current))
    assert await bench.waiting() == 0
    await bench.writer.submit(AppendOutput(current, OUTPUT, 2))
    assert rows(path, "SELECT count(*) FROM file_parts WHERE codec = 0 AND size_bytes > 4096") != [(0,)]
    await bench.writer.submit(ArchiveSession(current, 2_000))
    assert await bench.waiting() == 1
    assert await bench.worker.sweep()
    assert rows(path, "SELECT count(*) FROM file_parts WHERE codec = 0 AND size_bytes > 4096") == [(0,)]


async def test_a_part_that_was_written_anew_meanwhile_stays(bench: Bench, path: Path) -> None:
    """Told by its revision, its size and its checksum; a piece that is sent twice changes nothing more."""
    archive = await bench.archive("agent", LINE, b"x" * PART_BYTES)
    piece = await bench.engine.compressed_parts(archive, None)
    assert piece is not None
    (part,) = piece.parts
    for other in ({"revision": 9}, {"crc32": 9}, {"size_bytes": 9}, {"name": "notes"}, {"start_byte": 9}):
        await bench.writer.submit(replace(piece, parts=(replace(part, **other),), is_last=False))
    await bench.writer.submit(replace(piece, session_id="another"))
    assert [codec for codec, *_ in rows(path, CODECS)] == [0]
    assert await bench.waiting() == 1
    saved = []
    for _ in range(2):
        await bench.writer.submit(piece)
        saved.append(bench.engine.figures()["compression_saved_bytes"])
    assert saved[0] == saved[1] != 0
    assert await bench.engine.read_bytes(archive, SNAPSHOT_FILE, 0, 1 << 20) == b"x" * PART_BYTES


async def test_another_session_in_the_zone_is_begun_with_anew(bench: Bench) -> None:
    """The place where the one before stopped says nothing of it."""
    first, second = await bench.archive("agent", OUTPUT), await bench.archive("other", OUTPUT)
    before = await bench.engine.compressed_parts(first, None)
    assert before is not None
    assert await bench.engine.compressed_parts(
        second, replace(before, zone=second)
    ) == await bench.engine.compressed_parts(second, None)


async def test_a_damaged_part_is_left_and_the_others_are_done(bench: Bench, path: Path) -> None:
    """Its damage stays to be seen as it is, and nothing is tried for ever."""
    archive = await bench.archive("agent", OUTPUT)
    with meddling(path) as connection:
        connection.execute("UPDATE file_parts SET crc32 = crc32 + 1 WHERE start_byte > 100000 AND start_byte < 150000")
        connection.execute("UPDATE file_parts SET data = 7 WHERE start_byte > 250000 AND start_byte < 300000")
    assert await bench.worker.sweep()
    assert await bench.waiting() == 0
    ((_, raw, *_), (_, done, *_)) = rows(path, CODECS)
    assert (raw, done) == (3, len(OUTPUT) // PART_BYTES + 1 - 2)
    assert await bench.engine.read_bytes(archive, OUTPUT_FILE, 0, 100) == OUTPUT[:100]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("codec = 0", "should have 65518 bytes"),
        ("codec = 2", "has codec 2, which this version does not know"),
        ("data = substr(data, 1, length(data) - 1)", "cannot be decompressed"),
        ("size_bytes = size_bytes + 1", "says that it holds 65518"),
        ("crc32 = crc32 + 1", "fails its checksum"),
    ],
)
async def test_a_compressed_part_that_is_damaged_is_said(bench: Bench, path: Path, damage: str, said: str) -> None:
    """Reading it is STORAGE_DAMAGED, the doctor says what is wrong with it, and the parts before it are read."""
    archive = await bench.archive("agent", OUTPUT)
    assert await bench.worker.sweep()
    with meddling(path) as connection:
        connection.execute(f"UPDATE file_parts SET {damage} WHERE start_byte = 65518")
    with pytest.raises(StorageDamagedError, match=f"zone {archive}, file output"):
        await bench.engine.read_bytes(archive, OUTPUT_FILE, 0, 70_000)
    assert await bench.engine.read_bytes(archive, OUTPUT_FILE, 0, 65_518) == OUTPUT[:65_518]
    found = check_store(path).findings[0]
    assert (found.zone, found.file, found.start_byte) == (archive, OUTPUT_FILE, 65_518)
    assert said in found.message


async def test_a_damaged_row_does_not_hold_up_others(bench: Bench, path: Path) -> None:
    """An archive that cannot be read is said once and passed over until the next start."""
    damaged = await bench.archive("agent", OUTPUT)
    await bench.archive("other", OUTPUT)
    with meddling(path) as connection:
        connection.execute("UPDATE zones SET session_id = x'00' WHERE zone = ?", (damaged,))
    assert await bench.worker.sweep()
    assert await bench.engine.archives_to_compress(9) == [damaged]
    assert await bench.worker.sweep()


async def test_what_could_not_be_stored_is_tried_again(bench: Bench) -> None:
    """A full disk or a full queue puts it off; no piece is passed over."""
    archive = await bench.archive("agent", OUTPUT)
    for refusal in (StorageFullError(), OverloadedError()):
        bench.refusals = [refusal]
        assert not await bench.worker.sweep()
        assert await bench.waiting() == 1
    assert await bench.worker.sweep()
    assert sum(len(piece.parts) for piece in bench.pieces) == len(OUTPUT) // PART_BYTES + 1
    assert await bench.engine.read_bytes(archive, OUTPUT_FILE, 0, 1 << 30) == OUTPUT


async def test_the_worker_hears_of_an_archive(bench: Bench) -> None:
    """What is archived while it rests is compressed, without another start."""
    arrived = asyncio.Event()

    async def tell() -> None:
        arrived.set()

    bench.between = tell
    sessions = Sessions(bench.engine, bench.writer, NoPreviews(), Limits(), lambda: 1_000, bench.worker.notify)
    bench.worker.start()
    for agent in ("a", "b"):
        await sessions.append_session_output(agent, [LINE.decode()] * 9_000)
        await sessions.archive_session(agent)
        async with asyncio.timeout(30):
            await arrived.wait()
        arrived.clear()


async def test_the_room_is_used_again(bench: Bench, path: Path) -> None:
    """The file stays as large as it was, and what comes next goes into what has become free."""
    await bench.archive("agent", OUTPUT, b"y" * (1 << 20))
    assert await bench.worker.sweep()
    ((pages,), (free,)) = rows(path, "PRAGMA page_count")[0], rows(path, "PRAGMA freelist_count")[0]
    assert free > pages * 3 // 4
    await bench.writer.submit(AppendOutput(agent_current_zone("agent"), OUTPUT, 1))
    assert rows(path, "PRAGMA page_count")[0] == (pages,)
