"""The page that Prometheus scrapes: every family is there, moves when it should, and bears no name that a caller made up."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from migrations.records import MigrationOutcome, MigrationReport, MigrationStats
from rpc.counts import NONE, UNKNOWN, CallCounts
from rpc.errors import INTERNAL, NUMBERS
from srv.health import Health
from srv.metric_families import FAMILIES, Counted
from srv.metrics import Metrics
from store.errors import StorageUnavailableError
from tests.conftest import OpenStore
from tests.faults.shim import Fault
from tests.faults.shim_daemon import ShimDaemon, shim_environment
from tests.legacy_dirs import populate
from tests.srv.daemon import Daemon, read_response, rpc_body
from tests.store.foreign import looking

Values = dict[str, float]

OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
"""What Prometheus sends."""


def values(families: Iterable[Any]) -> Values:
    """Return the samples by their names with their labels."""
    found: Values = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, key
            found[key.removeprefix("zonekeeper_")] = sample.value
    return found


def scraped(daemon: Daemon) -> Values:
    """Scrape a daemon."""
    status, _, page = daemon.request("GET", "/metrics")
    assert status == 200
    return values(parser.text_string_to_metric_families(page.decode()))


def grown(before: Values, after: Values) -> Values:
    """Return what has changed, and by how much."""
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def calls_of(method: str, outcome: str = "ok") -> str:
    """Name the number of calls of a method that came out so."""
    return f"call_duration_seconds_count{{method={method},outcome={outcome}}}"


def test_both_formats_are_what_prometheus_reads(daemon: Daemon) -> None:
    """The older text format, and OpenMetrics where it is asked for; each family has a help text and its type."""
    _, headers, page = daemon.request("GET", "/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    plain = list(parser.text_string_to_metric_families(page.decode()))
    _, headers, page = daemon.request("GET", "/metrics", headers={"Accept": OPENMETRICS})
    assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    openmetrics = openmetrics_parser.text_string_to_metric_families(page.decode())  # type: ignore[no-untyped-call] # it has no types
    strict = {family.name: family for family in openmetrics}
    assert values(plain).keys() == values(strict.values()).keys()
    assert all(family.documentation for family in strict.values())
    ours = {f"zonekeeper_{row.name}": row.kind for row in FAMILIES}
    assert {name: family.type for name, family in strict.items() if not name.startswith("process_")} == ours
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= strict.keys()


def test_every_family_has_a_sample(daemon: Daemon) -> None:
    """Of a daemon that runs nothing is missing; what nobody has met yet is zero, or without labels to tell."""
    daemon.request("GET", "/readyz", token=False)
    names = {name.partition("{")[0] for name in scraped(daemon)}
    shown = {name.removesuffix("_count").removesuffix("_sum").removesuffix("_bucket") for name in names}
    assert shown >= {row.full_name.removeprefix("zonekeeper_") for row in FAMILIES}


def test_the_page_needs_a_token_and_one_that_only_reads_will_do(data_dir: Path) -> None:
    """What goes on here is nobody else's business."""
    with Daemon.start(data_dir) as daemon:
        assert daemon.request("GET", "/metrics", token=False)[0] == 401
        read_token = (data_dir / "auth.read.token").read_text(encoding="utf-8").strip()
        shown = {"Authorization": f"Bearer {read_token}"}
        status, _, page = daemon.request("GET", "/metrics", headers=shown, token=False)
        assert (status, b"zonekeeper_build_info" in page) == (200, True)


