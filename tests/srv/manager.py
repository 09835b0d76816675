"""A service manager of the tests' own: a socket on which it hears what a daemon says to systemd."""

from __future__ import annotations

import select
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.srv.daemon import WAIT_SECONDS

Message = dict[str, str]


class Manager:
    """Listens where `$NOTIFY_SOCKET` says.

    Attributes:
        environment: what a daemon is started with.
        socket: what it listens on.
    """

    def __init__(self, address: Path | str, **environment: str) -> None:
        """Listen at a path, or at an abstract name that begins with `@`."""
        self.environment = {"NOTIFY_SOCKET": str(address), **environment}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(WAIT_SECONDS)
        self.socket.bind(str(address).replace("@", "\0", 1))

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more."""
        self.socket.close()

    def next(self) -> Message:
        """Return the next message."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))

    def heard_until(self, name: str) -> list[Message]:
        """Return the messages up to the first that has this name in it."""
        heard = [self.next()]
        while name not in heard[-1]:
            heard.append(self.next())
        return heard

    def hears_within(self, seconds: float) -> bool:
        """Wait that long at most for a message, and leave it; tells whether there is one."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def drop_all(self) -> None:
        """Drop what was said and not yet heard."""
        while self.hears_within(0):
            self.socket.recv(4096)
