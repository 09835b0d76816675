"""A daemon is killed while it compresses an archive: every byte is there, and the next one goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.faults.stored import sessions_in, store_of
from tests.srv.daemon import Daemon
from tests.store.foreign import rows

LINES = [f'{{"type": "assistant", "n": {number}, "text": "{"what was said " * 50}"}}' for number in range(7_000)]
CODECS = "SELECT codec, count(*) FROM file_parts WHERE size_bytes > 4096 GROUP BY codec ORDER BY codec"


def until(daemon: Daemon, figure: str, is_reached: Any) -> None:
    """Ask for the status until a figure of the store is as wanted."""
    while not is_reached(daemon.call("srv:status")["store"][figure]):
        pass


def test_a_daemon_killed_amid_an_archive_loses_nothing(data_dir: Path) -> None:
    """Some parts are compressed and some are not when it is killed; then all are, and the output is what it was."""
    output = "".join(line + "\n" for line in LINES).encode()
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", lines=LINES)
        daemon.call("agent:session:archive", definition_id="maks")
        until(daemon, "compression_saved_bytes", lambda saved_bytes: saved_bytes > 0)
        daemon.kill()
    assert [codec for codec, _ in rows(store_of(data_dir), CODECS)] == [0, 1]
    assert [stored.output for stored in sessions_in(store_of(data_dir))] == [output]
    with Daemon.start(data_dir) as daemon:
        until(daemon, "compressions_waiting", lambda waiting: waiting == 0)
        assert daemon.stop() == 0
    assert [codec for codec, _ in rows(store_of(data_dir), CODECS)] == [1]
    assert [stored.output for stored in sessions_in(store_of(data_dir))] == [output]
