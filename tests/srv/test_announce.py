"""The lines on standard output, by which a parent follows the start."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import IO

import pytest

from migrations.records import Progress
from srv import announce
from srv.announce import Announcer, MigrationTicker, say
from srv.supervisor import Supervisor


@pytest.fixture
def standard_output() -> Iterator[tuple[IO[bytes], IO[str]]]:
    """Make a pipe: its two ends, the parent's and ours."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as there, os.fdopen(writing, "w") as here:
        yield there, here


@pytest.fixture
def parent(standard_output: tuple[IO[bytes], IO[str]], monkeypatch: pytest.MonkeyPatch) -> IO[bytes]:
    """Stand at the other end of our standard output."""
    there, here = standard_output
    # Not sys.stdout itself, which pytest exchanges between the phases of a test.
    monkeypatch.setattr(announce, "sys", SimpleNamespace(stdout=here))
    return there


def test_a_line_is_one_json_object(parent: IO[bytes]) -> None:
    """The event comes first, its facts after it, and then the end of the line."""
    say("listening", url="http://x", unix_socket=None)
    assert json.loads(parent.readline()) == {"event": "listening", "url": "http://x", "unix_socket": None}


def test_a_parent_that_does_not_read_is_not_waited_for(parent: IO[bytes]) -> None:
    """Once the pipe is full, lines are dropped instead of holding up the daemon."""
    for _ in range(10_000):
        say("migrating", migration="m" * 100, done=0, total=0)
    assert json.loads(parent.readline())["event"] == "migrating"


@pytest.mark.usefixtures("parent")
def test_a_parent_that_has_gone_is_no_failure(parent: IO[bytes]) -> None:
    """A broken pipe is none of the daemon's business."""
    parent.close()
    say("listening")


def test_without_a_standard_output_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that was started with it closed has none."""
    monkeypatch.setattr(announce, "sys", SimpleNamespace(stdout=None))
    say("listening")


def test_a_migration_that_says_nothing_is_heard_of_all_the_same(
    parent: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines come at short intervals, whether or not there is progress, and without the event loop's help."""
    assert announce.TICK_SECONDS <= 0.5
    monkeypatch.setattr(announce, "TICK_SECONDS", 0.001)
    with MigrationTicker("first", Announcer(Supervisor({})).migrating) as ticker:
        quiet = [json.loads(parent.readline()) for _ in range(3)]
        ticker.progress(Progress("second", 3, 10))
        while (line := json.loads(parent.readline())) == quiet[0]:
            pass
    assert quiet == [{"event": "migrating", "migration": "first", "done": 0, "total": 0}] * 3
    assert line == {"event": "migrating", "migration": "second", "done": 3, "total": 10}


def test_a_migration_with_something_to_do_is_announced_at_once(
    parent: IO[bytes], standard_output: tuple[IO[bytes], IO[str]]
) -> None:
    """A parent hears of it even if all is over before the first interval; a start without old data says nothing."""
    with MigrationTicker("first", Announcer(Supervisor({})).migrating) as ticker:
        ticker.progress(Progress("first", 0, 0))
        ticker.progress(Progress("second", 0, 7))
        ticker.progress(Progress("second", 1, 7))
    standard_output[1].close()
    assert [json.loads(line)["total"] for line in parent] == [7]
