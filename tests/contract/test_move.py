"""Sessions that change their agent: `MoveSession` and `CompleteSession`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store.engine import AppendOutput, CompleteSession, MoveSession
from store.errors import StaleSessionError, ZoneNotFoundError
from store.records import SessionState, ZoneStat
from store.zones import agent_archive_zone, agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore
from tests.contract.made import AGENT, OTHER, content_of, refused, session_from, take_over

FILES = {"output": b"a\nb\n", "output.state.json": b"{}", "notes": b"x" * 100_000}
HERE, THERE = agent_current_zone(AGENT), agent_current_zone(OTHER)


def without_zone(stat: ZoneStat | None) -> tuple[object, ...] | None:
    """Return all that a move must not change."""
    return None if stat is None else (stat.session_id, stat.created_at_ms, stat.files)


async def test_a_current_session_moves_whole(store: OpenStore) -> None:
    """Session id, times, revisions, files and `covers_line` stay; the source owns nothing afterwards."""
    taken = await take_over(store, HERE, FILES, covers_line=1)
    assert await store.writer.submit(MoveSession(HERE, THERE)) == THERE
    assert without_zone(await store.engine.zone_stat(THERE)) == without_zone(taken)
    assert await store.engine.zone_stat(HERE) is None
    mount = await store.sessions.mount(OTHER)
    assert (mount.covers_line, mount.output.lines) == (1, ["b"])


async def test_an_archive_moves_whole(store: OpenStore) -> None:
    """An archive goes under another agent's name at its time, with its session id."""
    taken = await take_over(store, agent_archive_zone(AGENT, 5), FILES)
    moved = await store.writer.submit(MoveSession(agent_archive_zone(AGENT, 5), agent_archive_zone(OTHER, 5)))
    assert moved == agent_archive_zone(OTHER, 5)
    assert (await store.sessions.read_archive(OTHER, 5)).session_id == taken.session_id
    with pytest.raises(ZoneNotFoundError):
        await store.sessions.read_archive(AGENT, 5)


async def test_an_archive_that_meets_another_takes_the_next_free_millisecond(store: OpenStore) -> None:
    """Two archives are never mixed."""
    for definition_id, at_ms in ((OTHER, 5), (OTHER, 6), (AGENT, 5)):
        await take_over(store, agent_archive_zone(definition_id, at_ms), {"output": definition_id.encode()})
    moved = await store.writer.submit(MoveSession(agent_archive_zone(AGENT, 5), agent_archive_zone(OTHER, 5)))
    assert moved == agent_archive_zone(OTHER, 7)
    found = [(await store.sessions.read_output(OTHER, at_ms)).lines for at_ms in (5, 6, 7)]
    assert found == [[OTHER], [OTHER], [AGENT]]


async def test_a_current_session_can_become_another_agents_archive(store: OpenStore) -> None:
    """The loser of two current sessions becomes an archive, listed with all that belongs to it."""
    taken = await take_over(store, HERE, FILES)
    await store.writer.submit(MoveSession(HERE, agent_archive_zone(OTHER, 9)))
    (row,) = await store.sessions.list_archives(OTHER)
    assert (row.archived_at_ms, row.session_id, row.size_bytes) == (9, taken.session_id, taken.size_bytes)
    assert await store.sessions.read_session_state(AGENT) == SessionState(None)


async def test_an_archive_can_be_restored(store: OpenStore) -> None:
    """An archive that moves to the current name is the current session, with its id, and can be written to."""
    taken = await take_over(store, agent_archive_zone(AGENT, 5), FILES)
    await store.writer.submit(MoveSession(agent_archive_zone(AGENT, 5), HERE))
    appended = await store.sessions.append_session_output(AGENT, ["c"], session_id=taken.session_id)
    assert (appended.offset, appended.total_lines) == (4, 3)
    assert await store.sessions.list_archives(AGENT) == []


async def test_an_empty_current_session_makes_way(store: OpenStore) -> None:
    """The target's empty zone is replaced, and its id is stale from then on."""
    empty = await store.sessions.write_session_state(OTHER, b"")
    taken = await take_over(store, HERE, FILES)
    await store.writer.submit(MoveSession(HERE, THERE))
    with pytest.raises(StaleSessionError):
        await store.sessions.append_session_output(OTHER, ["x"], session_id=empty.session_id)
    assert (await store.sessions.append_session_output(OTHER, ["x"])).session_id == taken.session_id


