"""A route: what a path does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from srv.exchange import Exchange

READ: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Route:
    """What a path does.

    Attributes:
        methods: those of HTTP that it takes.
        serve: answers a request; tells whether the connection stays open.
    """

    methods: tuple[str, ...]
    serve: Callable[[Exchange], Awaitable[bool]]
