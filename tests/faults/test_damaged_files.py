"""The file beneath the daemon is not what it was: found, said by name, and never served as if it were right.

The faults are put into the raw file, from below SQLite. `test_damage.py` has the rest of what can be wrong with a part.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.causes import flipped
from tests.faults.soak import Plan
from tests.faults.stored import store_of
from tests.srv.daemon import Daemon, rpc_body
from tests.store.foreign import bytes_of, rows, wal_of

FLIPS: Final = 12
LINES: Final = 1_500
PAGE_LINES: Final = 250
SNAPSHOT_BYTES: Final = 300_000
DATABASE_PAGE_BYTES: Final = 4_096

Answers = dict[str, Any]
"""Results and errors of every question, by the question in words."""


def hexadecimal(seed: str, size: int) -> str:
    """Make a text of which no piece occurs twice, the same for a seed."""
    return random.Random(seed).randbytes(size // 2).hex()


def ask(daemon: Daemon, method: str, **params: Any) -> Any:
    """Ask one question; returns the result or the error."""
    _, _, body = daemon.request("POST", "/rpc", rpc_body(f"agent:session:{method}", **params))
    answer = json.loads(body)
    return answer.get("result", answer.get("error"))


def ask_all(daemon: Daemon, sound: Answers) -> Answers:
    """Ask all there is to know of the sessions of two agents; `sound` knows when they were archived."""
    answers: Answers = {}
    for agent in ("hurt", "whole"):
        answers[f"{agent} list"] = ask(daemon, "list_archives", definition_id=agent)
        answers[f"{agent} read"] = ask(daemon, "read", definition_id=agent)
        answers[f"{agent} mount"] = ask(daemon, "mount", definition_id=agent, tail_lines=50)
        answers[f"{agent} stat"] = ask(daemon, "stat", definition_ids=[agent])
        archived = {"archived_at_ms": (sound or answers)[f"{agent} list"][0]["archived_at_ms"]}
        answers[f"{agent} archive"] = ask(daemon, "read_archive", definition_id=agent, **archived)
        for first_line in range(0, LINES, PAGE_LINES):
            page = {"definition_id": agent, "first_line": first_line, "limit": PAGE_LINES}
            answers[f"{agent} page {first_line}"] = ask(daemon, "read_output", **page)
            answers[f"{agent} archive page {first_line}"] = ask(daemon, "read_output", **page, **archived)
    return answers


def is_damaged(answer: Any) -> bool:
    """Tell whether an answer says that what was asked for is damaged."""
    return isinstance(answer, dict) and answer.get("data", {}).get("code") == "STORAGE_DAMAGED"


def check(found: Answers, sound: Answers) -> list[str]:
    """Check that each answer is the right one or says what is damaged; returns the sentences."""
    damaged = {question for question, answer in found.items() if is_damaged(answer)}
    assert {q: found[q] for q in found.keys() - damaged} == {q: sound[q] for q in sound.keys() - damaged}
    assert all(found[question]["data"]["retry"] is False for question in damaged)
    for question in damaged:
        agent, what = question.split()[:2]
        assert what in {"list", "stat"} or f"zone agent:{agent}:" in found[question]["message"]
    return [found[question]["message"] for question in damaged]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answers]:
    """Fill a data directory with two agents' archives and current sessions; returns it and all that it answers."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    with Daemon.start(data_dir) as daemon:
        for agent, session in (("hurt", 0), ("hurt", 1), ("whole", 0), ("whole", 1)):
            text = hexadecimal(f"{agent} {session}", LINES * 200)
            lines = [text[start : start + 200] for start in range(0, len(text), 200)]
            daemon.call("agent:session:append_output", definition_id=agent, lines=lines)
            snapshot = hexadecimal(f"{agent} {session} snapshot", SNAPSHOT_BYTES)
            daemon.call("agent:session:write_state", definition_id=agent, content=snapshot)
            if session == 0:
                daemon.call("agent:session:archive", definition_id=agent)
        daemon.call("agent:session:list_archives", definition_id="hurt")
        while daemon.call("srv:status")["store"]["compressions_waiting"]:
            pass
        return data_dir, ask_all(daemon, {})


