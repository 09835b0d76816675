"""What is kept of a request while it is served: how the log calls it, and where its time goes.

Each layer adds the seconds that it has waited or worked. Whoever serves the request looks at them once, at its end, and makes
words of them only where it was slow.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import Final


class Trace:
    """One request. Members of a batch share it, so what they do at the same time counts once for each.

    Attributes:
        request_id: how the log calls it; None where no request is served, such as in the background.
        rights: what its caller may do, in a word.
        method: what was asked for.
        outcome: `ok`, or the word of an error; of a batch that of the last member that failed.
        began: when it was taken up, by `time.perf_counter`.
        body_seconds: until the body had arrived.
        decode_seconds: until the body was values.
        memory_wait_seconds: for room for a large answer.
        read_wait_seconds: for a thread that reads.
        read_seconds: reading from the store.
        preview_seconds: for previews that a list lacked.
        queue_seconds: for the writer to take the change.
        queue_batches: batches that were committed meanwhile; more than one where the queue was longer than a batch.
        commit_seconds: until the batch with the change was applied, whole.
        sync_seconds: of these, until it was durable once all its changes were made: the disk's share.
        encode_seconds: until the answer was JSON.
        send_seconds: until the caller had taken the answer.
    """

    # Defaults of the class: an instance takes up only what it is given, so one costs little, and tells what there was.
    rights: str | None = None
    method: str | None = None
    outcome: str = "ok"
    body_seconds: float = 0.0
    decode_seconds: float = 0.0
    memory_wait_seconds: float = 0.0
    read_wait_seconds: float = 0.0
    read_seconds: float = 0.0
    preview_seconds: float = 0.0
    queue_seconds: float = 0.0
    queue_batches: int = 0
    commit_seconds: float = 0.0
    sync_seconds: float = 0.0
    encode_seconds: float = 0.0
    send_seconds: float = 0.0

    def __init__(self, request_id: str | None) -> None:
        """Begin now."""
        self.request_id = request_id
        self.began = perf_counter()


NOBODY_S: Final = Trace(None)
"""Where no request is served: it takes what layers add, and nobody looks at it."""

TRACE: Final[ContextVar[Trace]] = ContextVar("trace", default=NOBODY_S)
"""Of the request that is being served."""
