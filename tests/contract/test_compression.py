"""Archives that were compressed: whatever is asked of them, and done with them, is as it would be otherwise."""

from __future__ import annotations

import random

import pytest

from store.engine import CompleteSession, MoveSession
from store.limits import PART_BYTES
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, Zone, agent_archive_zone, agent_current_zone
from tests.conftest import OpenStore
from tests.contract.made import AGENT, OTHER, content_of, take_over

LINES = [f'{{"type": "assistant", "n": {number}, "text": "what was said"}}' for number in range(6_000)]
OUTPUT = "".join(line + "\n" for line in LINES).encode()
SNAPSHOT = b'{"nodes": [' + b'{"type": "markdown"}, ' * 7_000 + random.Random(2).randbytes(2 * PART_BYTES) + b"]}"
FILES = {OUTPUT_FILE: OUTPUT, SNAPSHOT_FILE: SNAPSHOT}
ARCHIVE = agent_archive_zone(AGENT, 5)
HERE = agent_current_zone(AGENT)


async def compressed(store: OpenStore) -> None:
    """Have all archives compressed."""
    assert await store.compressions.sweep()
    assert (await store.engine.status())["compressions_waiting"] == 0


async def seen(store: OpenStore, zone: Zone) -> object:
    """Return all that can be read of a session."""
    stat = await store.engine.zone_stat(zone)
    assert stat is not None
    files = [await store.engine.read_bytes(zone, file.name, 0, 1 << 30) for file in stat.files]
    slices = [
        await store.engine.read_session_bytes(stat.session_id, file.name, start_byte, 1_000)
        for file in stat.files
        for start_byte in (0, 1, PART_BYTES - 1, PART_BYTES, file.size_bytes - 1, file.size_bytes)
    ]
    pages = [
        await store.engine.read_output(zone, first_line, 100, 1 << 20)
        for first_line in (0, 1, 2_345, 5_999, 9_999, None)
    ]
    return stat, files, slices, pages, await store.engine.read_session_state(zone)


async def test_a_compressed_archive_reads_as_before(store: OpenStore) -> None:
    """Snapshot, pages at the head, the middle and the end, ranges, sizes and revisions; after a restart as well."""
    await take_over(store, ARCHIVE, FILES)
    await store.sessions.append_session_output(AGENT, LINES)
    await store.sessions.write_session_state(AGENT, SNAPSHOT)
    before = [await seen(store, ARCHIVE), await seen(store, HERE)]
    await compressed(store)
    assert [await seen(store, ARCHIVE), await seen(store, HERE)] == before
    await store.reopen()
    assert [await seen(store, ARCHIVE), await seen(store, HERE)] == before


@pytest.mark.parametrize("end", [b"", b"the last line has no end " * 500])
async def test_a_compressed_session_that_is_current_again_is_appended_to_and_written(
    store: OpenStore, end: bytes
) -> None:
    """Its end is known, a duplicate is found, parts are merged and compared, and it can be archived and compressed again."""
    output = OUTPUT + end
    await take_over(store, ARCHIVE, {OUTPUT_FILE: output, SNAPSHOT_FILE: SNAPSHOT})
    await compressed(store)
    await store.writer.submit(MoveSession(ARCHIVE, HERE))
    sessions = store.sessions
    again = await sessions.append_session_output(AGENT, [LINES[7]], expect_offset=OUTPUT.index(LINES[7].encode()))
    assert again.duplicate
    assert again.size_bytes == len(output)
    for number in range(3):
        added = await sessions.append_session_output(AGENT, LINES[:400])
        output += (b"" if number or not end else b"\n") + OUTPUT[: len("\n".join(LINES[:400])) + 1]
        assert added.size_bytes == len(output)
    same = await sessions.write_session_state(AGENT, SNAPSHOT)
    assert same.revision == 1
    written = await sessions.write_session_state(AGENT, b"{" + SNAPSHOT[1:] + b"x")
    assert written.revision == 2
    archived = await sessions.archive_session(AGENT)
    assert archived.archive_zoneid is not None
    await compressed(store)
    assert await store.engine.read_bytes(archived.archive_zoneid, OUTPUT_FILE, 0, 1 << 30) == output
    assert archived.archived_at_ms is not None
    state = await sessions.read_archive(AGENT, archived.archived_at_ms)
    assert content_of(state) == b"{" + SNAPSHOT[1:] + b"x"


async def test_a_compressed_archive_moves_and_is_completed(store: OpenStore) -> None:
    """As a row and as files that go to another session."""
    await take_over(store, ARCHIVE, {OUTPUT_FILE: OUTPUT})
    await take_over(store, agent_archive_zone(OTHER, 9), {SNAPSHOT_FILE: SNAPSHOT})
    await compressed(store)
    moved = agent_archive_zone(OTHER, 5)
    assert await store.writer.submit(MoveSession(ARCHIVE, moved)) == moved
    await store.writer.submit(CompleteSession(moved, agent_archive_zone(OTHER, 9), (OUTPUT_FILE,)))
    await compressed(store)
    assert await store.engine.read_bytes(agent_archive_zone(OTHER, 9), OUTPUT_FILE, 0, 1 << 30) == OUTPUT
    assert content_of(await store.sessions.read_archive(OTHER, 9)) == SNAPSHOT
