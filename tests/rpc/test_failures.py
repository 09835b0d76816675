"""What the log says of storage failures."""

from __future__ import annotations

import sqlite3

from structlog.testing import capture_logs

from rpc.failures import FailureLog
from store.errors import StorageDamagedError, StorageFullError, ZoneNotFoundError


def test_a_storage_failure_is_logged_with_its_cause_now_and_then() -> None:
    """Once a minute for each sentence; callers' own mistakes never."""
    now = 1_000.0
    log = FailureLog(lambda: now)
    full = StorageFullError()
    full.__cause__ = sqlite3.OperationalError("database or disk is full")
    with capture_logs() as logged:
        for _ in range(3):
            log.note("agent:session:write_state", full)
        log.note("agent:session:read", StorageDamagedError("zone agent:a:current, file output: damaged"))
        log.note("agent:session:read_archive", ZoneNotFoundError("no"))
    assert [entry["code"] for entry in logged] == ["STORAGE_FULL", "STORAGE_DAMAGED"]
    assert "disk is full" in logged[0]["cause"]
    now += 60
    with capture_logs() as logged:
        log.note("agent:session:write_state", full)
    assert len(logged) == 1


def test_many_sentences_do_not_fill_the_memory() -> None:
    """What is remembered is bounded."""
    log = FailureLog(lambda: 0.0)
    with capture_logs() as logged:
        for number in range(2_500):
            log.note("agent:session:read", StorageDamagedError(f"zone {number}"))
    assert len(logged) == 2_500
    assert len(log._logged_at) <= 1_000