@pytest.fixture
def data_dir(filled: tuple[Path, Answers], tmp_path: Path) -> Path:
    """Copy the filled data directory."""
    return Path(shutil.copytree(filled[0], tmp_path / "data"))


@pytest.fixture
def sound(filled: tuple[Path, Answers]) -> Answers:
    """Return what an undamaged store answers."""
    return filled[1]


@pytest.fixture
def path(data_dir: Path) -> Path:
    """Name the store's file."""
    return store_of(data_dir)


def place_in(path: Path, zone: str, name: str, choose: random.Random) -> int:
    """Choose a place in the raw file that belongs to a stored part, and not to what SQLite has left of it elsewhere."""
    file = bytes_of(path)
    parts = rows(path, PARTS, f"agent:hurt:{zone}%", name)
    while True:
        ((data,),) = choose.choices(parts)
        start = choose.randrange(len(data) - 32)
        piece = data[start : start + 32]
        if file.count(piece) == 1:
            return file.index(piece) + choose.randrange(32)


PARTS: Final = """SELECT data FROM file_parts JOIN zones ON zones.id = zone_id
                  WHERE zone LIKE ? AND name = ? AND length(data) > 1000"""

TARGETS: Final = tuple(product(("archive:", "current"), ("output.state.json", "output")))
"""The files of one agent: in which of its zones, and its name. Those of the archive are compressed."""


def test_a_bit_flipped_at_rest_is_never_served(data_dir: Path, path: Path, sound: Answers) -> None:
    """Any bit of each stored text: after the start whoever asks for it is told zone and file, and all else is right."""
    plan = Plan.from_environment(os.environ, 0)
    choose = random.Random(plan.seed)
    with ExitStack() as flips:
        for at in [place_in(path, *target, choose) for target in TARGETS]:
            flips.enter_context(flipped(path, at, choose.randrange(8)))
        with Daemon.start(data_dir) as daemon:
            messages = check(ask_all(daemon, sound), sound)
            assert "Traceback" not in daemon.log()
    named = {(f"agent:hurt:{zone}", f"file {name}:") for zone, name in TARGETS}
    said = {each for each in named for message in messages if each[0] in message and each[1] in message}
    assert said == named, plan
    assert all(any(zone in message and name in message for zone, name in named) for message in messages), plan


