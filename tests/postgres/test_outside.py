"""Looking at a database from outside: what `doctor` finds there, and what `backup` brings home."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import execute
from srv.cli import main
from srv.exits import Exit
from store.sqlite.check import check_store
from tests.srv.daemon import Daemon


@pytest.fixture
def filled(tmp_path: Path, empty_url: str) -> str:
    """Return the URL of a database with a current session and an archive."""
    with Daemon.start(tmp_path / "a", environment={"ZONEKEEPER_STORE": empty_url}) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="x" * 100_000)
        daemon.call("agent:session:archive", definition_id="maks")
        daemon.call("agent:session:write_state", definition_id="maks", content="{}")
    return empty_url


def doctor(data_dir: Path, url: str | None, capsys: pytest.CaptureFixture[str], code: Exit = Exit.STOPPED) -> Any:
    """Run the doctor, and return what it says as JSON."""
    capsys.readouterr()
    store = [] if url is None else ["--store", url]
    assert main(["doctor", "--json", "--data-dir", str(data_dir), *store]) == code
    return json.loads(capsys.readouterr().out)


def words(report: Any) -> set[str]:
    """Return the words of what was found in the store."""
    return {finding["word"] for finding in report["findings"] if finding["area"] == "store"}


def test_the_doctor_finds_what_is_wrong_in_a_database(
    tmp_path: Path, filled: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound one is in order, to the last byte; what is spoiled, belongs to nobody or may not be done is named."""
    monkeypatch.setattr("store.postgres.check._PAGE", 1)
    report = doctor(tmp_path / "a", filled, capsys)
    assert report["ok"]
    assert (report["store"]["sessions"], report["store"]["files"], report["store"]["content_bytes"]) == (2, 2, 100_003)
    role = "zonekeeper_doctor"
    asyncio.run(
        execute(
            filled,
            f"DROP ROLE IF EXISTS {role}",
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA zonekeeper TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA zonekeeper TO {role}",
            "UPDATE zonekeeper.file_parts SET crc32 = crc32 # 1 WHERE name = 'output'",
            "DELETE FROM zonekeeper.zones WHERE archived_at_ms = -1",
        )
    )
    try:
        report = doctor(tmp_path / "a", re.sub(r"//[^@/]*@", f"//{role}@", filled), capsys, Exit.FAILED)
    finally:
        asyncio.run(execute(filled, f"DROP OWNED BY {role}", f"DROP ROLE {role}"))
    assert words(report) == {"PART_DAMAGED", "PARTS_WITHOUT_ZONE", "RIGHTS_MISSING"}
    (orphan,) = [finding for finding in report["findings"] if finding["word"] == "PARTS_WITHOUT_ZONE"]
    assert orphan["message"].startswith("1 parts of a file output.state.json (2 bytes) belong to no zone (session ")
    (damaged,) = [finding for finding in report["findings"] if finding["word"] == "PART_DAMAGED"]
    assert damaged["file"] == "output"
    assert re.fullmatch("agent:maks:archive:[0-9]+", damaged["zone"])


def test_the_doctor_says_where_there_is_no_store_yet(
    tmp_path: Path, empty_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It makes none; and a database that is not there is a finding."""
    (tmp_path / "a").mkdir()
    asyncio.run(execute(empty_url, "DROP SCHEMA IF EXISTS zonekeeper CASCADE"))
    assert doctor(tmp_path / "a", empty_url, capsys)["store"] is None
    away = re.sub(r"/zonekeeper_[0-9_]+", "/nowhere", empty_url)
    assert words(doctor(tmp_path / "a", away, capsys, Exit.FAILED)) == {"STORE_UNREADABLE"}
    assert main(["migrate", "--data-dir", str(tmp_path / "a"), "--store", empty_url]) == Exit.STOPPED
    assert doctor(tmp_path / "a", empty_url, capsys)["store"]["sessions"] == 0


def test_the_doctor_warns_where_the_daemon_serves_another_store(
    tmp_path: Path, empty_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who leaves out --store is not told that all is well; who gives it hears of the store that is served."""
    with Daemon.start(tmp_path / "a", environment={"ZONEKEEPER_STORE": empty_url}):
        (finding,) = doctor(tmp_path / "a", None, capsys)["findings"]
        assert doctor(tmp_path / "a", empty_url, capsys)["findings"] == []
    assert (finding["word"], finding["level"]) == ("OTHER_STORE", "warning")
    assert finding["message"].startswith("the daemon serves postgresql://")
    with Daemon.start(tmp_path / "a"):
        (finding,) = doctor(tmp_path / "a", empty_url, capsys)["findings"]
        assert doctor(tmp_path / "a", None, capsys)["findings"] == []
    assert finding["message"].startswith("the daemon serves the data directory's file, and")


def test_a_backup_of_a_database_opens_as_a_file(
    tmp_path: Path, filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is one file, checked, that a daemon serves with the same sessions; of what is damaged there is none."""
    (tmp_path / "db").mkdir()
    target = tmp_path / "db" / "zones.db"
    backup = ["backup", "--json", "--data-dir", str(tmp_path / "none"), "--store", filled]
    assert main([*backup, str(target)]) == Exit.STOPPED
    assert json.loads(capsys.readouterr().out)["sessions"] == 2
    assert [path.name for path in target.parent.iterdir()] == ["zones.db"]
    assert check_store(target).findings == []
    with Daemon.start(tmp_path) as daemon:
        assert daemon.call("agent:session:read", definition_id="maks")["content"] == "{}"
        assert len(daemon.call("agent:session:list_archives", definition_id="maks")) == 1
    asyncio.run(execute(filled, "UPDATE zonekeeper.file_parts SET crc32 = crc32 # 1 WHERE name = 'output'"))
    assert main([*backup, str(tmp_path / "again.db")]) == Exit.STORE_REFUSED
    assert "damaged or missing" in capsys.readouterr().err
    assert not list(tmp_path.glob("*again*"))
    assert not list(tmp_path.glob(".zonekeeper-backup-*"))


def test_a_backup_of_a_database_that_is_away_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit code by which it may be tried again, and no file is left."""
    url = f"postgresql://me@/x?host={tmp_path}"
    assert main(["backup", str(tmp_path / "copy.db"), "--store", url]) == Exit.STORE_AWAY
    assert "cannot be used at the moment" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
