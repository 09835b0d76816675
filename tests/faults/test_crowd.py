"""Many clients at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from store.errors import StaleSessionError
from store.records import Appended
from tests.conftest import OpenStore

CLIENTS = 64
APPENDS = 25


async def all_lines(store: OpenStore, agent: str) -> dict[str, list[str]]:
    """Return the lines of every session of an agent by session id, read page by page."""
    found: dict[str, list[str]] = {}
    for stat in await store.engine.zones_of(agent):
        lines: list[str] = []
        at_ms = stat.zone.archived_at_ms
        while page := (await store.sessions.read_output(agent, at_ms, first_line=len(lines), limit=777)).lines:
            lines += page
        found[stat.session_id] = lines
    return found


async def test_64_appenders_and_one_archiver_lose_and_duplicate_nothing(store: OpenStore) -> None:
    """Every acknowledged line is in exactly the session its answer named, once, and in its client's order."""
    running = CLIENTS
    archives = 0

    async def append(client: int) -> list[tuple[str, Appended]]:
        nonlocal running
        done = []
        for number in range(APPENDS):
            line = f"{client}.{number}"
            done.append((line, await store.sessions.append_session_output("agent", [line])))
        running -= 1
        return done

    async def archive() -> None:
        nonlocal archives
        while running:
            archives += (await store.sessions.archive_session("agent")).archived_at_ms is not None

    archiver = asyncio.ensure_future(archive())
    answers = await asyncio.gather(*(append(client) for client in range(CLIENTS)))
    await archiver
    found = await all_lines(store, "agent")
    assert archives > 3
    assert Counter(line for lines in found.values() for line in lines) == Counter(
        f"{client}.{number}" for client in range(CLIENTS) for number in range(APPENDS)
    )
    positions = {(id_, line): number for id_, lines in found.items() for number, line in enumerate(lines)}
    for answer in answers:
        for line, appended in answer:
            assert positions[appended.session_id, line] == appended.total_lines - 1


async def test_panes_that_name_their_session_never_write_into_the_next(store: OpenStore) -> None:
    """With a session id a line is stored in that session or refused as stale, however often it is archived meanwhile."""
    stored: Counter[str] = Counter()

    async def pane(client: int) -> int:
        refused = 0
        session_id: str | None = None
        for number in range(APPENDS):
            line = f"{client}.{number}"
            try:
                done = await store.sessions.append_session_output("agent", [line], session_id=session_id)
            except StaleSessionError:
                refused += 1
                session_id = None
                continue
            assert session_id in (None, done.session_id)
            session_id = done.session_id
            stored[f"{done.session_id} {line}"] += 1
            if number % 10 == client % 10:
                await store.sessions.archive_session("agent", session_id)
        return refused

    refused = await asyncio.gather(*(pane(client) for client in range(16)))
    assert sum(refused) > 0
    found = await all_lines(store, "agent")
    assert Counter(f"{id_} {line}" for id_, lines in found.items() for line in lines) == stored


async def test_clients_that_expect_an_offset_and_retry_append_exactly_once(store: OpenStore) -> None:
    """Each call is sent three times at once, as over a line that loses answers: one is stored, the others are duplicates."""
    size = 0
    for number in range(60):
        calls = (
            store.sessions.append_session_output("agent", [f"line {number}"], expect_offset=size) for _ in range(3)
        )
        answers = await asyncio.gather(*calls)
        assert sorted(answer.duplicate for answer in answers) == [False, True, True]
        assert len({answer.offset for answer in answers}) == 1
        size = answers[0].size_bytes
    (lines,) = (await all_lines(store, "agent")).values()
    assert lines == [f"line {number}" for number in range(60)]


async def test_clients_that_go_away_leave_the_others_alone(store: OpenStore) -> None:
    """Calls cancelled at any time are stored whole or not at all, and every answered one is stored."""

    async def impatient(number: int) -> None:
        call = asyncio.ensure_future(
            store.sessions.append_session_output("agent", [f"gone {number}.a", f"gone {number}.b"])
        )
        for _ in range(number % 7):
            await store.sessions.stat(["agent"])
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    async def patient(number: int) -> None:
        await store.sessions.append_session_output("agent", [f"here {number}"])

    await asyncio.gather(*(each(number) for number in range(100) for each in (impatient, patient)))
    (lines,) = (await all_lines(store, "agent")).values()
    assert [line for line in lines if line.startswith("here")] == [f"here {number}" for number in range(100)]
    gone = [line for line in lines if line.startswith("gone")]
    assert [line[:-2] for line in gone[::2]] == [line[:-2] for line in gone[1::2]]
    assert len(set(gone)) == len(gone)
