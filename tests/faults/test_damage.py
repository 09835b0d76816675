"""Stored data is damaged: it is said which file of which zone, and everything else stays readable."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from store.errors import StorageDamagedError
from store.limits import PART_BYTES
from tests.conftest import EngineKind, OpenStore
from tests.contract.made import content_of
from tests.faults.conftest import POSTGRES, SQLITE, Meddler, SqliteMeddler
from tests.store.foreign import bytes_of, meddling, rows

SNAPSHOT = b"snapshot " * 40_000
LINES = [f"{number:05d}".ljust(999, ".") for number in range(400)]
ZONE = "agent:agent:current"

DAMAGES = {
    SQLITE: [
        "UPDATE file_parts SET data = CAST(substr(data, 1, 100) || x'ff' || substr(data, 102) AS BLOB)",
        "UPDATE file_parts SET data = x''",
        "UPDATE file_parts SET data = CAST(data AS TEXT)",
        "UPDATE file_parts SET crc32 = crc32 + 1",
        "UPDATE file_parts SET size_bytes = size_bytes + 1",
        "UPDATE file_parts SET codec = 9",
        "DELETE FROM file_parts",
    ],
    POSTGRES: [
        "UPDATE file_parts SET data = set_byte(data, length(data) / 2, get_byte(data, length(data) / 2) # 255)",
        "UPDATE file_parts SET data = ''",
        "UPDATE file_parts SET crc32 = crc32 + 1",
        "UPDATE file_parts SET size_bytes = size_bytes + 1",
        "UPDATE file_parts SET codec = 9",
        "DELETE FROM file_parts",
    ],
}
"""The first turns a byte over, the last takes the part away."""

AGENT = {SQLITE: "zone_id = (SELECT id FROM zones WHERE definition_id = 'agent')", POSTGRES: "home = 'agent'"}
MIDDLE = f"AND start_byte > {2 * PART_BYTES} AND start_byte < {3 * PART_BYTES + 100}"

damaged_by = pytest.mark.parametrize(
    ("engine_kind", "statement"),
    [pytest.param(kind, each, id=f"{kind.name}-{each}") for kind, all_ways in DAMAGES.items() for each in all_ways],
)
changed_by = pytest.mark.parametrize(
    ("engine_kind", "statement"),
    [
        pytest.param(kind, each, id=f"{kind.name}-{each}")
        for kind, all_ways in DAMAGES.items()
        for each in all_ways[:-1]
    ],
)


def damage(meddler: Meddler, statement: str, name: str, where: str = MIDDLE) -> None:
    """Put a fault into a file's stored parts, from outside."""
    assert meddler.change(f"{statement} WHERE name = '{name}' {where}") > 0


async def filled(store: OpenStore) -> None:
    """Store two agents' sessions of several parts."""
    for definition_id in ("agent", "other"):
        await store.sessions.write_session_state(definition_id, SNAPSHOT)
        await store.sessions.append_session_output(definition_id, LINES)


def check_words(error: StorageDamagedError, name: str) -> None:
    """Check what people are told: zone and file, and nothing of how it is stored."""
    assert (error.word, error.retry) == ("STORAGE_DAMAGED", False)
    assert ZONE in str(error)
    assert name in str(error)
    assert not {"SELECT", "sqlite", "zones.db", "/"} & set(str(error).replace(":", " ").split())


@damaged_by
async def test_a_damaged_snapshot_is_said_and_nothing_else_suffers(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind, statement: str
) -> None:
    """Reading it is STORAGE_DAMAGED; output, lists, other agents and other sessions are read as ever."""
    await filled(store)
    damage(meddler, statement, "output.state.json", f"{MIDDLE} AND {AGENT[engine_kind]}")
    for question in (store.sessions.read_session_state("agent"), store.sessions.mount("agent")):
        with pytest.raises(StorageDamagedError) as caught:
            await question
        check_words(caught.value, "output.state.json")
    assert (await store.sessions.read_output("agent", first_line=0, limit=400)).lines == LINES
    assert content_of(await store.sessions.read_session_state("other")) == SNAPSHOT
    one, other = await store.sessions.stat(["agent", "other"])
    assert one.snapshot_bytes == other.snapshot_bytes == len(SNAPSHOT)
    assert (await store.sessions.read_session_state("agent", if_revision=1)).unchanged


