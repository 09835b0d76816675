"""`zonekeeper doctor`: what is wrong is named, what is sound is not, and nothing is changed, whether or not a daemon runs."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from srv.cli import main
from srv.config import Settings
from srv.doctor_environment import RunningDaemon, daemon_check, disk_check, settings_checks
from srv.doctor_report import State
from srv.version import VERSION
from tests.legacy_dirs import populate
from tests.srv.daemon import ROOT, Daemon, environment_with
from tests.store.foreign import meddling

Capture = pytest.CaptureFixture[str]

SNAPSHOT = "snapshot " * 30_000
FLIP = "UPDATE file_parts SET data = CAST(x'ff' || substr(data, 2) AS BLOB)"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - environment_with().keys():
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory of a daemon that was used and stopped."""
    data_dir = tmp_path_factory.mktemp("stopped") / "data"
    with Daemon.start(data_dir) as daemon:
        fill(daemon)
    return data_dir


def fill(daemon: Daemon) -> None:
    """Store some sessions."""
    for agent in ("maks", "eva"):
        daemon.call("agent:session:write_state", definition_id=agent, content=SNAPSHOT)
        daemon.call("agent:session:append_output", definition_id=agent, lines=["x" * 999] * 300)
    daemon.call("agent:session:archive", definition_id="eva")


