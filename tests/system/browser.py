"""A real browser without a window, the sites it visits, and what its pages report."""

from __future__ import annotations

import http.server
import json
import queue
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

from tests.srv.daemon import WAIT_SECONDS

PAGES: Final = Path(__file__).with_name("pages")

_OPTIONS: Final = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *("--disable-component-update", "--disable-sync"),
)

Reports = dict[str, dict[str, str]]
"""By the name of a page, what has become of each of its attempts."""


class _Pages(http.server.SimpleHTTPRequestHandler):
    """Serves our pages, and takes what `top.html` reports."""

    reports: ClassVar[queue.Queue[Reports]]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(PAGES))

    def do_POST(self) -> None:
        """Take a report."""
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Rebound(socketserver.BaseRequestHandler):
    """Serves our pages, and hands every other connection on to the daemon, as if the name had been bound to it meanwhile."""

    daemon_port: ClassVar[int]

    def handle(self) -> None:
        """Serve one connection."""
        self.request.settimeout(WAIT_SECONDS)
        first = self.request.recv(1 << 16, socket.MSG_PEEK)
        if first.startswith(b"GET /place.html "):
            _Pages(self.request, self.client_address, self.server)
            return
        with socket.create_connection(("127.0.0.1", self.daemon_port), WAIT_SECONDS) as daemon:
            back = threading.Thread(target=_hand_on, args=(daemon, self.request))
            back.start()
            _hand_on(self.request, daemon)
            back.join()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(1 << 16):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one of them has had enough
        pass


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Site:
    """A site that serves our pages.

    Attributes:
        port: where it listens, on 127.0.0.1.
        reports: what `top.html` has reported there.
    """

    port: int
    reports: queue.Queue[Reports]


@contextmanager
def site() -> Iterator[Site]:
    """Serve our pages on a port of its own."""
    reports: queue.Queue[Reports] = queue.Queue()
    with _serving(type("Pages", (_Pages,), {"reports": reports})) as port:
        yield Site(port, reports)


@contextmanager
def rebound(daemon_port: int) -> Iterator[int]:
    """Serve our pages on a port that is the daemon's in all else."""
    with _serving(type("Rebound", (_Rebound,), {"daemon_port": daemon_port})) as port:
        yield port


def report(site: Site, profile: Path, places: Mapping[str, Mapping[str, str]], rules: str) -> Reports:
    """Have a browser open pages in frames of `top.html`, and return what each of them reports.

    Args:
        site: where `top.html` is, as localhost.
        profile: a directory for the browser, which is not there yet.
        places: what each of the others is to know, by its name.
        rules: which names the browser takes for which addresses.
    """
    address = f"http://localhost:{site.port}/top.html#{quote(json.dumps({'places': places}))}"
    command = ["chromium", *_OPTIONS, f"--user-data-dir={profile}", f"--host-resolver-rules={rules}", address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            return site.reports.get(timeout=WAIT_SECONDS)
        finally:
            browser.terminate()