@damaged_by
async def test_writing_the_snapshot_again_mends_it(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind, statement: str
) -> None:
    """Once a read has found it the next write of a pane replaces what is damaged, the same bytes too."""
    await filled(store)
    damage(meddler, statement, "output.state.json", f"{MIDDLE} AND {AGENT[engine_kind]}")
    with pytest.raises(StorageDamagedError):
        await store.sessions.read_session_state("agent")
    written = await store.sessions.write_session_state("agent", SNAPSHOT)
    assert written.revision == 2
    assert content_of(await store.sessions.read_session_state("agent")) == SNAPSHOT


@damaged_by
async def test_a_damaged_part_of_output_hides_only_itself(store: OpenStore, meddler: Meddler, statement: str) -> None:
    """Pages before and behind it, the tail and appends go on; the page that needs it is STORAGE_DAMAGED."""
    await filled(store)
    damage(meddler, statement, "output")
    assert (await store.sessions.read_output("agent", first_line=0, limit=100)).lines == LINES[:100]
    assert (await store.sessions.read_output("agent", limit=100)).lines == LINES[300:]
    assert (await store.sessions.read_output("agent", first_line=300, limit=50)).lines == LINES[300:350]
    with pytest.raises(StorageDamagedError) as caught:
        await store.sessions.read_output("agent", first_line=180, limit=50)
    check_words(caught.value, "output")
    for reopened in (False, True):
        if reopened:
            await store.reopen()
        await store.sessions.append_session_output("agent", ["goes on"])
        assert (await store.sessions.read_output("agent", limit=1)).lines == ["goes on"]


@damaged_by
async def test_a_reading_in_steps_ends_where_the_damage_begins(
    store: OpenStore, meddler: Meddler, statement: str
) -> None:
    """All bytes before a damaged part are given, and none of it, nor a gap in its place."""
    await filled(store)
    session_id = (await store.sessions.stat(["agent"]))[0].session_id or ""
    damage(meddler, statement, "output")
    read = partial(store.sessions.read_session_bytes, session_id, "output", max_bytes=1_000)
    found = b"".join([await read(start_byte) for start_byte in range(0, 195_000, 1_000)])
    with pytest.raises(StorageDamagedError) as caught:
        await read(195_000)
    check_words(caught.value, "output")
    assert found == "".join(f"{line}\n" for line in LINES[:195]).encode()


async def test_a_read_that_found_damage_holds_no_later_read_back(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind
) -> None:
    """Whoever keeps the errors of failed reads: what is acknowledged afterwards is seen by every read, on every handle."""
    await filled(store)
    for name in ("output", "output.state.json"):
        damage(meddler, DAMAGES[engine_kind][0], name)
    questions = [store.sessions.read_output("agent", first_line=130 + number) for number in range(16)]
    kept = await asyncio.gather(*questions, store.sessions.mount("agent"), return_exceptions=True)
    assert {type(error) for error in kept} == {StorageDamagedError}
    for number in range(3):
        await store.sessions.append_session_output("agent", [f"new {number}"])
        pages = await asyncio.gather(*(store.sessions.read_output("agent", limit=1) for _ in range(16)))
        assert {tuple(page.lines) for page in pages} == {(f"new {number}",)}


@pytest.mark.parametrize("engine_kind", [SQLITE], ids=["sqlite"])
async def test_a_change_that_found_damage_does_not_hold_up_housekeeping(store: OpenStore, path: Path) -> None:
    """Whoever keeps the error of a refused change: the log is still moved into the database, all of it."""
    await filled(store)
    damage(SqliteMeddler(path), DAMAGES[SQLITE][0], "output")
    with pytest.raises(StorageDamagedError) as caught:
        await store.sessions.append_session_output("agent", LINES[140:], expect_offset=140_000)
    await store.writer.drain()
    await store.engine.maintain()
    with meddling(path) as connection:
        (busy, in_log, moved) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert (busy, in_log) == (0, moved)
    check_words(caught.value, "output")


@pytest.mark.parametrize("name", ["output", "output.state.json"])
@damaged_by
async def test_a_damaged_first_part_is_found(store: OpenStore, meddler: Meddler, statement: str, name: str) -> None:
    """Also where the part that is missing is the first."""
    await filled(store)
    damage(meddler, statement, name, "AND start_byte = 0")
    sessions = store.sessions
    with pytest.raises(StorageDamagedError) as caught:
        await (
            sessions.read_output("agent", first_line=0) if name == "output" else sessions.read_session_state("agent")
        )
    check_words(caught.value, name)


