"""`read_session_bytes`: long readings in steps, which stay with the session they began with."""

from __future__ import annotations

import pytest

from store.engine import MoveSession
from store.zones import OUTPUT_FILE, SNAPSHOT_FILE, agent_archive_zone, agent_current_zone
from tests.conftest import OpenStore
from tests.contract.made import AGENT, OTHER, take_over

STEP_BYTES = 1_000


async def rest_of(store: OpenStore, session_id: str, start_byte: int, name: str = OUTPUT_FILE) -> bytes:
    """Read a file from a byte to its end, step by step."""
    found = bytearray()
    while piece := await store.engine.read_session_bytes(session_id, name, start_byte + len(found), STEP_BYTES):
        assert len(piece) <= STEP_BYTES
        found += piece
    return bytes(found)


@pytest.mark.parametrize(
    ("start_byte", "max_bytes"), [(0, 1), (65_535, 2), (65_536, 65_536), (199_999, 10), (130_000, 1 << 20)]
)
async def test_any_slice_of_any_file_of_a_session_is_read(store: OpenStore, start_byte: int, max_bytes: int) -> None:
    """From a byte, at most so many, over the ends of parts; of the session named, and of no other."""
    data = bytes(number % 251 for number in range(200_000))
    await take_over(store, agent_current_zone(OTHER), {"notes": data[::-1]})
    taken = await take_over(store, agent_archive_zone(AGENT, 5), {"notes": data})
    found = await store.engine.read_session_bytes(taken.session_id, "notes", start_byte, max_bytes)
    assert found == data[start_byte : start_byte + max_bytes]


@pytest.mark.parametrize("start_byte", [3, 4, 2**53 - 1])
async def test_at_or_past_the_end_there_are_no_bytes(store: OpenStore, start_byte: int) -> None:
    """At the end, beyond it, in a file or a session that is not there: no bytes and no error."""
    taken = await take_over(store, agent_archive_zone(AGENT, 5), {"notes": b"abc", "empty": b""})
    for name in ("notes", "empty", "unknown"):
        assert await store.engine.read_session_bytes(taken.session_id, name, start_byte, 10) == b""
    for session_id in ("", "unknown", AGENT, str(taken.zone)):
        assert await store.engine.read_session_bytes(session_id, "notes", 0, 10) == b""


async def test_an_archive_meanwhile_does_not_end_a_reading(store: OpenStore) -> None:
    """What began in the current zone goes on in the archive, and sees nothing of the session that has followed."""
    lines = [f"{number:05d}".ljust(99, ".") for number in range(2_000)]
    appended = await store.sessions.append_session_output(AGENT, lines)
    data = "".join(f"{line}\n" for line in lines).encode()
    head = await store.engine.read_session_bytes(appended.session_id, OUTPUT_FILE, 0, STEP_BYTES)
    await store.sessions.archive_session(AGENT)
    await store.sessions.append_session_output(AGENT, ["of the next session"])
    assert head + await rest_of(store, appended.session_id, len(head)) == data


async def test_a_move_meanwhile_does_not_end_a_reading(store: OpenStore) -> None:
    """A session that another agent has got is read on under its id."""
    written = await store.sessions.write_session_state(AGENT, b"x" * 100_000)
    await store.writer.submit(MoveSession(agent_current_zone(AGENT), agent_archive_zone(OTHER, 7)))
    assert await rest_of(store, written.session_id, 10, SNAPSHOT_FILE) == b"x" * 99_990


async def test_appends_meanwhile_do_not_change_what_was_there(store: OpenStore) -> None:
    """Small parts that become one between two steps hold the same bytes at the same places."""
    session_id = (await store.sessions.append_session_output(AGENT, ["first"])).session_id
    expected = b"first\n"
    for number in range(60):
        size_bytes = len(expected)
        before = await store.engine.read_session_bytes(session_id, OUTPUT_FILE, 0, size_bytes)
        line = f"{number:05d}".ljust(3_999, ".")
        await store.sessions.append_session_output(AGENT, [line])
        assert await store.engine.read_session_bytes(session_id, OUTPUT_FILE, 0, size_bytes) == before == expected
        expected += line.encode() + b"\n"
    assert await rest_of(store, session_id, 0) == expected
