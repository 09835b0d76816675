"""A data directory that may be read and not written: nothing in it changes, and a daemon that runs there already goes on."""

from __future__ import annotations

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.faults.causes import read_only
from tests.faults.stored import sessions_in, store_of
from tests.srv.daemon import Daemon

_CAPBSET_DROP: Final = 24
_OVERRIDING: Final = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what makes modes mean nothing to root."""


def _start_heeding_modes(data_dir: Path) -> Daemon:
    """Start a daemon from this thread, which gives up for itself and its children what root has over modes."""
    if os.geteuid() == 0:
        if sys.platform != "linux":
            pytest.skip("only Linux lets root give up a single right")
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in _OVERRIDING:
            if libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                pytest.skip("this process may not give up what root has over modes")
    return Daemon(data_dir)


def started_heeding_modes(data_dir: Path) -> Daemon:
    """Start a daemon for which modes count, whoever runs the tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_start_heeding_modes, data_dir).result()


def everything_in(data_dir: Path) -> dict[str, bytes]:
    """Return the store's files by name."""
    return {path.name: path.read_bytes() for path in (data_dir / "db").iterdir()}


def test_a_start_where_nothing_may_be_written_says_so_and_changes_nothing(data_dir: Path) -> None:
    """The daemon exits with its reason and the path; with the right to write again it starts, and everything is there."""
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="kept")
    before = everything_in(data_dir)
    for directory in (data_dir, data_dir / "run", data_dir / "db"):
        with read_only(directory), started_heeding_modes(data_dir) as refused:
            with pytest.raises(AssertionError, match=r"the daemon ended with [24]"):
                refused.next_line()
            refused.wait()
        assert str(directory) in refused.log()
        assert "Traceback" not in refused.log()
        assert everything_in(data_dir) == before
    with Daemon.start(data_dir) as daemon:
        assert daemon.call("agent:session:read_output", definition_id="maks")["lines"] == ["kept"]


def test_a_store_file_that_may_not_be_written_is_named_at_the_start(data_dir: Path) -> None:
    """SQLite opens it all the same, and refuses every change for ever: the start is refused, with the file and what to do."""
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="kept")
        daemon.kill()
    before = everything_in(data_dir)
    for suffix in ("", "-wal", "-shm"):
        path = Path(f"{store_of(data_dir)}{suffix}")
        with read_only(path), started_heeding_modes(data_dir) as refused:
            with pytest.raises(AssertionError, match="the daemon ended with 4"):
                refused.next_line()
            refused.wait()
        assert f"{path} cannot be written by this user; give it the right to write" in refused.log()
        assert "Traceback" not in refused.log()
        assert everything_in(data_dir).keys() == before.keys()
    with started_heeding_modes(data_dir) as daemon:
        while daemon.next_line()["event"] != "listening":
            pass
    assert [session.output for session in sessions_in(store_of(data_dir))] == [b"kept\n"]


def test_a_directory_that_becomes_read_only_disturbs_nobody(data_dir: Path) -> None:
    """The running daemon holds its files: it reads and writes on, and what it acknowledges is there after a kill."""
    with started_heeding_modes(data_dir) as daemon:
        while daemon.next_line()["event"] != "listening":
            pass
        daemon.ready = daemon.said[-1]
        daemon.token = (data_dir / "auth.token").read_text().strip()
        daemon.call("agent:session:append_output", definition_id="maks", line="before")
        with read_only(data_dir / "db", store_of(data_dir), data_dir):
            daemon.call("agent:session:append_output", definition_id="maks", line="meanwhile")
            lines = daemon.call("agent:session:read_output", definition_id="maks")["lines"]
            assert lines == ["before", "meanwhile"]
            daemon.kill()
    with Daemon.start(data_dir) as again:
        (session,) = sessions_in(store_of(data_dir))
        assert session.output == b"before\nmeanwhile\n"
        assert again.call("agent:session:read_output", definition_id="maks")["lines"] == lines
