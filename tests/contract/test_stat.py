"""`agent:session:stat`."""

from __future__ import annotations

from typing import Any

import pytest

from store.errors import TooLargeError
from store.postgres.handle import PostgresHandle
from store.records import AgentStat
from store.sessions import Sessions
from store.sqlite.handle import SqliteHandle
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore
from tests.contract.made import AGENT, OTHER, take_over


def nothing(definition_id: str, archives: int = 0) -> AgentStat:
    """Return what is said of an agent without a current session."""
    return AgentStat(definition_id, None, 0, None, 0, 0, None, archives)


async def test_no_ids_no_rows(sessions: Sessions) -> None:
    """An empty question has an empty answer."""
    assert await sessions.stat([]) == []


async def test_nothing_is_zeros_and_nulls(sessions: Sessions) -> None:
    """A fresh agent: zeros for sizes and counts, null for session_id, revision and modts; and it stays fresh."""
    assert await sessions.stat([AGENT]) == [nothing(AGENT)]
    assert await sessions.list_agents() == ([], None)


async def test_all_of_a_session(store: OpenStore) -> None:
    """Sizes, revision, lines, archives, and the time of the last change of any file."""
    for _ in range(3):
        await store.sessions.append_session_output(AGENT, ["x"])
        await store.sessions.archive_session(AGENT)
    written = await store.sessions.write_session_state(AGENT, b"12345")
    store.clock.now_ms += 7
    await store.sessions.append_session_output(AGENT, ["a", "", "b"])
    expected = AgentStat(AGENT, written.session_id, 5, 1, 5, 2, BEGINNING_MS + 7, 3)
    assert await store.sessions.stat([AGENT]) == [expected]


async def test_modts_is_the_last_change_of_any_file(store: OpenStore) -> None:
    """Whichever of the files changed last tells the time; a write that changed nothing does not."""
    await store.sessions.append_session_output(AGENT, ["a"])
    store.clock.now_ms += 5
    await store.sessions.write_session_state(AGENT, b"{}")
    store.clock.now_ms += 5
    await store.sessions.write_session_state(AGENT, b"{}", covers_line=1)
    (stat,) = await store.sessions.stat([AGENT])
    assert stat.modts == BEGINNING_MS + 5


async def test_an_empty_snapshot_has_a_revision(sessions: Sessions) -> None:
    """A snapshot of no bytes has size 0 and revision 1, output alone no revision."""
    await sessions.write_session_state(AGENT, b"")
    await sessions.append_session_output(OTHER, ["x"])
    one, other = await sessions.stat([AGENT, OTHER])
    assert (one.snapshot_bytes, one.revision, one.modts) == (0, 1, BEGINNING_MS)
    assert (other.snapshot_bytes, other.revision, other.output_bytes) == (0, None, 2)


async def test_rows_come_in_the_order_asked_and_as_often(sessions: Sessions) -> None:
    """Neither sorted nor made unique, the unknown among them."""
    for definition_id in ("b", "a", "c"):
        await sessions.write_session_state(definition_id, definition_id.encode())
    asked = ["c", "unknown", "a", "c", "b", "unknown", "a"]
    assert [stat.definition_id for stat in await sessions.stat(asked)] == asked


async def test_archives_alone_are_counted(sessions: Sessions) -> None:
    """An agent whose session was archived has archives and nothing current."""
    await sessions.write_session_state(AGENT, b"{}")
    await sessions.archive_session(AGENT)
    assert await sessions.stat([AGENT]) == [nothing(AGENT, archives=1)]


async def test_other_files_do_not_count_as_snapshot_or_output(store: OpenStore) -> None:
    """A migrated session's further files tell the time of the last change, and no sizes here."""
    taken = await take_over(store, agent_current_zone(AGENT), {"notes": b"x" * 100})
    assert await store.sessions.stat([AGENT]) == [AgentStat(AGENT, taken.session_id, 0, None, 0, 0, 1_000, 0)]


async def test_a_thousand_ids_are_the_most(sessions: Sessions) -> None:
    """1 000 are answered; one more is TOO_LARGE, and the limit is named."""
    ids = [f"agent-{number}" for number in range(1_000)]
    assert await sessions.stat(ids) == [nothing(definition_id) for definition_id in ids]
    with pytest.raises(TooLargeError) as caught:
        await sessions.stat([*ids, "one-more"])
    assert caught.value.facts == {"limit": "stat_definitions_max", "max": 1_000}


async def test_a_list_is_asked_for_as_a_set(store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of agents or archives: one question about the rows, and one about their files."""
    # Before there is an archive: they ask as well, and what is being read is read to its end.
    await store.previews.stop()
    for definition_id in (AGENT, OTHER, OTHER, OTHER):
        await store.sessions.append_session_output(definition_id, ["x"])
        await store.sessions.write_session_state(definition_id, b"{}")
        await store.sessions.archive_session(definition_id)
    await store.sessions.append_session_output(OTHER, ["y"])
    asked: list[str] = []
    for handle in (SqliteHandle, PostgresHandle):
        rows = handle.rows

        def noted(self: Any, statement: str, rows: Any = rows, **values: Any) -> Any:
            asked.append(statement)
            return rows(self, statement, **values)

        monkeypatch.setattr(handle, "rows", noted)
    assert [each.archives for each in await store.engine.stat([OTHER, AGENT, "c", OTHER])] == [3, 1, 0, 3]
    assert [each.definition_id for each in await store.engine.list_agents(10, None)] == [OTHER, AGENT]
    assert [each.size_bytes for each in await store.engine.list_archives(OTHER, 10, None)] == [4, 4, 4]
    assert asked == ["stat", "files_of", "list_agents", "files_of", "list_archives", "files_of"]