@pytest.fixture
def data_dir(stopped: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "data"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    command = [sys.executable, "-m", "srv", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment_with(), capture_output=True, text=True, check=False)


def examined(capsys: Capture, data_dir: Path, code: int | None = None) -> dict[str, Any]:
    """Run `doctor --json`; returns its report, and checks that its exit code says the same."""
    exit_code = main(["doctor", "--json", "--data-dir", str(data_dir)])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["ok"] is (exit_code == 0)
    assert code in {None, exit_code}, report["findings"]
    return report


def words(report: dict[str, Any]) -> list[str]:
    """Return the words of the findings."""
    return [finding["word"] for finding in report["findings"]]


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time and content of all that is in a folder; of an index of a log only that it is there."""
    return {
        str(path.relative_to(folder)): (0, 0, b"")
        if path.name.endswith("-shm")
        else (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *folder.rglob("*"))
    }


def damage(data_dir: Path, statement: str) -> None:
    """Put a fault into the store."""
    with meddling(data_dir / "db" / "zones.db") as connection:
        connection.execute(statement)


def test_all_is_well_where_no_daemon_runs_and_nothing_is_touched(capsys: Capture, data_dir: Path) -> None:
    """Exit code 0, and not a byte, name or time in the data directory is another."""
    before = everything(data_dir)
    report = examined(capsys, data_dir, 0)
    assert report["findings"] == []
    assert everything(data_dir) == before


def test_the_json_has_the_shape_that_the_readme_describes(capsys: Capture, data_dir: Path) -> None:
    """Programs that read it can rely on it."""
    report = examined(capsys, data_dir)
    assert list(report) == [
        *("version", "data_dir", "ok", "checks", "findings", "findings_left_off", "store", "migration", "environment")
    ]
    assert (report["version"], report["data_dir"], report["migration"]) == (VERSION, str(data_dir), None)
    assert [(check["area"], check["name"]) for check in report["checks"]] == [
        *(("store", name) for name in ("open", "schema", "structure", "sessions", "orphans", "files")),
        ("migration", "old data"),
        *(("environment", name) for name in ("sqlite", "settings", "disk", "permissions", "daemon")),
    ]
    assert {tuple(check) for check in report["checks"]} == {("area", "name", "state", "detail")}
    assert {check["state"] for check in report["checks"]} == {"ok"}
    assert list(report["store"]) == [
        *("path", "database_bytes", "log_bytes", "journal_mode", "sessions", "archives", "files", "parts"),
        *("content_bytes", "stored_bytes", "seconds"),
    ]
    assert (report["store"]["sessions"], report["store"]["archives"], report["store"]["files"]) == (2, 1, 4)
    assert 0 < report["store"]["stored_bytes"] <= report["store"]["content_bytes"] == 2 * (len(SNAPSHOT) + 300_000)
    assert list(report["environment"]) == ["sqlite_version", "has_wal_reset_bug", "settings", "free_bytes", "daemon"]
    settings = report["environment"]["settings"]
    assert (settings["journal_mode"], settings["synchronous"], settings["wal_autocheckpoint"]) == ("wal", 2, 0)


def test_a_finding_names_zone_file_and_part_and_says_what_to_do(capsys: Capture, data_dir: Path) -> None:
    """In JSON as members, for people in two lines; the exit code is 1."""
    damage(data_dir, f"{FLIP} WHERE name = 'output' AND zone_id = 1 AND start_byte > 0 AND start_byte < 70000")
    report = examined(capsys, data_dir, 1)
    (finding,) = report["findings"]
    assert finding.pop("message").startswith("zone agent:maks:current, file output: the part at byte 65000 ")
    assert finding.pop("hint").startswith("Restore ")
    assert finding == {
        "area": "store",
        "check": "files",
        "word": "PART_DAMAGED",
        "level": "wrong",
        "zone": "agent:maks:current",
        "file": "output",
        "start_byte": 65_000,
    }
    assert main(["doctor", "--data-dir", str(data_dir)]) == 1
    said = capsys.readouterr().out
    assert "\nstore       files        wrong    1 findings\n" in said
    assert "\nwrong: zone agent:maks:current, file output: the part at byte 65000 " in said
    assert said.endswith(f"\n{data_dir}: 1 to look at\n")


def test_beside_a_running_daemon_it_says_which(capsys: Capture, data_dir: Path) -> None:
    """The lock tells that one runs, and the daemon itself where it listens."""
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="new", line="in the log")
        report = examined(capsys, data_dir, 0)
        assert report["findings"] == []
        assert report["environment"]["daemon"]["url"] == daemon.url
        assert f"process {daemon.process.pid}" in report["checks"][-1]["detail"]
        assert report["store"]["sessions"] == 3
        damage(data_dir, f"{FLIP} WHERE zone_id = 1")
        assert set(words(examined(capsys, data_dir, 1))) == {"PART_DAMAGED"}
        assert daemon.stop() == 0


def test_under_load_nothing_sound_is_called_wrong(data_dir: Path) -> None:
    """While sessions grow, are rewritten and archived all the time, each look finds everything in order."""
    stop = threading.Event()

    def use(daemon: Daemon, agent: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            daemon.call("agent:session:append_output", definition_id=agent, lines=["y" * (number % 977), ""] * 20)
            if number % 3 == 0:
                daemon.call("agent:session:write_state", definition_id=agent, content=f"{number}" * 40_000)
            if number % 20 == 0:
                daemon.call("agent:session:archive", definition_id=agent)

    with Daemon.start(data_dir) as daemon:
        clients = [threading.Thread(target=use, args=(daemon, f"agent-{number}")) for number in range(3)]
        for client in clients:
            client.start()
        try:
            looks = [run("doctor", "--json", "--data-dir", str(data_dir)) for _ in range(2)]
        finally:
            stop.set()
            for client in clients:
                client.join()
    assert [(json.loads(look.stdout)["findings"], look.returncode) for look in looks] == [([], 0)] * 2


def test_what_a_killed_daemon_left_is_looked_at_as_it_is(capsys: Capture, data_dir: Path) -> None:
    """With its log, and without changing it."""
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="late", line="in the log")
        daemon.kill()
    before = everything(data_dir)
    report = examined(capsys, data_dir, 0)
    assert report["store"]["sessions"] == 3
    assert everything(data_dir) == before


def test_no_store_is_ever_made(capsys: Capture, tmp_path: Path) -> None:
    """An empty directory stays empty, and is in order: the first start makes a store."""
    report = examined(capsys, tmp_path, 0)
    assert (report["store"], list(tmp_path.iterdir())) == (None, [])
    assert "the first start makes it" in report["checks"][0]["detail"]


def test_a_missing_directory_is_wrong_usage(capsys: Capture, tmp_path: Path) -> None:
    """It was mistyped; it is not made."""
    missing = tmp_path / "missing"
    assert main(["doctor", "--data-dir", str(missing)]) == 2
    assert capsys.readouterr().err == f"zonekeeper: the data directory {missing} does not exist\n"
    assert not missing.exists()


def newer(path: Path) -> None:
    """Make the store one of a later version."""
    with meddling(path) as connection:
        connection.execute("PRAGMA user_version = 999")


def foreign(path: Path) -> None:
    """Make the store another program's."""
    with meddling(path) as connection:
        connection.execute("PRAGMA application_id = 1")


def text(path: Path) -> None:
    """Make the store no database at all."""
    path.write_text("no database, but long enough to look at\n" * 200)


def directory(path: Path) -> None:
    """Put a directory in the place of the store."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [newer, foreign, text, directory])
def test_a_store_that_is_none_of_ours_is_a_finding(data_dir: Path, spoil: Callable[[Path], None]) -> None:
    """No stack trace, no error: the rest of the checks are made, and those that need the store say that they were not."""
    populate(data_dir, 4, 2)
    spoil(data_dir / "db" / "zones.db")
    done = run("doctor", "--json", "--data-dir", str(data_dir))
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    states = {(check["area"], check["name"]): check["state"] for check in report["checks"]}
    assert states["store", "open"] == "wrong"
    assert {states["store", name] for name in ("schema", "structure", "files")} == {"skipped"}
    assert states["migration", "left behind"] == "skipped"
    assert states["environment", "disk"] == "ok"


def test_old_data_is_left_until_it_is_migrated_whatever_the_marker_says(capsys: Capture, tmp_path: Path) -> None:
    """Before the migration, after it, and once the store was lost; the old data is only read."""
    data_dir = tmp_path / "data"
    populate(data_dir, 12, 3)
    before = everything(data_dir)
    report = examined(capsys, data_dir, 1)
    assert words(report) == ["SESSIONS_LEFT", "TEMPLATES_LEFT"][: len(words(report))]
    assert report["findings"][0]["level"] == "left"
    assert report["migration"]["migrate_block_zones_v1"]["blocks_scanned"] == 12
    assert everything(data_dir) == before
    assert main(["migrate", "--data-dir", str(data_dir)]) == 0
    capsys.readouterr()
    migrated = everything(data_dir)
    assert examined(capsys, data_dir, 0)["findings"] == []
    assert everything(data_dir) == migrated
    with Daemon.start(data_dir):
        assert examined(capsys, data_dir, 0)["findings"] == []
    damage(data_dir, "UPDATE zones SET origin = 'block:another' WHERE origin = (SELECT min(origin) FROM zones)")
    report = examined(capsys, data_dir, 1)
    assert "speaks of these files" in next(check["detail"] for check in report["checks"] if check["name"] == "marker")
    assert words(report) == ["SESSIONS_LEFT"]
    (data_dir / "db" / "zones.db").unlink()
    assert "SESSIONS_LEFT" in words(examined(capsys, data_dir, 1))


@pytest.mark.parametrize("text", ["no JSON", '{"migrated_at_ms": 1e300}'])
def test_small_files_may_hold_anything(capsys: Capture, data_dir: Path, text: str) -> None:
    """A marker, or what a daemon says of itself, that cannot be understood is none."""
    populate(data_dir, 4, 2)
    assert main(["migrate", "--data-dir", str(data_dir)]) == 0
    capsys.readouterr()
    marker = data_dir / "migration_agent_zones_v1.flag"
    for content in (text, marker.read_text().replace('"migrated_at_ms": ', '"migrated_at_ms": 99999999')):
        marker.write_text(content)
        examined(capsys, data_dir, 0)
    with Daemon.start(data_dir):
        for content in (text, '{"unix_socket": 7, "url": 7, "version": 7}'):
            (data_dir / "run" / "srv.json").write_text(content)
            examined(capsys, data_dir, 0)


def test_old_data_that_cannot_be_read_is_a_finding(capsys: Capture, data_dir: Path) -> None:
    """The file is named, and the exit code is 1 and not 5."""
    (data_dir / "objects.db").write_bytes(b"no database, but long enough to look at" * 100)
    report = examined(capsys, data_dir, 1)
    assert words(report) == ["OLD_DATA_UNREADABLE"]
    assert "objects.db" in report["findings"][0]["message"]


@pytest.mark.parametrize(
    ("name", "mode", "word", "level"),
    [
        ("", 0o777, "OTHERS_WRITE", "wrong"),
        ("db", 0o770, "OTHERS_WRITE", "wrong"),
        ("run", 0o702, "OTHERS_WRITE", "wrong"),
        ("db/zones.db", 0o620, "OTHERS_WRITE", "wrong"),
        ("db/zones.db", 0o644, "OTHERS_READ", "warning"),
        ("auth.token", 0o640, "TOKEN_EXPOSED", "wrong"),
        ("auth.token", 0o601, "TOKEN_EXPOSED", "wrong"),
        ("run/srv.json", 0o622, "OTHERS_WRITE", "wrong"),
    ],
)
def test_what_others_could_read_or_change_is_found(
    capsys: Capture, data_dir: Path, name: str, mode: int, word: str, level: str
) -> None:
    """The path, its mode and the command that mends it are named; a directory that others may only read is as it should be."""
    for small in ("auth.token", "run/srv.json"):
        (data_dir / small).touch(0o600)
    data_dir.chmod(0o755)
    (data_dir / name).chmod(mode)
    report = examined(capsys, data_dir, int(level == "wrong"))
    (finding,) = report["findings"]
    assert (finding["word"], finding["level"], finding["check"]) == (word, level, "permissions")
    assert f"{data_dir / name} (mode {mode:04o})" in finding["message"]
    assert finding["hint"].startswith("chmod ")


def test_a_socket_that_others_could_replace_is_found(capsys: Capture, data_dir: Path, tmp_path: Path) -> None:
    """Who may write into its directory could put one of their own there, unless the directory is sticky as /tmp is."""
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    with Daemon.start(data_dir, "--unix-socket", str(sockets / "s.sock")):
        for mode, expected in ((0o777, ["SOCKET_EXPOSED"]), (0o1777, []), (0o755, [])):
            sockets.chmod(mode)
            assert words(examined(capsys, data_dir)) == expected
        (sockets / "s.sock").chmod(0o666)
        assert words(examined(capsys, data_dir, 1)) == ["SOCKET_EXPOSED"]


def test_a_disk_that_is_full_or_too_small_for_a_copy_is_said() -> None:
    """Nearly full is wrong, since writes are about to fail; no room for a second copy is a warning."""
    levels = Settings(Path("/data"), free_bytes_warning=1_000, free_bytes_critical=100)
    assert disk_check(5_000, 5_000, levels).state is State.OK
    assert disk_check(4_999, 5_000, levels).state is State.WARNING
    assert disk_check(1_000, 0, levels).state is State.OK
    assert disk_check(999, 0, levels).findings[0].word == "DISK_LOW"
    assert disk_check(100, 0, levels).state is State.WARNING
    assert disk_check(99, 0, levels).findings[0].word == "DISK_NEARLY_FULL"
    assert disk_check(99, 0, levels).state is State.WRONG


def test_a_running_daemon_needs_the_write_ahead_log(capsys: Capture) -> None:
    """A store that no daemon has opened yet, such as a backup, has none, and is as it should be."""
    settings = {"version": "3.51.3", "has_wal_reset_bug": False, "synchronous": 2}
    daemon = RunningDaemon("process 1", {})
    for mode, running, state in (("wal", daemon, "ok"), ("delete", None, "ok"), ("delete", daemon, "wrong")):
        sqlite, checked = settings_checks(settings, [], running, {"journal_mode": mode})
        assert (sqlite.state, checked.state) == (State.OK, state)
        assert "bug" not in sqlite.detail
    sqlite, _ = settings_checks(settings | {"has_wal_reset_bug": True}, [], None, None)
    assert "WAL-reset bug" in sqlite.detail


def test_a_daemon_of_another_version_is_a_warning() -> None:
    """After an update the old one may still run."""
    facts = {"url": "http://127.0.0.1:1", "version": VERSION}
    assert daemon_check(RunningDaemon("process 1", facts), None).state is State.OK
    assert daemon_check(RunningDaemon("process 1", facts | {"version": "0.0.1"}), None).state is State.WARNING
    assert "does not listen" in daemon_check(RunningDaemon("process 1", {}), None).detail


@pytest.fixture
def read_only(data_dir: Path) -> Iterator[Path]:
    """Make a data directory that cannot be written, by root either."""
    if os.geteuid() != 0:
        for path in (data_dir, data_dir / "db"):
            path.chmod(0o500)
        yield data_dir
        for path in (data_dir, data_dir / "db"):
            path.chmod(0o700)
        return
    for options in (["--bind", str(data_dir)], ["-o", "remount,bind,ro"]):
        if subprocess.run(["mount", *options, str(data_dir)], capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
    yield data_dir
    subprocess.run(["umount", str(data_dir)], check=True)


def test_a_directory_that_cannot_be_written_can_be_checked(capsys: Capture, read_only: Path) -> None:
    """All of it, and that it cannot be written is a warning."""
    report = examined(capsys, read_only, 0)
    assert words(report) == ["DATA_DIR_READ_ONLY"]
    assert report["store"]["sessions"] == 2


def test_on_a_terminal_there_is_a_table(data_dir: Path) -> None:
    """With lines around it, and the words of the findings beneath."""
    damage(data_dir, f"{FLIP} WHERE zone_id = 1 AND start_byte = 0 AND name = 'output'")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "srv", "doctor", "--data-dir", str(data_dir)]
    environment = environment_with({"TERM": "xterm", "COLUMNS": "120"})
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:
            pass  # what Linux says where the other end of a terminal is closed
        assert process.wait() == 1
    os.close(ours)
    shown_text = shown.decode()
    assert "┏" in shown_text
    assert "structure" in shown_text
    assert "wrong: zone agent:maks:current, file output: the part at byte 0 fails its checksum" in shown_text


def test_names_from_a_damaged_store_cannot_drive_a_terminal(capsys: Capture, data_dir: Path) -> None:
    """Control characters are shown escaped."""
    damage(data_dir, "UPDATE zones SET zone = 'agent:' || char(27) || '[31m' WHERE id = 1")
    assert main(["doctor", "--data-dir", str(data_dir)]) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[31m" in said


def test_the_help_says_what_the_exit_code_means(capsys: Capture) -> None:
    """As for every command."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: zonekeeper doctor")
    assert "Exits 1" in said