async def test_a_current_session_with_content_does_not_make_way(store: OpenStore) -> None:
    """The move is refused, and both are as they were."""
    for zone in (HERE, THERE):
        await take_over(store, zone, {"output": zone.definition_id.encode()})
    assert isinstance(await refused(store, MoveSession(HERE, THERE)), ValueError)
    assert (await store.sessions.read_output(AGENT)).lines == [AGENT]
    assert (await store.sessions.read_output(OTHER)).lines == [OTHER]


async def test_a_source_that_is_not_there_is_not_found(store: OpenStore) -> None:
    """Nothing to move is ZONE_NOT_FOUND, and the target's empty zone still stands."""
    empty = await store.sessions.write_session_state(OTHER, b"")
    assert isinstance(await refused(store, MoveSession(HERE, THERE)), ZoneNotFoundError)
    assert (await store.sessions.read_session_state(OTHER)).session_id == empty.session_id


async def test_the_writer_follows_a_session_that_moved(store: OpenStore) -> None:
    """After a move appends go on at the new name where the session ended, and begin anew at the old one."""
    old = await store.sessions.append_session_output(AGENT, ["a"])
    await store.writer.submit(MoveSession(HERE, THERE))
    there = await store.sessions.append_session_output(OTHER, ["b"], session_id=old.session_id, expect_offset=2)
    assert there.total_lines == 2
    here = await store.sessions.append_session_output(AGENT, ["c"], expect_offset=0)
    assert here.session_id != old.session_id


async def test_moves_and_appends_of_one_batch_take_effect_in_order(store: OpenStore) -> None:
    """Within one transaction as well each change sees what the one before it did."""
    await store.engine.apply(
        [
            AppendOutput(HERE, b"1\n", BEGINNING_MS),
            MoveSession(HERE, THERE),
            AppendOutput(HERE, b"2\n", BEGINNING_MS),
            AppendOutput(THERE, b"3\n", BEGINNING_MS),
            MoveSession(THERE, agent_archive_zone(AGENT, 5)),
            AppendOutput(THERE, b"4\n", BEGINNING_MS),
        ]
    )
    assert (await store.sessions.read_output(AGENT)).lines == ["2"]
    assert (await store.sessions.read_output(AGENT, 5)).lines == ["1", "3"]
    assert (await store.sessions.read_output(OTHER)).lines == ["4"]


async def test_a_retry_of_archive_finds_the_session_after_it_moved_with_its_agent(store: OpenStore) -> None:
    """The session id stays through archive and move: at the new agent it names the archive."""
    written = await store.sessions.append_session_output(AGENT, ["a"])
    archived = await store.sessions.archive_session(AGENT)
    assert archived.archive_zoneid is not None
    target = agent_archive_zone(OTHER, 77)
    await store.writer.submit(MoveSession(archived.archive_zoneid, target))
    assert (await store.sessions.archive_session(OTHER, written.session_id)).archive_zoneid == target
    with pytest.raises(StaleSessionError):
        await store.sessions.archive_session(AGENT, written.session_id)


async def test_completing_takes_the_named_files_and_ends_the_source(store: OpenStore) -> None:
    """The target keeps its id and its own files, gains those named, and the source is gone with the rest."""
    await take_over(store, HERE, FILES)
    target = await take_over(store, THERE, {"output": b"a\nb\nc\n"})
    assert await store.writer.submit(CompleteSession(HERE, THERE, ("output.state.json", "notes"))) is None
    assert await store.engine.zone_stat(HERE) is None
    stat = await store.engine.zone_stat(THERE)
    assert stat is not None
    assert (stat.session_id, [file.name for file in stat.files]) == (
        target.session_id,
        ["notes", "output", "output.state.json"],
    )
    assert await store.engine.read_bytes(THERE, "notes", 0, 1 << 20) == FILES["notes"]
    assert (await store.sessions.read_output(OTHER)).lines == ["a", "b", "c"]
    assert content_of(await store.sessions.read_session_state(OTHER)) == b"{}"


async def test_completing_with_no_files_only_ends_the_source(store: OpenStore) -> None:
    """Where the target has everything already nothing is copied."""
    await take_over(store, HERE, FILES)
    await take_over(store, THERE, FILES)
    before = await store.engine.zone_stat(THERE)
    await store.writer.submit(CompleteSession(HERE, THERE, ()))
    assert await store.engine.zone_stat(THERE) == before
    assert await store.engine.zone_stat(HERE) is None


