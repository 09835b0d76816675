"""What a service manager hears of the daemon, over the socket that systemd would give it."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from srv import app, supervisor
from srv.announce import Announcer
from srv.config import Settings
from srv.supervisor import Supervisor
from tests.legacy_dirs import populate
from tests.srv.daemon import Daemon
from tests.srv.manager import Manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A manager that waits for a daemon."""
    with Manager(tmp_path / "notify") as listening:
        yield listening


def test_ready_is_said_once_it_listens_and_stopping_once_it_stops(data_dir: Path, manager: Manager) -> None:
    """Whoever hears READY can connect at once; a stop is heard with its reason while the daemon lives."""
    with Daemon(data_dir, environment=manager.environment) as daemon:
        ready = manager.heard_until("READY")[-1]
        assert ready["READY"] == "1"
        url = ready["STATUS"].removeprefix("listening on ")
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            assert answer.status == 200
        daemon.signal(signal.SIGTERM)
        assert manager.next() == {"STOPPING": "1", "STATUS": "stopping: SIGTERM"}
        assert daemon.wait() == 0


def test_a_migration_extends_the_start_and_ready_comes_after_it(data_dir: Path, manager: Manager) -> None:
    """Each line that a parent reads of a migration is an extension of the deadline as well, with how far it is."""
    populate(data_dir, blocks=40, agents=4)
    with Daemon(data_dir, environment=manager.environment) as daemon:
        *migrating, ready = manager.heard_until("READY")
        assert daemon.stop() == 0
        lines = [line for line in daemon.said if line["event"] == "migrating"]
    assert lines
    assert [message["EXTEND_TIMEOUT_USEC"] for message in migrating] == ["30000000"] * len(lines)
    counted = [line for line in lines if line["total"]]
    assert counted
    shown = {message["STATUS"] for message in migrating}
    assert {f"{line['migration']}: {line['done']} of {line['total']}" for line in counted} <= shown
    assert "EXTEND_TIMEOUT_USEC" not in ready


def test_the_watchdog_hears_the_event_loop_and_nothing_of_a_stopped_process(data_dir: Path, manager: Manager) -> None:
    """Pings come one after the other, none from a process that stands still, and again once it goes on."""
    environment = {**manager.environment, "WATCHDOG_USEC": "90000"}
    with Daemon.start(data_dir, environment=environment) as daemon:
        manager.heard_until("READY")
        assert [manager.next() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
        daemon.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED)
        manager.drop_all()
        # Ten times as long as from one to the next: a ping that did not come by then does not come.
        assert not manager.hears_within(0.3)
        daemon.signal(signal.SIGCONT)
        assert manager.next() == {"WATCHDOG": "1"}


async def test_three_pings_fit_into_the_watchdog_s_time(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one may be lost, and one late. The watchdog of another process is none of ours."""
    delays: list[float] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda delay, _call: delays.append(delay))
    variables = [
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ]
    for each in variables:
        with closing(Supervisor({**manager.environment, **each})) as ours:
            ours.keep_alive()
    assert delays == [10.0]
    assert manager.next() == {"WATCHDOG": "1"}
    assert not manager.hears_within(0)


async def test_whoever_we_start_cannot_speak_for_us(
    data_dir: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables are taken out of the environment of the process."""
    for name, value in {**manager.environment, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}.items():
        monkeypatch.setenv(name, value)
    with closing(app.Daemon(Settings(data_dir))._supervisor):
        assert {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys() == set()


def test_an_abstract_address_is_reached() -> None:
    """An `@` stands for the zero byte with which it begins."""
    with Manager(f"@zonekeeper-test-{os.getpid()}") as manager, closing(Supervisor(manager.environment)) as ours:
        Announcer(ours).stopping("test")
        assert manager.next() == {"STOPPING": "1", "STATUS": "stopping: test"}


def test_a_manager_that_does_not_listen_is_not_waited_for_but_with_ready(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its queue is full, messages are dropped instead of holding up the daemon; the one that must be heard waits."""
    waits: list[float] = []

    def waiting(reading: Any, writing: Any, failing: Any, seconds: float) -> Any:
        waits.append(seconds)
        if seconds:
            manager.drop_all()
        return select.select(reading, writing, failing, seconds)

    with closing(Supervisor(manager.environment)) as ours:
        monkeypatch.setattr(supervisor, "select", SimpleNamespace(select=waiting))
        for number in range(1_000):
            ours.tell(STATUS=str(number))
        assert manager.next() == {"STATUS": "0"}
        ours.tell(STATUS="the place of the first")
        Announcer(ours).listening({"url": "http://x"})
        assert manager.next() == {"READY": "1", "STATUS": "listening on http://x"}
    assert [each for each in waits if each] == [waits[-1]]


def test_a_manager_that_is_not_there_or_goes_is_no_failure(tmp_path: Path) -> None:
    """Neither before the first word nor after it."""
    for address in (str(tmp_path / "nobody"), "vsock:2:1234", "\0"):
        with closing(Supervisor({"NOTIFY_SOCKET": address})) as ours:
            Announcer(ours).stopping("test")
    with Manager(tmp_path / "notify") as manager:
        ours = Supervisor(manager.environment)
    ours.tell(STATUS="is anybody there?")
    ours.close()
    ours.tell(STATUS="nor here")
