"""How a daemon starts, says so, and stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srv import app, process
from srv.exits import Exit, StartFailedError
from store.errors import StorageUnavailableError
from store.sqlite import place
from tests.legacy_dirs import populate
from tests.srv.daemon import ROOT, Daemon, environment_with, is_over, read_response, rpc_body, seconds_since

STOP_SECONDS: float = 5


def mode_of(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.lstat().st_mode)


def slow_reader(daemon: Daemon) -> socket.socket:
    """Ask for more than the sockets between us hold, and do not read it: the daemon is left amid its answer."""
    daemon.call("agent:session:write_state", definition_id="slow", content="x" * 20_000_000)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", daemon.port))
    body = rpc_body("agent:session:read", definition_id="slow")
    connection.sendall(daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body)
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def test_the_ready_line_says_where_the_daemon_is(data_dir: Path, tmp_path: Path) -> None:
    """One JSON line on standard output tells all that a parent needs, and `run/srv.json` tells clients a little more."""
    with Daemon.start(data_dir, "--unix-socket", str(tmp_path / "s.sock")) as daemon:
        assert daemon.ready == {
            "event": "listening",
            "url": f"http://127.0.0.1:{daemon.port}",
            "unix_socket": str(tmp_path / "s.sock"),
            "pid": daemon.process.pid,
            "version": daemon.call("srv:status")["version"],
            "token_file": str(data_dir / "auth.token"),
        }
        run_file = data_dir / "run" / "srv.json"
        told = json.loads(run_file.read_text())
        assert told.items() >= {k: v for k, v in daemon.ready.items() if k != "event"}.items()
        assert told.keys() - daemon.ready.keys() == {"read_token_file", "store", "tls_cert"}
        assert mode_of(data_dir) == 0o700
        assert [mode_of(data_dir / "auth.token"), mode_of(run_file), mode_of(tmp_path / "s.sock")] == [0o600] * 3
        assert daemon.stop() == 0
        assert daemon.said == [daemon.ready], "nothing else goes to standard output"
        left = {path.name for path in (data_dir, data_dir / "run") for path in path.iterdir()}
        assert left == {"db", "run", "lock"}
        assert not (tmp_path / "s.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_stop_it_as_well(data_dir: Path, number: int) -> None:
    """Control-C in a terminal and its closing stop the daemon as SIGTERM does."""
    with Daemon.start(data_dir) as daemon:
        daemon.signal(number)
        assert daemon.wait() == 0
        assert '"event": "stopped"' in daemon.log()


def test_an_acknowledged_change_is_there_after_a_stop(data_dir: Path) -> None:
    """What was acknowledged before the stop is read after the next start."""
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="kept")
        assert daemon.stop() == 0
    with Daemon.start(data_dir) as daemon:
        assert daemon.call("agent:session:read_output", definition_id="maks")["lines"] == ["kept"]


def test_a_second_daemon_names_the_first_and_leaves(data_dir: Path) -> None:
    """Of two daemons on one directory one runs; the other exits 3, says who holds it, and takes nothing of the first's."""
    with Daemon.start(data_dir) as first:
        second = Daemon(data_dir)
        assert second.wait() == 3
        assert second.said == []
        assert f"in use by process {first.process.pid}" in second.log()
        assert (data_dir / "auth.token").exists()
        assert first.call("agent:session:list_agents") == {"agents": [], "next": None}


def test_a_killed_daemon_leaves_no_lock(data_dir: Path, tmp_path: Path) -> None:
    """After `kill -9` the next daemon starts at once, and its files and socket replace those that were left."""
    options = ("--unix-socket", str(tmp_path / "s.sock"))
    first = Daemon.start(data_dir, *options)
    first.kill()
    assert (tmp_path / "s.sock").exists(), "a stale socket, else this shows nothing"
    with Daemon.start(data_dir, *options) as second:
        assert second.token != first.token
        assert json.loads((data_dir / "run" / "srv.json").read_text())["pid"] == second.process.pid
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "s.sock"))


