"""Keeps a server busy with something else while it is measured."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.client import Client
from bench.processes import Server


@contextmanager
def busy(server: Server, requests: Sequence[bytes]) -> Iterator[None]:
    """Send the requests round and round until the end of the block, each of them once at least."""
    over = threading.Event()

    def work() -> None:
        with Client(server) as client:
            while True:
                for request in requests:
                    client.timed(request)
                if over.is_set():
                    return

    with ThreadPoolExecutor(1) as thread:
        worker = thread.submit(work)
        try:
            yield
        finally:
            over.set()
        worker.result()
