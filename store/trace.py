"""What is kept of a request while it is served: how the log calls it, and where its time goes.

Each layer adds the seconds that it has waited or worked. Whoever serves the request looks at them once, at its end, and makes
words of them only where it was slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Final


class Trace:
    """One request. Members of a batch share it: what several of them read at the same time counts once for each.

    Attributes:
        request_id: how the log calls it; None where no request is served, such as in the background.
        rights: what its caller may do, in a word.
        method: what was asked for.
        outcome: `ok`, or the word of an error; of a batch that of the last member that failed.
        began: when it was taken up, by `time.perf_counter`.
        body_seconds: until the body had arrived, where it had not yet.
        decode_seconds: until a large body was values.
        memory_wait_seconds: for room for a large answer.
        read_wait_seconds: for a thread that reads.
        read_seconds: reading from the store.
        preview_seconds: for previews that a list lacked.
        queue_seconds: for the writer to take the change.
        queue_batches: batches that ended meanwhile; more than one where the queue was longer than a batch.
        commit_seconds: until the batch with the change was applied, whole.
        sync_seconds: of these, until it was durable once all its changes were made: the disk's share.
        encode_seconds: until a large answer was JSON.
        send_seconds: for the caller to take the answer.
        written_at: when the last batch with a change of it ended; 0 where it has changed nothing yet.
    """

    __slots__ = (
        "began",
        "body_seconds",
        "commit_seconds",
        "decode_seconds",
        "encode_seconds",
        "memory_wait_seconds",
        "method",
        "outcome",
        "preview_seconds",
        "queue_batches",
        "queue_seconds",
        "read_seconds",
        "read_wait_seconds",
        "request_id",
        "rights",
        "send_seconds",
        "sync_seconds",
        "written_at",
    )

    def __init__(self, request_id: str | None) -> None:
        """Begin now."""
        self.request_id = request_id
        self.rights: str | None = None
        self.method: str | None = None
        self.outcome = "ok"
        self.queue_batches = 0
        self.body_seconds = self.decode_seconds = self.memory_wait_seconds = self.read_wait_seconds = 0.0
        self.read_seconds = self.preview_seconds = self.queue_seconds = self.commit_seconds = 0.0
        self.sync_seconds = self.encode_seconds = self.send_seconds = self.written_at = 0.0
        self.began = perf_counter()


NOBODY_S: Final = Trace(None)
"""Where no request is served: it takes what layers add, and nobody looks at it."""

TRACE: Final[ContextVar[Trace]] = ContextVar("trace", default=NOBODY_S)
"""Of the request that is being served."""


@contextmanager
def spent_on(stage: str) -> Iterator[None]:
    """Add the time that the block takes to a stage of the request that is being served, such as `encode_seconds`."""
    trace, began = TRACE.get(), perf_counter()
    try:
        yield
    finally:
        setattr(trace, stage, getattr(trace, stage) + perf_counter() - began)