def test_a_port_in_use_is_exit_code_6(data_dir: Path) -> None:
    """A daemon that cannot have its port says so, and exits 6."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        daemon = Daemon(data_dir, "--port", str(other.getsockname()[1]))
        assert daemon.wait() == 6
        assert "Address already in use" in daemon.log()
        assert daemon.said == []


def test_a_file_in_the_socket_s_place_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    """What is no socket is not touched, and the daemon exits 6."""
    place = tmp_path / "notes.txt"
    place.write_text("mine")
    daemon = Daemon(data_dir, "--unix-socket", str(place))
    assert daemon.wait() == 6
    assert place.read_text() == "mine"
    assert not (data_dir / "auth.token").exists()


def test_a_socket_that_another_process_listens_on_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    """A live socket is not taken over: the daemon exits 6, and the other still gets its connections."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s.sock"))
        other.listen()
        daemon = Daemon(data_dir, "--unix-socket", str(tmp_path / "s.sock"))
        assert daemon.wait() == 6
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(tmp_path / "s.sock"))


def test_a_newer_store_is_exit_code_4(data_dir: Path) -> None:
    """A store of a newer Zonekeeper is refused, and is as it was."""
    (data_dir / "db").mkdir(parents=True)
    path = data_dir / "db" / "zones.db"
    with sqlite3.connect(path) as store:
        store.execute("PRAGMA user_version = 999")
    store.close()
    before = path.read_bytes()
    daemon = Daemon(data_dir)
    assert daemon.wait() == 4
    assert path.read_bytes() == before
    assert daemon.said == []


def test_a_store_that_cannot_be_used_is_named(data_dir: Path) -> None:
    """Where the store cannot be opened the daemon exits 4, and says which file it is and what to do."""
    path = data_dir / "db" / "zones.db"
    path.mkdir(parents=True)
    daemon = Daemon(data_dir)
    assert daemon.wait() == 4
    assert f"{path} is a directory, not a file; move it away" in daemon.log()


