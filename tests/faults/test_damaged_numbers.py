"""The numbers beside a part's bytes are damaged, which no checksum covers: what cannot be is said, as far as it can be told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from store.errors import StorageDamagedError
from store.sessions import Sessions
from tests.conftest import EngineKind, OpenStore
from tests.faults.conftest import POSTGRES, SQLITE, Meddler, SqliteMeddler

ZONE: Final = "agent:agent:current"
LINES: Final = [f"{number:05d}".ljust(999, ".") for number in range(400)]

OUT_OF_BOUNDS: Final = [
    "first_line = -18000",
    "first_line = start_byte + 1",
    "line_count = -1",
    "line_count = size_bytes + 1",
    "size_bytes = -5",
    "start_byte = -1",
    "revision = 0",
]
OF_ANOTHER_KIND: Final = [
    "revision = 1.5",
    "modified_at_ms = 'soon'",
    "line_count = x'00'",
    "revision = CAST(x'ff' AS TEXT)",
    "size_bytes = CAST(x'ff' AS TEXT)",
    "modified_at_ms = NULL",
]
"""What no part's row can say: out of bounds; where the database lets it of another kind, not to be decoded, or not there."""

impossible = pytest.mark.parametrize(
    ("engine_kind", "numbers"),
    [
        pytest.param(kind, each, id=f"{kind.name}-{each}")
        for kind, ways in ((SQLITE, [*OUT_OF_BOUNDS, *OF_ANOTHER_KIND]), (POSTGRES, OUT_OF_BOUNDS))
        for each in ways
    ],
)
AGENT: Final = {SQLITE: "zone_id = 1", POSTGRES: "home = 'agent'"}

Question = Callable[[Sessions], Awaitable[object]]

OF_OUTPUT: Final[list[Question]] = [
    lambda sessions: sessions.read_output("agent"),
    lambda sessions: sessions.read_output("agent", first_line=0),
    lambda sessions: sessions.mount("agent"),
    lambda sessions: sessions.stat(["agent"]),
]
OF_SNAPSHOT: Final[list[Question]] = [
    lambda sessions: sessions.read_session_state("agent"),
    lambda sessions: sessions.read_session_state("agent", if_revision=1),
    lambda sessions: sessions.mount("agent"),
    lambda sessions: sessions.stat(["agent"]),
]


def damage(meddler: Meddler, change: str, where: str) -> None:
    """Put a fault into rows, whatever the schema says of them."""
    if isinstance(meddler, SqliteMeddler):
        meddler.allow_nulls("zones", "file_parts")
    assert meddler.change(f"UPDATE {change} WHERE {where}") > 0


async def check_damaged(question: Awaitable[object], *words: str) -> None:
    """Check that it is answered with STORAGE_DAMAGED, in these words too."""
    with pytest.raises(StorageDamagedError) as caught:
        await question
    assert all(word in str(caught.value) for word in words), caught.value


async def filled(store: OpenStore) -> None:
    """Store two agents' sessions."""
    for definition_id in ("agent", "other"):
        await store.sessions.write_session_state(definition_id, b"{}")
        await store.sessions.append_session_output(definition_id, ["a line"] * 10)


@pytest.mark.parametrize("name", ["output", "output.state.json"])
@impossible
async def test_numbers_that_cannot_be_are_never_served(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind, numbers: str, name: str
) -> None:
    """Whoever asks for that file's size, lines, revision or time is told zone and file; others are served."""
    await filled(store)
    damage(meddler, f"file_parts SET {numbers}", f"name = '{name}' AND {AGENT[engine_kind]}")
    # Of a text that is not Unicode SQLite's module does not say whose it is.
    named = (f"zone {ZONE}", f"file {name}:") if "x'ff'" not in numbers else ()
    for question in OF_OUTPUT if name == "output" else OF_SNAPSHOT:
        await check_damaged(question(store.sessions), *named)
    other = await store.sessions.mount("other")
    assert (other.output.total_lines, other.state.revision) == (10, 1)
    if name == "output":
        assert (await store.sessions.read_session_state("agent")).revision == 1
    else:
        assert (await store.sessions.read_output("agent")).total_lines == 10


@impossible
async def test_a_new_session_can_be_begun_whatever_the_numbers_are(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind, numbers: str
) -> None:
    """The damaged session is archived as it is; its row in the list is not made up."""
    await filled(store)
    damage(meddler, f"file_parts SET {numbers}", AGENT[engine_kind])
    archived = await store.sessions.archive_session("agent")
    assert archived.archive_zoneid is not None
    assert (await store.sessions.append_session_output("agent", ["new"])).offset == 0
    assert (await store.sessions.read_output("agent")).lines == ["new"]
    await check_damaged(store.sessions.list_archives("agent"))


async def test_a_snapshot_without_lines_adds_none_to_a_list(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind
) -> None:
    """A number of lines in a file that has none is damage, where it would be added to those of the output."""
    await filled(store)
    damage(meddler, "file_parts SET line_count = 1", f"name = 'output.state.json' AND {AGENT[engine_kind]}")
    await store.sessions.archive_session("agent")
    await check_damaged(store.sessions.list_archives("agent"), "file output.state.json:")


@pytest.mark.parametrize("change", ["line_count = line_count + 1", "line_count = line_count - 1"])
async def test_lines_that_are_read_are_counted_again(
    store: OpenStore, meddler: Meddler, engine_kind: EngineKind, change: str
) -> None:
    """A page that takes up a part whole, forwards or backwards, sees that it holds another number of lines than it says."""
    await filled(store)
    damage(meddler, f"file_parts SET {change}", f"name = 'output' AND {AGENT[engine_kind]}")
    for question in OF_OUTPUT[:3]:
        await check_damaged(question(store.sessions), f"zone {ZONE}", "file output:")


@pytest.mark.parametrize("moved", [-3, 1, 64])
async def test_lines_are_those_of_the_number_asked_for(store: OpenStore, meddler: Meddler, moved: int) -> None:
    """A part that says it begins with another line than the one before it ends with: no page that begins in it is served."""
    await store.sessions.append_session_output("agent", LINES)
    start_byte: int = meddler.rows("SELECT start_byte FROM file_parts ORDER BY start_byte")[3][0]
    damage(meddler, f"file_parts SET first_line = first_line + {moved}", f"start_byte = {start_byte}")
    line = start_byte // 1_000
    for first_line in (line, line + 40, line + 64):
        await check_damaged(store.sessions.read_output("agent", first_line=first_line, limit=1), "file output:")
    assert (await store.sessions.read_output("agent", first_line=0, limit=150)).lines == LINES[:150]
    assert (await store.sessions.read_output("agent", first_line=390, limit=5)).lines == LINES[390:395]


@pytest.mark.parametrize("engine_kind", [SQLITE], ids=["sqlite"])
@pytest.mark.parametrize(
    "change", ["session_id = NULL", "session_id = x'00'", "session_id = CAST(x'ff' AS TEXT)", "covers_line = 'x'"]
)
async def test_a_session_s_own_row_that_is_damaged_is_said(store: OpenStore, meddler: Meddler, change: str) -> None:
    """It is damage, by the zone's name, and no failure of ours; others are served."""
    await filled(store)
    damage(meddler, f"zones SET {change}", "id = 1")
    await check_damaged(store.sessions.mount("agent"), f"zone {ZONE}")
    assert (await store.sessions.mount("other")).output.total_lines == 10
