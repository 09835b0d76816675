"""What callers can take of the daemon. The numbers and their reasons stand in `store/limits.py`, which `srv` may not know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of `store.limits.Limits` that the transport keeps, under their names.

    Attributes:
        connections_max: connections at once, of all listeners together.
        requests_per_connection_max: requests after which a connection is closed.
        head_seconds_max: until the first whole head on a new connection.
        idle_seconds_max: until the next whole head on a used one.
        body_bytes_max: one body.
        snapshot_bytes_max: one body that is a snapshot.
        body_memory_bytes_max: large bodies together.
        body_seconds_max: for a whole body.
        answer_seconds_max: for a whole answer to be taken, or one piece of an output.
        silence_seconds_max: without another byte of a body sent, or of an answer taken.
    """

    connections_max: int
    requests_per_connection_max: int
    head_seconds_max: float
    idle_seconds_max: float
    body_bytes_max: int
    snapshot_bytes_max: int
    body_memory_bytes_max: int
    body_seconds_max: float
    answer_seconds_max: float
    silence_seconds_max: float