@damaged_by
async def test_a_tail_that_needs_a_damaged_part_is_not_cut_short(
    store: OpenStore, meddler: Meddler, statement: str
) -> None:
    """Read backwards as well the first part is missed: nobody is shown a part of a conversation as the whole."""
    await filled(store)
    damage(meddler, statement, "output", "AND start_byte = 0")
    for question in (store.sessions.read_output("agent", limit=400), store.sessions.mount("agent")):
        with pytest.raises(StorageDamagedError) as caught:
            await question
        check_words(caught.value, "output")


@damaged_by
async def test_a_damaged_session_can_be_archived_and_listed(store: OpenStore, meddler: Meddler, statement: str) -> None:
    """A new session is always possible: the archive is listed, with an empty preview at worst, and the next begins."""
    await filled(store)
    for name in ("output", "output.state.json"):
        damage(meddler, statement, name)
    archived = await store.sessions.archive_session("agent")
    (row,) = await store.sessions.list_archives("agent")
    assert (row.archive_zoneid, row.size_bytes) == (archived.archive_zoneid, len(SNAPSHOT) + 400_000)
    assert row.preview in {"", None}
    with pytest.raises(StorageDamagedError, match=str(archived.archive_zoneid)):
        await store.sessions.read_archive("agent", row.archived_at_ms)
    assert (await store.sessions.append_session_output("agent", ["new"])).offset == 0


@changed_by
async def test_an_append_behind_a_damaged_last_part_has_one_answer(
    store: OpenStore, meddler: Meddler, statement: str
) -> None:
    """What the writer happens to remember makes no difference: before and after a restart the same call is answered alike."""

    async def outcome() -> str:
        try:
            await store.sessions.append_session_output("agent", ["x" * 5_000])
        except StorageDamagedError as error:
            check_words(error, "output")
            return "refused"
        assert (await store.sessions.read_output("agent", limit=1)).lines == ["x" * 5_000]
        return "stored"

    await store.sessions.append_session_output("agent", ["a" * 10_000])
    await store.sessions.append_session_output("agent", ["b" * 60_000])
    meddler.change(f"{statement} WHERE start_byte = (SELECT max(start_byte) FROM file_parts)")
    before = await outcome()
    await store.reopen()
    meddler.change("DELETE FROM file_parts WHERE size_bytes = 5001")
    await store.reopen()
    assert await outcome() == before


@pytest.mark.parametrize("reopened", [False, True])
async def test_parts_stay_few_behind_a_damaged_one(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind, reopened: bool
) -> None:
    """A damaged part at the end is not tried again with every append: the lines behind it fill parts as ever."""
    for _ in range(3):
        await store.sessions.append_session_output("agent", ["x" * 9_999])
    meddler.change(DAMAGES[engine_kind][0])
    if reopened:
        await store.reopen()
    for _ in range(200):
        await store.sessions.append_session_output("agent", ["y" * 1_999])
    assert meddler.rows("SELECT count(*) FROM file_parts") < [(80,)]
    assert (await store.sessions.read_output("agent", limit=200)).lines == ["y" * 1_999] * 200


@pytest.mark.parametrize("engine_kind", [SQLITE], ids=["sqlite"])
async def test_a_damaged_page_of_the_database_is_said_by_zone(store: OpenStore, path: Path) -> None:
    """Where SQLite itself finds damage the words are the same: the zone, and neither path nor statement."""
    await filled(store)
    await store.close()
    ((root, page_bytes),) = rows(
        path, "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = 'file_parts'"
    )
    data = bytearray(bytes_of(path))
    data[(root - 1) * page_bytes : root * page_bytes] = b"\xff" * page_bytes
    with path.open("wb") as file:
        file.write(data)
    await store.open()
    questions = [
        store.sessions.read_session_state("agent"),
        store.sessions.read_output("agent"),
        store.sessions.append_session_output("agent", ["x"]),
        store.sessions.write_session_state("agent", b"{}"),
    ]
    for question in questions:
        with pytest.raises(StorageDamagedError) as caught:
            await question
        check_words(caught.value, "")
    assert await store.sessions.read_session_state("unknown") == await store.sessions.read_session_state("nobody")