def test_a_store_that_another_program_holds_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says only that it is busy; we say which file, and what to do."""

    async def busy(_path: Path, **_: bool) -> None:
        cause = sqlite3.OperationalError("database is locked")
        cause.sqlite_errorname = "SQLITE_BUSY"
        raise StorageUnavailableError("the database cannot be used at the moment (SQLITE_BUSY)") from cause

    monkeypatch.setattr(place, "open_sqlite", busy)
    data_dir.mkdir()
    with pytest.raises(StartFailedError, match=r"zones\.db is in use: another program holds it; close that") as caught:
        process.run(app.open_store(data_dir))
    assert caught.value.code == Exit.STORE_REFUSED


def test_legacy_data_that_cannot_be_read_is_exit_code_5(data_dir: Path) -> None:
    """Where a migration cannot run, the daemon exits 5 with the reason, and never opens its port."""
    data_dir.mkdir()
    (data_dir / "objects.db").write_bytes(b"no database, but long enough to look at" * 100)
    daemon = Daemon(data_dir)
    assert daemon.wait() == 5
    assert "objects.db" in daemon.log()
    assert [line for line in daemon.said if line["event"] == "listening"] == []


def test_a_data_directory_that_cannot_be_made_is_exit_code_2(tmp_path: Path) -> None:
    """A path below a file cannot become a data directory."""
    (tmp_path / "file").touch()
    daemon = Daemon(tmp_path / "file" / "data")
    assert daemon.wait() == 2
    assert "cannot be used" in daemon.log()


def test_a_stop_answers_what_has_arrived_and_refuses_what_comes_after(data_dir: Path) -> None:
    """What is being answered is answered whole, what arrives later gets SHUTTING_DOWN, what is half sent is not waited for."""
    with Daemon.start(data_dir) as daemon:
        late, half = daemon.connect(), daemon.connect()
        half.sendall(daemon.head("POST", "/rpc", "Content-Length: 1000") + b'{"jsonrpc"')
        late.sendall(daemon.head("GET", "/healthz"))
        assert read_response(late)[0] == 200
        slow = slow_reader(daemon)
        daemon.signal()
        daemon.wait_for_log("listening_no_more")
        body = rpc_body("agent:session:read", 7, definition_id="maks")
        late.sendall(daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body)
        status, headers, answer = read_response(late)
        assert (status, headers["Connection"]) == (200, "close")
        assert json.loads(answer)["id"] == 7
        assert json.loads(answer)["error"]["code"] == -32018
        assert json.loads(answer)["error"]["data"]["code"] == "SHUTTING_DOWN"
        with pytest.raises(ConnectionRefusedError):
            daemon.connect()
        received = b"".join(iter(lambda: slow.recv(1 << 20), b""))
        assert json.loads(received.partition(b"\r\n\r\n")[2])["result"]["content"] == "x" * 20_000_000
        assert daemon.wait() == 0
        assert is_over(half)
        assert "unanswered_requests" not in daemon.log()
        for connection in (late, half, slow):
            connection.close()


def test_a_stop_does_not_wait_for_a_half_sent_request(data_dir: Path) -> None:
    """With nothing but half a head and half a body to wait for, the daemon stops at once."""
    with Daemon.start(data_dir) as daemon, daemon.connect() as head, daemon.connect() as body:
        head.sendall(b"POST /rpc HTTP/1.1\r\nHost:")
        body.sendall(daemon.head("POST", "/rpc", "Content-Length: 9", "Expect: 100-continue"))
        assert body.recv(100).startswith(b"HTTP/1.1 100")
        start = time.monotonic()
        assert daemon.stop() == 0
        assert seconds_since(start) < 2


def test_every_request_of_a_pipeline_that_has_arrived_is_answered(data_dir: Path) -> None:
    """Requests sent in one go before the stop are all executed, however many stand behind the first."""
    with Daemon.start(data_dir) as daemon, daemon.connect() as connection:
        one = b"".join(
            daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body
            for body in (
                rpc_body("agent:session:append_output", n, definition_id="maks", line=str(n)) for n in range(300)
            )
        )
        connection.sendall(one)
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert daemon.stop() == 0
        rest = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        assert rest.count(b'"bytes_written"') == 300
        assert rest.count(b"Connection: close") == 1


def test_a_stop_accepts_who_has_connected_before(data_dir: Path) -> None:
    """A request that was sent before the signal is executed, though its connection had not been accepted yet."""
    with Daemon.start(data_dir) as daemon:
        callers = [daemon.connect() for _ in range(50)]
        body = rpc_body("agent:session:append_output", definition_id="maks", line="kept")
        daemon.signal(signal.SIGSTOP)
        late = [daemon.connect() for _ in range(50)]
        for caller in (*callers, *late):
            caller.sendall(daemon.head("POST", "/rpc", f"Content-Length: {len(body)}") + body)
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGCONT)
        for caller in (*callers, *late):
            assert "result" in json.loads(read_response(caller)[2])
            caller.close()
        assert daemon.wait() == 0


def test_half_sent_bodies_are_no_failure_of_ours(data_dir: Path) -> None:
    """A stop that cuts bodies off logs neither errors nor stack traces."""
    with Daemon.start(data_dir) as daemon:
        callers = [daemon.connect() for _ in range(8)]
        for number, caller in enumerate(callers):
            caller.sendall(daemon.head("POST", "/rpc", "Content-Length: 100000") + b"{" * (number * 1000))
        assert daemon.request("GET", "/healthz")[0] == 200
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()
        assert '"level": "error"' not in daemon.log()
        for caller in callers:
            caller.close()


def test_a_stop_takes_no_longer_than_it_may_when_nobody_reads(data_dir: Path) -> None:
    """A caller that never takes its answer does not keep the daemon: it exits 0 within 5 s."""
    with Daemon.start(data_dir) as daemon, slow_reader(daemon):
        start = time.monotonic()
        assert daemon.stop() == 0
        assert seconds_since(start) < STOP_SECONDS
        assert "unanswered_requests" in daemon.log()
        assert '"event": "stopped"' in daemon.log()


def test_a_second_signal_ends_it_at_once(data_dir: Path, tmp_path: Path) -> None:
    """Whoever asks twice does not wait: the daemon exits 0 without finishing its answers, and leaves no files behind."""
    with Daemon.start(data_dir, "--unix-socket", str(tmp_path / "s.sock")) as daemon, slow_reader(daemon):
        daemon.signal()
        daemon.wait_for_log("stopping")
        daemon.signal()
        assert daemon.wait() == 0
        assert '"event": "stopped_at_once"' in daemon.log()
        assert '"event": "stopped"' not in daemon.log()
        assert not (tmp_path / "s.sock").exists()
        assert not (data_dir / "auth.token").exists()


def test_the_end_of_standard_input_stops_it_where_asked(data_dir: Path) -> None:
    """With --exit-with-parent the daemon goes when its parent's end of the pipe does; what is written there means nothing."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, Daemon.start(data_dir, "--exit-with-parent", stdin=stdin) as daemon:
        os.write(writing, b"hello\n")
        daemon.call("srv:status")
        os.close(writing)
        assert daemon.wait() == 0
        assert "standard input ended" in daemon.log()