def test_what_a_session_goes_through_moves_what_it_should(data_dir: Path) -> None:
    """Calls, batches, commits, zones and parts: each by as much as was done."""
    with Daemon.start(data_dir) as daemon:
        first = scraped(daemon)
        assert (first["zones{kind=current}"], first["zones{kind=archive}"]) == (0, 0)
        for _ in range(40):
            daemon.call("agent:session:append_output", definition_id="maks", line="x" * 4_000)
        second = scraped(daemon)
        moved = grown(first, second)
        assert moved[calls_of("agent:session:append_output")] == 40
        assert moved["call_duration_seconds_bucket{le=+Inf,method=agent:session:append_output,outcome=ok}"] == 40
        assert moved["call_duration_seconds_sum{method=agent:session:append_output,outcome=ok}"] > 0
        assert (moved["batch_changes_count"], moved["batch_changes_sum"]) == (40, 40)
        assert moved["commit_duration_seconds_count"] == moved["sync_duration_seconds_count"] == 40
        assert moved["commit_duration_seconds_sum"] > moved["sync_duration_seconds_sum"] > 0
        assert moved["zones{kind=current}"] == 1
        assert moved["parts_merged_total"] >= 15
        assert moved["store_wal_bytes"] > 0
        daemon.call("agent:session:archive", definition_id="maks")
        moved = grown(second, scraped(daemon))
        assert moved[calls_of("agent:session:archive")] == 1
        assert (moved["zones{kind=current}"], moved["zones{kind=archive}"]) == (-1, 1)
        assert "parts_merged_total" not in moved


def test_what_is_refused_is_counted_by_why(data_dir: Path) -> None:
    """By status where HTTP refuses, by the word where a method does, and no method where it did not come to one."""
    with Daemon.start(data_dir) as daemon:
        first = scraped(daemon)
        daemon.request("GET", "/readyz", token=False)
        daemon.request("GET", "/nothing")
        with daemon.connect() as connection:
            connection.sendall(b"rubbish\r\n\r\n")
            assert read_response(connection)[0] == 400
        daemon.request("POST", "/rpc", b"{")
        daemon.request("POST", "/rpc", b"[]")
        daemon.request("POST", "/rpc", b"[1, " + rpc_body("agent:session:nope") + b"]")
        daemon.request("POST", "/rpc", rpc_body("agent:session:read", definition_id="no id"))
        daemon.request("POST", "/rpc", rpc_body("agent:session:archive", definition_id="a", session_id="other"))
        moved = grown(first, scraped(daemon))
        assert {moved[f"http_refusals_total{{status={status}}}"] for status in (400, 401, 404)} == {1}
        assert moved[calls_of(NONE, "PARSE_ERROR")] == 1
        assert moved[calls_of(NONE, "INVALID_REQUEST")] == 2
        assert moved[calls_of(UNKNOWN, "METHOD_NOT_FOUND")] == 1
        assert moved[calls_of("agent:session:read", "INVALID_DEFINITION_ID")] == 1
        assert moved[calls_of("agent:session:archive", "STALE_SESSION")] == 1


def test_no_name_that_a_caller_makes_up_becomes_a_label(data_dir: Path) -> None:
    """A thousand methods that there are not are one; all labels are words of ours."""
    made_up = random.Random(4)
    with Daemon.start(data_dir) as daemon:
        names = [daemon.call("rpc.discover")["methods"][number]["name"] for number in range(12)]
        before = scraped(daemon).keys()
        for _ in range(10):
            methods = ["".join(chr(made_up.randrange(32, 0x2FFF)) for _ in range(12)) for _ in range(100)]
            body = [{"jsonrpc": "2.0", "id": 1, "method": method} for method in methods]
            daemon.request("POST", "/rpc", json.dumps(body).encode())
            daemon.request("GET", "/" + methods[0].encode().hex(), headers={"X-Request-Id": methods[0].encode().hex()})
        after = scraped(daemon)
        assert after[calls_of(UNKNOWN, "METHOD_NOT_FOUND")] == 1_000
        assert all("METHOD_NOT_FOUND" in name or "status=404" in name for name in after.keys() - before)
        outcomes = {"ok", "PARSE_ERROR", "INVALID_REQUEST", "METHOD_NOT_FOUND", INTERNAL, *NUMBERS}
        _, _, page = daemon.request("GET", "/metrics")
        for family in parser.text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                assert sample.labels.get("method", NONE) in {*names, NONE, UNKNOWN}
                assert sample.labels.get("outcome", "ok") in outcomes


