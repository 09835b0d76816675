"""Large files on their way: whole and of one revision, whatever happens meanwhile; cut where they cannot be read on."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from store.engine import AppendOutput
from store.sqlite import open_sqlite
from store.zones import agent_current_zone
from tests.faults.stored import store_of
from tests.srv.daemon import WAIT_SECONDS, Daemon, read_response, seconds_since
from tests.store.foreign import meddling

MIB = 2**20
LARGE_BYTES = 200 * MIB
OUTPUT = "/zones/large/current/output"


def large_text(number: int) -> bytes:
    """Return a MiB of the large output."""
    return b"".join(b"%08d%b\n" % (line, b"x" * 1_015) for line in range(number * 1_024, (number + 1) * 1_024))


async def fill(path: Path) -> str:
    """Store the large output; returns the digest of its bytes."""
    digest = hashlib.sha256()
    engine = await open_sqlite(path)
    for number in range(LARGE_BYTES // MIB):
        text = large_text(number)
        digest.update(text)
        await engine.apply([AppendOutput(agent_current_zone("large"), text, 1_750_000_000_000)])
    await engine.close()
    return digest.hexdigest()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Make a data directory with the large output in it; returns the digest of that as well."""
    data_dir = tmp_path_factory.mktemp("downloads") / "data"
    path = store_of(data_dir)
    path.parent.mkdir(parents=True, mode=0o700)
    return data_dir, asyncio.run(fill(path))


@pytest.fixture(scope="module")
def daemon(filled: tuple[Path, str]) -> Iterator[Daemon]:
    """Run a daemon for downloads alone."""
    with Daemon.start(filled[0], "--log-level", "debug") as running:
        yield running


class Download:
    """A file on its way."""

    def __init__(self, daemon: Daemon, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=WAIT_SECONDS)
        shown = {"Authorization": f"Bearer {daemon.token}"}
        self._connection.request("GET", path, None, shown | {k.replace("_", "-"): v for k, v in headers.items()})
        self.response = self._connection.getresponse()
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._expand = zlib.decompressobj(31 if self.response.headers["Content-Encoding"] else 0)

    def take(self, bytes_max: int | None = None) -> None:
        """Take so many bytes more, or all; raises as `http.client` does where it is cut."""
        end = None if bytes_max is None else self.size_bytes + bytes_max
        while (end is None or self.size_bytes < end) and (piece := self.response.read(MIB)):
            if self.response.headers["Content-Encoding"]:
                piece = self._expand.decompress(piece)
            self.digest.update(piece)
            self.size_bytes += len(piece)
        if (
            end is None and self.response.length
        ):  # `http.client` itself minds only in chunks, or where all is read at once
            raise http.client.IncompleteRead(b"", self.response.length)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave, with whatever was not taken."""
        self.response.close()
        self._connection.close()


def peak_bytes(daemon: Daemon) -> int:
    """Return the most memory that a daemon has had since `forget_peak`."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="utf-8")
    return 1024 * int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0])


def forget_peak(daemon: Daemon) -> None:
    """Begin to measure anew."""
    Path(f"/proc/{daemon.process.pid}/clear_refs").write_text("5", encoding="utf-8")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak of another process")
def test_200_mb_are_sent_whole_while_the_session_is_archived_and_in_little_memory(
    daemon: Daemon, filled: tuple[Path, str]
) -> None:
    """Several at once, some of which stand still, one compressed; what goes on meanwhile changes nothing of what is sent."""
    with ThreadPoolExecutor(8) as several:  # each reader of the store keeps some pages of it
        list(several.map(lambda _: daemon.request("GET", OUTPUT, None, {"Range": "bytes=0-50000000"}), range(8)))
    before = peak_bytes(daemon)
    forget_peak(daemon)
    tag = daemon.request("HEAD", OUTPUT)[1]["ETag"]
    with ExitStack() as downloads:
        standing = [downloads.enter_context(Download(daemon, OUTPUT)) for _ in range(8)]
        moving = [Download(daemon, OUTPUT), Download(daemon, OUTPUT, Accept_Encoding="gzip")]
        for each in moving:
            downloads.enter_context(each).take(10 * MIB)
        daemon.call("agent:session:append_output", definition_id="large", lines=["appended meanwhile"])
        at_ms = daemon.call("agent:session:archive", definition_id="large")["archived_at_ms"]
        daemon.call("agent:session:append_output", definition_id="large", lines=["of the next session"])
        for each in [*moving, standing[0]]:
            each.take()
            assert (each.size_bytes, each.digest.hexdigest()) == (LARGE_BYTES, filled[1])
            assert each.response.headers["ETag"].replace("-gzip", "") == tag
        assert peak_bytes(daemon) - before < 40 * MIB
    with Download(daemon, f"/zones/large/archive/{at_ms}/output", Range=f"bytes={LARGE_BYTES - 10}-") as resumed:
        resumed.take()
    assert resumed.size_bytes == 10 + len("appended meanwhile\n")
    assert daemon.request("GET", OUTPUT)[2] == b"of the next session\n"


