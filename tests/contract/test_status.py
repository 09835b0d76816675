"""What an engine says of itself (DESIGN.md section 2, `srv:status`)."""

from __future__ import annotations

from dataclasses import fields

from store.engine import AppendOutput, ArchiveSession, Engine
from store.records import SessionCounts
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS

ZONE = agent_current_zone("agent")


async def test_sessions_are_counted(engine: Engine) -> None:
    """All of them, those that are archived, and of these those whose preview is not worked out."""
    await engine.apply([AppendOutput(ZONE, b"x\n", BEGINNING_MS), ArchiveSession(ZONE, BEGINNING_MS)])
    await engine.apply([AppendOutput(ZONE, b"x\n", BEGINNING_MS)])
    status = await engine.status()
    assert (status["sessions"], status["archives"], status["previews_waiting"]) == (2, 1, 1)


async def test_the_status_is_what_needs_no_answer_of_the_store_and_these_counts(engine: Engine) -> None:
    """So that whoever cannot ask the store still has all the rest."""
    assert (await engine.status()).keys() == {*engine.figures(), *(each.name for each in fields(SessionCounts))}


async def test_it_is_told_what_an_acknowledgement_means(engine: Engine) -> None:
    """On a disk, in words as well."""
    told = (await engine.status())["durability"]
    assert isinstance(told, dict)
    assert (told["level"], "disk" in told["words"]) == ("disk", True)


async def test_it_is_told_how_long_the_disk_took(engine: Engine) -> None:
    """Of each batch, once it is durable."""
    assert engine.sync_seconds == 0
    await engine.apply([AppendOutput(ZONE, b"x\n", BEGINNING_MS)])
    assert engine.sync_seconds > 0