def test_a_migration_is_told(data_dir: Path) -> None:
    """What this start has carried over stands there, by migration."""
    populate(data_dir, 12, 3)
    with Daemon.start(data_dir) as daemon:
        found = scraped(daemon)
        label = "migration=migrate_block_zones_v1"
        assert found[f"migration_items{{{label},what=blocks_scanned}}"] > 0
        assert found["zones{kind=archive}"] == found[f"migration_items{{{label},what=archives_written}}"] > 0


def test_a_disk_that_refuses_to_sync_shows(tmp_path: Path) -> None:
    """A commit that could not be made durable is an outcome; a database that could not be synced is a state to act on."""
    environment = shim_environment(tmp_path / "shim", checkpoint_bytes=100_000)
    with ShimDaemon.start(tmp_path / "data", environment=environment) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="x")
        assert scraped(daemon)["store_sync_failed"] == 0
        daemon.put_in(Fault("sync", "-wal", sqlite3.SQLITE_IOERR_FSYNC))
        daemon.request("POST", "/rpc", rpc_body("agent:session:append_output", definition_id="maks", line="y"))
        assert scraped(daemon)[calls_of("agent:session:append_output", "STORAGE_UNAVAILABLE")] == 1
        daemon.put_in(Fault("sync", "", sqlite3.SQLITE_IOERR_FSYNC))
        daemon.call("agent:session:write_state", definition_id="maks", content="x" * 300_000)
        daemon.wait_for_log("sync_failed")
        assert scraped(daemon)["store_sync_failed"] == 1


def test_a_foreign_reader_that_keeps_the_log_shows(tmp_path: Path) -> None:
    """Pages wait, and the last whole checkpoint gets older."""
    environment = shim_environment(tmp_path / "shim", checkpoint_bytes=100_000)
    with ShimDaemon.start(tmp_path / "data", environment=environment) as daemon:
        daemon.call("agent:session:write_state", definition_id="maks", content="x" * 10_000)
        with looking(tmp_path / "data" / "db" / "zones.db") as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM zones").fetchone()
            for number in range(3):
                daemon.call("agent:session:write_state", definition_id="maks", content=f"{number}" * 300_000)
            found = scraped(daemon)
            assert found["checkpoint_waiting_pages"] > 0
            assert 0 < found["checkpoint_age_seconds"] <= scraped(daemon)["checkpoint_age_seconds"]


async def test_a_store_that_cannot_be_read_is_told_with_all_the_rest(
    store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At that moment above all somebody looks: only what must be asked of the store is missing, from the status as well."""

    async def unavailable() -> dict[str, object]:
        raise StorageUnavailableError("the disk is gone")

    health = Health(store.engine, store.writer, [REPORT], lambda: 0)
    health.tell_of(
        transport=lambda: {"refused": {}, "slow_calls": 0, "connections": 0, "requests_underway": 0},
        memory=lambda: {"body_bytes": 0, "answer_bytes": 0},
        free_space=lambda: {"free_bytes": None, "level": "critical"},
        event_loop=lambda: {"worst_lag_ms": 0.0},
    )
    writer = store.writer
    counted = Counted(CallCounts(["m"]), writer.batch_changes, writer.commit_seconds, writer.sync_seconds)
    metrics = Metrics(health.status, counted)
    whole = values(parser.text_string_to_metric_families((await metrics.page(""))[1].decode()))
    monkeypatch.setattr(store.engine, "status", unavailable)
    status = await health.status()
    assert status["store"].items() >= {"sessions": None, "archives": None, "previews_waiting": None}.items()
    found = values(parser.text_string_to_metric_families((await metrics.page(""))[1].decode()))
    counts = {"zones{kind=current}", "zones{kind=archive}", "previews_waiting", "compressions_waiting"}
    assert whole.keys() - found.keys() == counts
    assert (whole["store_readable"], found["store_readable"]) == (1, 0)
    assert found["free_space_level"] == 2
    assert "free_space_bytes" not in found
    assert found["migration_items{migration=m,what=failures}"] == 7


REPORT: Final = MigrationReport("m", MigrationOutcome.DONE_WITH_FAILURES, MigrationStats(failures=7))