def test_the_end_of_standard_input_means_nothing_where_not_asked(data_dir: Path) -> None:
    """Without --exit-with-parent a daemon with no standard input lives on."""
    with Daemon.start(data_dir, stdin=subprocess.DEVNULL) as daemon:
        assert daemon.call("agent:session:list_agents")["agents"] == []
        assert daemon.process.poll() is None


def test_a_closed_standard_output_does_not_stop_it(data_dir: Path) -> None:
    """A parent that does not listen to the ready line loses nothing but that."""
    with Daemon(data_dir) as daemon:
        assert daemon.process.stdout is not None
        daemon.process.stdout.close()
        daemon.wait_for_log("listening")
        daemon.ready = json.loads((data_dir / "run" / "srv.json").read_text())
        assert daemon.request("GET", "/healthz")[0] == 200
        assert daemon.stop() == 0


def test_migrations_are_heard_of_and_done_before_it_listens(data_dir: Path) -> None:
    """While it migrates the daemon says so, and when it listens all is there."""
    populate(data_dir, blocks=40, agents=4)
    with Daemon.start(data_dir) as daemon:
        *migrating, _ready = daemon.said
        assert {line["event"] for line in migrating} == {"migrating"}
        assert {line["migration"] for line in migrating} >= {"migrate_block_zones_v1"}
        assert all(line["done"] <= line["total"] for line in migrating)
        statistics = daemon.call("srv:status")["migrations"]["migrate_block_zones_v1"]
        assert (statistics["outcome"], statistics["blocks_scanned"]) == ("done", 40)
        assert len(daemon.call("agent:session:list_agents")["agents"]) == 4


def test_a_signal_interrupts_a_migration_and_the_next_start_goes_on(data_dir: Path) -> None:
    """A stop amid a migration exits 0 without listening, and the next start ends in the same state as if nothing had been."""
    populate(data_dir, blocks=400, agents=100)
    daemon = Daemon(data_dir)
    assert daemon.next_line()["event"] == "migrating"
    assert daemon.stop() == 0
    assert {line["event"] for line in daemon.said} == {"migrating"}, "the migration was over before the signal came"
    assert '"event": "migration_interrupted"' in daemon.log()
    with Daemon.start(data_dir) as again:
        statistics = again.call("srv:status")["migrations"]["migrate_block_zones_v1"]
        written = statistics["archives_written"] + statistics["archives_already_present"]
        assert written + statistics["skipped_no_snapshot"] == 400
        assert len(again.call("agent:session:list_agents", limit=200)["agents"]) == 100


def test_the_module_alone_is_the_daemon(data_dir: Path) -> None:
    """`python -m srv`, with options or with settings in the environment only, serves."""
    environment = environment_with({"ZONEKEEPER_PORT": "0", "ZONEKEEPER_DATA_DIR": str(data_dir)})
    for options in ([], ["--log-level", "warning"]):
        command = [sys.executable, "-m", "srv", *options]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event"] == "listening"
            process.terminate()
        assert process.returncode == 0


def test_the_module_with_a_command_is_that_command() -> None:
    """`python -m srv --version` and the like."""
    said = subprocess.run(
        [sys.executable, "-m", "srv", "--version"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert said.stdout.startswith("zonekeeper ")