async def test_a_completed_output_is_continued_where_it_ends(store: OpenStore) -> None:
    """The writer does not go by what it knew of the target before its output came."""
    written = await store.sessions.write_session_state(OTHER, b"{}")
    await take_over(store, HERE, {"output": b"a\nb"})
    await store.writer.submit(CompleteSession(HERE, THERE, ("output",)))
    appended = await store.sessions.append_session_output(OTHER, ["c"], session_id=written.session_id)
    assert (appended.offset, appended.total_lines) == (4, 3)
    assert (await store.sessions.append_session_output(AGENT, ["new"])).offset == 0


async def test_the_origins_of_both_are_remembered(store: OpenStore) -> None:
    """A session completed from another is known by both origins, through a further completion as well."""
    zones = [agent_archive_zone(OTHER, at_ms) for at_ms in (5, 6, 7, 8)]
    for zone in zones[:3]:
        change = session_from(zone, {"output": b"x"})
        await store.writer.submit(replace(change, origin=f"block:{zone.archived_at_ms}"))
    await take_over(store, zones[3], {"output": b"x"})
    for zone in zones[:3]:
        await store.writer.submit(CompleteSession(zone, zones[3], ()))
    assert await store.engine.origins() == {"block:5", "block:6", "block:7"}
    assert len(await store.engine.zones_of(OTHER)) == 1


@pytest.mark.parametrize(("target_covers", "kept"), [(None, 1), (0, 0), (2, 2)])
async def test_covers_line_comes_where_the_target_has_none(
    store: OpenStore, target_covers: int | None, kept: int
) -> None:
    """The target's own mark wins; 0 is a mark."""
    await take_over(store, HERE, FILES, covers_line=1)
    await take_over(store, THERE, {"output": b"a\nb\n"}, target_covers)
    await store.writer.submit(CompleteSession(HERE, THERE, ("output.state.json",)))
    assert (await store.sessions.mount(OTHER)).covers_line == kept


@pytest.mark.parametrize(
    ("mark", "covers", "target_covers", "kept"),
    [(2, None, None, 2), (3, None, None, None), (-1, None, None, None), (2, 1, None, 1), (2, None, 0, 0)],
)
async def test_a_mark_that_comes_with_the_completion_is_held_against_the_completed_output(
    store: OpenStore, mark: int, covers: int | None, target_covers: int | None, kept: int | None
) -> None:
    """It is dropped where it lies beyond the output that the target has then, and one that either session had wins."""
    await take_over(store, HERE, {"output": b"a\nb\n"}, covers)
    await take_over(store, THERE, {"output.state.json": b"{}"}, target_covers)
    await store.writer.submit(CompleteSession(HERE, THERE, ("output",), mark))
    assert (await store.sessions.mount(OTHER)).covers_line == kept


async def test_a_file_the_target_has_is_refused(store: OpenStore) -> None:
    """Files named must not exist in the target: nothing of the change is done, the earlier names included."""
    await take_over(store, HERE, FILES)
    await take_over(store, THERE, {"output": b"other\n"})
    before = [await store.engine.zone_stat(zone) for zone in (HERE, THERE)]
    assert isinstance(await refused(store, CompleteSession(HERE, THERE, ("notes", "output"))), ValueError)
    assert [await store.engine.zone_stat(zone) for zone in (HERE, THERE)] == before


async def test_completing_needs_both(store: OpenStore) -> None:
    """Where source or target does not exist: ZONE_NOT_FOUND, and the other stays."""
    await take_over(store, HERE, FILES)
    for source, target in ((HERE, THERE), (THERE, HERE)):
        assert isinstance(await refused(store, CompleteSession(source, target, ())), ZoneNotFoundError)
    assert await store.engine.zone_stat(HERE) is not None


async def test_a_session_is_never_completed_from_itself(store: OpenStore) -> None:
    """Source and target the same is refused: ending the source would end the session."""
    taken = await take_over(store, HERE, FILES)
    assert await refused(store, CompleteSession(HERE, HERE, ())) is not None
    assert await store.engine.zone_stat(HERE) == taken


async def test_zones_of_an_agent_come_current_first_then_by_time(store: OpenStore) -> None:
    """The order in which a promotion moves them."""
    zones = [agent_archive_zone(AGENT, 10), HERE, agent_archive_zone(AGENT, 9), agent_archive_zone(AGENT, 100)]
    for zone in (*zones, THERE):
        await take_over(store, zone, {"output": b"x"})
    found = [stat.zone for stat in await store.engine.zones_of(AGENT)]
    assert found == [HERE, *(agent_archive_zone(AGENT, at_ms) for at_ms in (9, 10, 100))]
