"""Slow calls: which are told, and what is said of where their time went."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rpc.trace import Trace
from srv.slow_calls import STAGES, SlowCalls, times_ms
from tests.faults.causes import locked
from tests.srv.daemon import WAIT_SECONDS, Daemon, rpc_body

MIB = 2**20


def largest(line: dict[str, Any]) -> str:
    """Name the stage that took most of a request's time."""
    return max((stage for stage in (*STAGES, "other") if stage != "sync"), key=lambda s: line.get(f"{s}_ms", 0))


def test_the_stages_are_those_of_a_trace() -> None:
    """None that is measured is left out of the line."""
    assert {f"{stage}_seconds" for stage in STAGES} == {name for name in Trace.__slots__ if name.endswith("_seconds")}


def test_the_times_add_up() -> None:
    """Stages that took nothing are left out, the disk's share is a part of the commit, and the rest is other."""
    trace = Trace("x")
    trace.body_seconds, trace.queue_seconds, trace.queue_batches = 0.1, 0.2, 3
    trace.commit_seconds, trace.sync_seconds, trace.encode_seconds = 0.3, 0.25, 0.000_01
    assert times_ms(trace, 0.7) == {
        "total_ms": 700.0,
        "body_ms": 100.0,
        "queue_ms": 200.0,
        "queue_batches": 3,
        "commit_ms": 300.0,
        "sync_ms": 250.0,
        "other_ms": 100.0,
    }


class Asked:
    """A request, as far as a slow one is named by it."""

    method = "GET"
    path = "/zones/maks/current/output?token=sesame"


async def test_only_what_takes_that_long_is_told() -> None:
    """Counted as well; what called no method is named by its path, never with its query."""
    slow, quick = SlowCalls(1), SlowCalls(60_000)
    trace = Trace("x")
    trace.began -= 0.002
    with capture_logs() as logged:
        for calls in (slow, quick):
            calls.note(Asked(), trace)  # type: ignore[arg-type] # it has all that is used of a request
    assert (slow.count, quick.count) == (1, 0)
    (line,) = logged
    assert (line["event"], line["log_level"], line["method"]) == (
        "slow_call",
        "warning",
        "GET /zones/maks/current/output",
    )
    assert line["total_ms"] >= 2


async def test_a_slow_disk_does_not_fill_the_log() -> None:
    """Thirty lines a minute; all are counted, and how many were left out is said."""
    calls = SlowCalls(1)
    trace = Trace("x")
    trace.began -= 1
    with capture_logs() as logged:
        for _ in range(50):
            calls.note(Asked(), trace)  # type: ignore[arg-type] # as above
        calls.close()
    assert calls.count == 50
    assert [line["event"] for line in logged] == ["slow_call"] * 30 + ["lines_left_out"]
    assert logged[-1]["lines"] == 20


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a daemon to which a millisecond is slow."""
    with Daemon.start(tmp_path_factory.mktemp("slow") / "data", "--slow-call-ms", "1") as running:
        yield running


def told(daemon: Daemon, body: bytes, name: str) -> dict[str, Any]:
    """Send a request under a name, and return what the log says of it."""
    daemon.request("POST", "/rpc", body, {"X-Request-Id": name})
    return daemon.wait_for_events("slow_call", 1, request_id=name)[0]


def test_a_store_that_another_program_locks_is_told_from_a_disk_that_is_slow(data_dir: Path) -> None:
    """Its wait is the commit's, and the disk's share of it small; nothing stood in the queue."""
    body = rpc_body("agent:session:append_output", definition_id="maks", line="x")
    with Daemon.start(data_dir, "--slow-call-ms", "100") as daemon:
        daemon.request("POST", "/rpc", body)
        with locked(data_dir / "db" / "zones.db"):
            caller = threading.Thread(target=daemon.request, args=("POST", "/rpc", body, {"X-Request-Id": "locked"}))
            caller.start()
            while daemon.call("srv:status")["writer"]["applying_ms"] < 200:
                pass
        caller.join(WAIT_SECONDS)
        (line,) = daemon.wait_for_events("slow_call", 1, request_id="locked")
    assert (largest(line), line["method"], line["outcome"]) == ("commit", "agent:session:append_output", "ok")
    assert line["commit_ms"] - line.get("sync_ms", 0) > 50
    assert line.get("queue_batches", 0) == 0


def test_a_large_snapshot_goes_through_every_stage_there_is(slow: Daemon) -> None:
    """Its body arrives, is decoded and stored; read again, it is read, encoded and sent."""
    content = "x" * (16 * MIB)
    line = told(slow, rpc_body("agent:session:write_state", definition_id="large", content=content), "write")
    assert {"body_ms", "decode_ms", "commit_ms", "sync_ms"} <= line.keys()
    assert sum(
        value for name, value in line.items() if name.endswith("_ms") and name not in {"total_ms", "sync_ms"}
    ) == (pytest.approx(line["total_ms"], abs=1))
    line = told(slow, rpc_body("agent:session:read", definition_id="large"), "read")
    assert {"read_ms", "encode_ms", "send_ms"} <= line.keys()


def test_a_batch_is_one_request(slow: Daemon) -> None:
    """With the outcome of a member that failed."""
    good = json.loads(rpc_body("agent:session:append_output", definition_id="maks", line="x" * 9_999))
    bad = json.loads(rpc_body("agent:session:append_output", definition_id="no id", line="x"))
    line = told(slow, json.dumps([*([good] * 200), bad]).encode(), "batch")
    assert (line["method"], line["outcome"]) == ("batch", "INVALID_DEFINITION_ID")
    assert line.get("queue_ms", 0) + line["commit_ms"] <= line["total_ms"]


async def test_the_time_that_nobody_accounts_for_is_other() -> None:
    """A callback that holds the event loop is no stage's."""
    trace = Trace("x")
    trace.read_seconds = 0.1
    await asyncio.sleep(0)
    assert largest(times_ms(trace, 0.3)) == "other"


def test_a_path_below_zones_is_told_as_well(slow: Daemon) -> None:
    """Files are served without a method."""
    slow.call("agent:session:write_state", definition_id="file", content="x" * (8 * MIB))
    path = "/zones/file/current/output.state.json"
    slow.request("GET", path, headers={"X-Request-Id": "file"})
    (line,) = slow.wait_for_events("slow_call", 1, request_id="file")
    assert line["method"] == f"GET {path}"
    assert line["read_ms"] > 0