def test_what_is_sent_of_a_snapshot_is_one_revision(daemon: Daemon) -> None:
    """However often it is written meanwhile, and in whatever form it is wanted: no answer is of two writes."""
    path = "/zones/rewritten/current/output.state.json"
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            assert daemon.request("PUT", path, b"%d " % (number % 10) * MIB)[0] == 200

    assert daemon.request("PUT", path, b"0 " * MIB)[0] == 200
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: set[bytes] = set()
        while len(seen) < 10:
            for headers in ({}, {"Accept-Encoding": "gzip"}, {"Range": "bytes=1000-"}):
                status, shown, body = daemon.request("GET", path, None, headers)
                if shown["Content-Encoding"]:
                    body = zlib.decompress(body, 31)
                assert (status, len(body)) == ((206, 2 * MIB - 1_000) if "Range" in headers else (200, 2 * MIB))
                assert body == body[:2] * (len(body) // 2)
                assert int(shown["X-Revision"]) % 10 == (int(body[:1]) + 1) % 10
                seen.add(body[:1])
    finally:
        over.set()
        writer.join()


def test_what_is_sent_of_an_output_is_what_it_was_at_the_beginning(daemon: Daemon) -> None:
    """Appends meanwhile are for the next one who asks."""
    line = "y" * 999
    daemon.call("agent:session:append_output", definition_id="growing", lines=[line] * 8_000)
    path = "/zones/growing/current/output"
    with Download(daemon, path) as first:
        first.take(MIB)
        daemon.call("agent:session:append_output", definition_id="growing", lines=["z"] * 1_000)
        first.take()
    assert (first.size_bytes, first.response.headers["X-Total-Lines"]) == (8_000_000, "8000")
    status, headers, rest = daemon.request("GET", path, None, {"Range": "bytes=8000000-"})
    assert (status, headers["Content-Range"], rest) == (206, "bytes 8000000-8001999/8002000", b"z\n" * 1_000)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_damage_amid_a_file_cuts_the_connection(tmp_path: Path, coding: str) -> None:
    """What was sent by then is not taken for the whole, by a library or by curl; before the first byte there is an error."""
    with Daemon.start(tmp_path / "data") as daemon:
        for _ in range(4):
            daemon.call("agent:session:append_output", definition_id="maks", lines=[os.urandom(500).hex()] * 1_000)
        with meddling(store_of(daemon.data_dir)) as connection:
            where = "WHERE name = 'output' AND start_byte > 2500000 AND start_byte < 2570000"
            assert connection.execute(f"UPDATE file_parts SET crc32 = crc32 + 1 {where}").rowcount == 1
            ((start_byte,),) = connection.execute(f"SELECT start_byte FROM file_parts {where}").fetchall()
        path = "/zones/maks/current/output"
        with Download(daemon, path, Accept_Encoding=coding) as cut:
            assert cut.response.status == 200
            with pytest.raises(http.client.IncompleteRead):
                cut.take()
        assert cut.size_bytes < start_byte
        daemon.wait_for_log("answer_cut")
        command = ["curl", "-sS", "-H", f"X-AuthKey: {daemon.token}", "-H", f"Accept-Encoding: {coding}"]
        curl = subprocess.run([*command, daemon.url + path], capture_output=True, check=False)
        assert curl.returncode == 18
        for first in (start_byte - 10, start_byte, start_byte + 10):
            status, _, body = daemon.request("GET", path, None, {"Range": f"bytes={first}-"})
            assert (status, json.loads(body)["code"]) == (500, "STORAGE_DAMAGED")
        status, _, body = daemon.request("GET", path, None, {"Range": f"bytes={start_byte + 70_000}-"})
        assert status == 206
        assert daemon.request("GET", path, None, {"Range": f"bytes=0-{start_byte - 1}"})[0] == 206


def fill_standing(daemon: Daemon) -> None:
    """Store more output than the sockets of both sides hold."""
    for _ in range(4):
        daemon.call("agent:session:append_output", definition_id="maks", lines=["x" * MIB] * 7)


def test_an_end_that_is_lost_meanwhile_is_missed(tmp_path: Path) -> None:
    """A file that ends before its end is no shorter file: the connection is cut, and the log says why."""
    with Daemon.start(tmp_path / "data") as daemon:
        fill_standing(daemon)
        with Download(daemon, "/zones/maks/current/output") as standing:
            with meddling(store_of(daemon.data_dir)) as connection:
                connection.execute("DELETE FROM file_parts WHERE start_byte > ?", (25 * MIB,))
            with pytest.raises(http.client.IncompleteRead):
                standing.take()
        daemon.wait_for_log("answer_cut")


def test_a_stop_does_not_wait_long_for_who_stands_still(tmp_path: Path) -> None:
    """It ends in time with 0, no part is taken for the whole, and what arrives meanwhile is told SHUTTING_DOWN."""
    snapshot = "/zones/maks/current/output.state.json"
    with Daemon.start(tmp_path / "data") as daemon:
        fill_standing(daemon)
        with ExitStack() as stack:
            standing = stack.enter_context(Download(daemon, "/zones/maks/current/output"))
            getting, putting, half = (stack.enter_context(daemon.connect()) for _ in range(3))
            half.sendall(daemon.head("PUT", snapshot, "Content-Length: 2", "Expect: 100-continue"))
            assert half.recv(100).startswith(b"HTTP/1.1 100")
            begin = time.monotonic()
            daemon.signal()
            daemon.wait_for_log("listening_no_more")
            getting.sendall(daemon.head("GET", snapshot))
            putting.sendall(daemon.head("PUT", snapshot, "Content-Length: 2") + b"{}")
            half.sendall(b"{}")
            for each in (getting, putting, half):
                status, headers, body = read_response(each)
                assert (status, headers["Retry-After"], json.loads(body)["code"]) == (503, "1", "SHUTTING_DOWN")
            assert daemon.wait() == 0
            assert seconds_since(begin) < 5
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                standing.take()
        assert "Traceback" not in daemon.log()
