"""A daemon is killed while it compresses an archive: every byte is there, and the next one goes on."""

from __future__ import annotations

from pathlib import Path

from tests.faults.stored import sessions_in, store_of
from tests.srv.daemon import Daemon
from tests.store.foreign import rows

LINES = [f'{{"type": "assistant", "n": {number}, "text": "{"what was said " * 50}"}}' for number in range(4_000)]
CODECS = "SELECT codec, count(*) FROM file_parts WHERE size_bytes > 4096 GROUP BY codec ORDER BY codec"


def archived(path: Path) -> list[bytes]:
    """Check a store; return the outputs of its archives."""
    return [stored.output for stored in sessions_in(path) if stored.archived_at_ms is not None]


def test_a_daemon_killed_amid_an_archive_loses_nothing(data_dir: Path) -> None:
    """Some parts are compressed and some are not when it is killed; then all are, and the output is what it was."""
    output = "".join(line + "\n" for line in LINES).encode()
    with Daemon.start(data_dir) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", lines=LINES)
        daemon.call("agent:session:archive", definition_id="maks")
        while not daemon.call("srv:status")["store"]["compression_saved_bytes"]:
            # While others write it rests so long that it cannot be done by the time it is killed.
            daemon.call("agent:session:append_output", definition_id="other", line="x")
        daemon.kill()
    assert [codec for codec, _ in rows(store_of(data_dir), CODECS)] == [0, 1]
    assert archived(store_of(data_dir)) == [output]
    with Daemon.start(data_dir) as daemon:
        while daemon.call("srv:status")["store"]["compressions_waiting"]:
            pass
        assert daemon.stop() == 0
    assert [codec for codec, _ in rows(store_of(data_dir), CODECS)] == [1]
    assert archived(store_of(data_dir)) == [output]
