"""`agent:session:mount`."""

from __future__ import annotations

import asyncio

import pytest

from store.limits import READ_BYTES_DEFAULT, READ_BYTES_MAX
from store.records import Mount, Page, SessionState
from store.sessions import Sessions
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS, OpenStore
from tests.contract.made import AGENT, content_of, take_over


async def fill(store: OpenStore, count: int, line_bytes: int = 20, covers_line: int | None = None) -> list[str]:
    """Store a snapshot and `count` numbered lines; return the lines."""
    lines = [f"{number:08d}".ljust(line_bytes - 1, ".") for number in range(count)]
    output = "".join(line + "\n" for line in lines).encode()
    files = {"output": output, "output.state.json": b"{}"}
    await take_over(store, agent_current_zone(AGENT), files, covers_line)
    return lines


async def test_a_fresh_agent_mounts_as_nothing(sessions: Sessions) -> None:
    """No session, no snapshot, no lines; and none of them comes into being."""
    assert await sessions.mount(AGENT) == Mount(SessionState(None), None, Page([], 0, 0, 0, 0, None))
    assert await sessions.list_agents() == ([], None)


async def test_all_that_a_pane_needs(sessions: Sessions) -> None:
    """Session id, snapshot with its time, revision and `covers_line`, and the output from that line on."""
    appended = await sessions.append_session_output(AGENT, ["a", "b", "c"])
    await sessions.write_session_state(AGENT, b"{}", covers_line=2)
    session_id = appended.session_id
    state = SessionState(session_id, (b"{}",), BEGINNING_MS, 1)
    assert await sessions.mount(AGENT) == Mount(state, 2, Page(["c"], 2, 3, 3, 6, session_id))


async def test_without_a_snapshot_there_is_output_alone(sessions: Sessions) -> None:
    """The snapshot is null, the lines are there."""
    appended = await sessions.append_session_output(AGENT, ["a"])
    mount = await sessions.mount(AGENT)
    assert (mount.state, mount.covers_line) == (SessionState(appended.session_id), None)
    assert mount.output.lines == ["a"]


async def test_without_output_there_is_the_snapshot_alone(sessions: Sessions) -> None:
    """No lines, whatever the snapshot says it covers."""
    written = await sessions.write_session_state(AGENT, b"{}", covers_line=3)
    mount = await sessions.mount(AGENT)
    assert (content_of(mount.state), mount.covers_line) == (b"{}", 3)
    assert mount.output == Page([], 0, 0, 0, 0, written.session_id)


@pytest.mark.parametrize(
    ("covers_line", "first_line"), [(None, 0), (0, 0), (1, 1), (99, 99), (100, 100), (101, 100), (2**53 - 1, 100)]
)
async def test_lines_start_at_covers_line(store: OpenStore, covers_line: int | None, first_line: int) -> None:
    """The lines the snapshot does not contain; beyond the end none are left to show, and the total is the true one."""
    lines = await fill(store, 100)
    await store.sessions.write_session_state(AGENT, b"{}", covers_line=covers_line)
    mount = await store.sessions.mount(AGENT)
    assert mount.covers_line == covers_line
    assert (mount.output.lines, mount.output.first_line) == (lines[first_line:], first_line)
    assert (mount.output.total_lines, mount.output.size_bytes) == (100, 2_000)


@pytest.mark.parametrize(
    ("covers_line", "tail_lines", "first_line"),
    [(None, 10, 90), (50, 10, 90), (95, 10, 95), (50, 100, 50), (50, 50, 50)],
)
async def test_or_are_the_last_tail_lines_where_that_is_fewer(
    store: OpenStore, covers_line: int | None, tail_lines: int, first_line: int
) -> None:
    """Of what `covers_line` leaves and `tail_lines` the fewer lines are read, and they are the newest."""
    lines = await fill(store, 100, covers_line=covers_line)
    output = (await store.sessions.mount(AGENT, tail_lines)).output
    assert (output.lines, output.first_line, output.next_line) == (lines[first_line:], first_line, 100)


async def test_tail_lines_are_5_000_by_default_and_10_000_at_most(store: OpenStore) -> None:
    """0 and absent are the default, too large is the maximum."""
    lines = await fill(store, 10_100, 12)
    for tail_lines, expected in ((None, 5_000), (0, 5_000), (10_001, 10_000), (2**53 - 1, 10_000)):
        output = (await store.sessions.mount(AGENT, tail_lines)).output
        assert output.lines == lines[10_100 - expected :]


async def test_max_bytes_keeps_the_newest_lines_that_fit(store: OpenStore) -> None:
    """A mount is a tail: what does not fit is dropped from its beginning, below `covers_line` or not."""
    lines = await fill(store, 100, covers_line=10)
    for max_bytes, fits in ((19, 1), (20, 1), (40, 2), (59, 2), (2_000, 90)):
        output = (await store.sessions.mount(AGENT, max_bytes=max_bytes)).output
        assert (output.lines, output.first_line) == (lines[100 - fits :], 100 - fits)


async def test_max_bytes_is_1_mib_by_default_and_8_mib_at_most(store: OpenStore) -> None:
    """0 and absent are the default, too large is the maximum."""
    line_bytes = 4_096
    await fill(store, 2_100, line_bytes)
    for max_bytes, expected in ((None, READ_BYTES_DEFAULT), (0, READ_BYTES_DEFAULT), (2**53 - 1, READ_BYTES_MAX)):
        output = (await store.sessions.mount(AGENT, max_bytes=max_bytes)).output
        assert len(output.lines) == expected // line_bytes


async def test_one_huge_line_is_mounted_alone(sessions: Sessions) -> None:
    """A last line larger than `max_bytes` is still there."""
    await sessions.append_session_output(AGENT, ["a", "x" * 100_000])
    output = (await sessions.mount(AGENT, max_bytes=10)).output
    assert (output.lines, output.first_line) == (["x" * 100_000], 1)


async def test_an_unterminated_last_line_is_mounted(store: OpenStore) -> None:
    """A last piece without a newline counts."""
    await take_over(store, agent_current_zone(AGENT), {"output": b"a\r\n\nb\r"})
    output = (await store.sessions.mount(AGENT)).output
    assert (output.lines, output.total_lines, output.size_bytes) == (["a", "b\r"], 2, 6)


async def test_snapshot_and_output_are_of_one_moment(sessions: Sessions) -> None:
    """While a writer alternates line and snapshot, a mount never sees one without the other it speaks of."""
    writing = True

    async def write() -> None:
        nonlocal writing
        for number in range(1, 121):
            await sessions.append_session_output(AGENT, [str(number)])
            await sessions.write_session_state(AGENT, b"%d" % number, covers_line=number)
        writing = False

    async def look() -> int:
        looks = 0
        while writing:
            mount = await sessions.mount(AGENT)
            covered = mount.covers_line or 0
            assert covered == int(content_of(mount.state) or b"0")
            assert mount.output.total_lines - covered in {0, 1}
            assert len(mount.output.lines) == mount.output.total_lines - covered
            looks += 1
        return looks

    *looks, _ = await asyncio.gather(look(), look(), write())
    assert all(looks)