def test_a_bit_flipped_beneath_the_running_daemon_is_never_served(data_dir: Path, path: Path, sound: Answers) -> None:
    """Whoever asks for it is told, or gets what is right as the daemon still has it; when it is mended all is served again."""
    plan = Plan.from_environment(os.environ, 0)
    choose = random.Random(plan.seed)
    places = [(target, place_in(path, *target, choose)) for target in TARGETS * (FLIPS // len(TARGETS))]
    with Daemon.start(data_dir) as daemon:
        for number, ((zone, name), at) in enumerate(places):
            bit = choose.randrange(8)
            # After each change readers look into the file anew.
            daemon.call("agent:session:append_output", definition_id="other", line=str(number))
            with flipped(path, at, bit):
                messages = check(ask_all(daemon, sound), sound)
            assert messages or name != "output", f"{plan}: bit {bit} of byte {at} was flipped, and all was served"
            assert all(f"zone agent:hurt:{zone}" in message and f"file {name}:" in message for message in messages)
        daemon.call("agent:session:append_output", definition_id="other", line="the end")
        assert check(ask_all(daemon, sound), sound) == []
        assert "Traceback" not in daemon.log()


def foreign_database(path: Path) -> None:
    """Put another program's database into the store's place."""
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()


REFUSED: Final[tuple[tuple[Callable[[Path], object], str], ...]] = (
    (lambda path: os.truncate(path, 100 * DATABASE_PAGE_BYTES), "restore it from a backup"),
    (lambda path: os.truncate(path, 50), "restore it from a backup"),
    (foreign_database, "a database of another program"),
    (lambda path: path.write_text("Dear diary,\n" * 1_000), "restore it from a backup"),
)
"""What stands in the store's place, and what is said of it: cut between two pages, cut in its head, another program's, none."""


def test_a_start_on_what_is_no_whole_store_of_ours_is_refused(filled: tuple[Path, Answers], tmp_path: Path) -> None:
    """Exit code 4, in words that name the file and say what to do, and not a byte of it is changed."""
    started: list[tuple[Daemon, str, bytes]] = []
    for number, (put_in_place, words) in enumerate(REFUSED):
        data_dir = Path(shutil.copytree(filled[0], tmp_path / f"data-{number}"))
        put_in_place(store_of(data_dir))
        started.append((Daemon(data_dir), words, bytes_of(store_of(data_dir))))
    for daemon, words, before in started:
        with daemon:
            with pytest.raises(AssertionError, match="the daemon ended with 4"):
                daemon.next_line()
            daemon.wait()
        assert words in daemon.log()
        assert str(store_of(daemon.data_dir)) in daemon.log()
        assert "Traceback" not in daemon.log()
        assert bytes_of(store_of(daemon.data_dir)) == before


def test_an_empty_file_is_a_new_store(data_dir: Path, path: Path) -> None:
    """A file of no bytes, with no log beside it, holds nothing that could be lost."""
    os.truncate(path, 0)
    with Daemon.start(data_dir) as daemon:
        assert daemon.call("agent:session:list_agents") == {"agents": [], "next": None}


def test_a_file_that_lacks_its_last_bytes_is_served_but_for_those(data_dir: Path, path: Path, sound: Answers) -> None:
    """What was cut off within the last page is told by its checksum; whoever does not need it gets right answers."""
    os.truncate(path, path.stat().st_size - 2_000)
    with Daemon.start(data_dir) as daemon:
        found = ask_all(daemon, sound)
        messages = check(found, sound)
        assert 0 < len(messages) < len(found) / 2


def test_a_file_cut_beneath_the_running_daemon_is_never_served_as_if_whole(
    data_dir: Path, path: Path, sound: Answers
) -> None:
    """Half of the file is gone: each answer is right or says what is damaged, new sessions go on, and it stops with 0."""
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="new", line="before")
        os.truncate(path, path.stat().st_size // 2)
        found = ask_all(daemon, sound)
        messages = check(found, sound)
        assert 0 < len(messages) < len(found)
        daemon.call("agent:session:append_output", definition_id="new", line="after")
        assert daemon.call("agent:session:read_output", definition_id="new")["lines"] == ["before", "after"]
        assert daemon.request("GET", "/healthz")[0] == 200
        assert "Traceback" not in daemon.log()
        assert daemon.stop() == 0


def test_a_file_emptied_beneath_the_running_daemon_is_damage(tmp_path: Path) -> None:
    """Whoever asks for what was in it is told so, and nobody that we have failed."""
    data_dir = tmp_path / "emptied"
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="gone")
    with Daemon.start(data_dir) as daemon:
        os.truncate(store_of(data_dir), 0)
        for method, params in (
            ("read", {}),
            ("read_output", {}),
            ("append_output", {"line": "x"}),
            ("list_archives", {}),
        ):
            assert is_damaged(ask(daemon, method, definition_id="maks", **params))


def test_a_file_emptied_beneath_the_running_daemon_leaves_what_is_in_its_log(tmp_path: Path) -> None:
    """What the daemon serves is right, the log stays as it is, and after a kill the start is refused for its sake."""
    data_dir = tmp_path / "emptied"
    path = store_of(data_dir)
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="kept")
        log = bytes_of(wal_of(path))
        os.truncate(path, 0)
        with ThreadPoolExecutor(16) as callers:  # so many that some need a handle that is not open yet
            answers = list(callers.map(lambda _: ask(daemon, "read_output", definition_id="maks"), range(64)))
        assert all(is_damaged(answer) or answer["lines"] == ["kept"] for answer in answers)
        assert bytes_of(wal_of(path)) == log
        daemon.kill()
    with Daemon(data_dir) as refused:
        with pytest.raises(AssertionError, match="the daemon ended with 4"):
            refused.next_line()
        refused.wait()
    assert str(wal_of(path)) in refused.log()
    assert bytes_of(wal_of(path)) == log
