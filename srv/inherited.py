"""Sockets that listened before we were started, and were handed over to us (socket activation, sd_listen_fds(3)).

They are open from the first handle after standard error on: `$LISTEN_FDS` of them, meant for the process `$LISTEN_PID`, with
names in `$LISTEN_FDNAMES`, divided by colons. Each takes the place of the one that we would open, and must keep the same rules.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from srv.addresses import is_loopback
from srv.listen import OTHERS, CannotListenError, check_private

FIRST_HANDLE: Final = 3
HANDLES_MAX: Final = 16
"""One of each kind is used; more than this is no number of sockets but a mistake."""


@dataclass(frozen=True, slots=True)
class InheritedUnix:
    """A Unix socket that was opened for us.

    Attributes:
        path: where it is.
        socket: what listens.
    """

    path: Path
    socket: socket.socket

    def remove(self) -> None:
        """Leave the socket file: it is theirs who opened it, and who may start us again when the next caller comes."""


def take_inherited(
    environment: MutableMapping[str, str], host: str
) -> tuple[socket.socket | None, InheritedUnix | None]:
    """Take the sockets over, and the variables out of the environment: neither is meant for whoever we start.

    Args:
        environment: of the process.
        host: the address that the settings allow, besides those of the loopback interface.

    Returns:
        The TCP socket and the Unix socket; None for each that was not handed over.

    Raises:
        CannotListenError: one of them breaks a rule; the sentence says which.
    """
    count = environment.pop("LISTEN_FDS", "0")
    is_for_us = environment.pop("LISTEN_PID", "") == str(os.getpid())
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    tcp: socket.socket | None = None
    unix: InheritedUnix | None = None
    if not is_for_us:
        return tcp, unix
    if not count.isdecimal() or int(count) > HANDLES_MAX:
        raise CannotListenError(f"LISTEN_FDS must be a number of sockets up to {HANDLES_MAX}, got {count[:100]!r}")
    for handle, name in zip_longest(range(FIRST_HANDLE, FIRST_HANDLE + int(count)), names[: int(count)]):
        about = f"the inherited socket {handle} ({name or 'without a name'})"
        listener = _listener(handle, about)
        if listener.family == socket.AF_UNIX:
            _check_first(unix, f"{about} is a second Unix socket")
            unix = InheritedUnix(_private_path(listener, about), listener)
        else:
            _check_first(tcp, f"{about} is a second TCP socket")
            _check_address(listener, host, about)
            tcp = listener
    return tcp, unix


def _check_first(found: object, about: str) -> None:
    if found is not None:
        raise CannotListenError(f"{about}; there can be one")


def _listener(handle: int, about: str) -> socket.socket:
    """Make an object of a handle, if that is a stream socket that listens."""
    try:
        listener = socket.socket(fileno=handle)
    except OSError as error:
        raise CannotListenError(f"{about} is no socket: {error.strerror}") from error
    listener.set_inheritable(False)
    listener.settimeout(0)
    if listener.type != socket.SOCK_STREAM or listener.family not in {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}:
        raise CannotListenError(f"{about} must be a TCP socket or a Unix stream socket (ListenStream=)")
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise CannotListenError(f"{about} does not listen (Accept= must be no)")
    return listener


def _check_address(listener: socket.socket, host: str, about: str) -> None:
    address = listener.getsockname()[0]
    if address != host and not is_loopback(address):
        raise CannotListenError(f"{about} listens on {address}, which is neither a loopback address nor that of --host")


def _private_path(listener: socket.socket, about: str) -> Path:
    """Return where a Unix socket is, if nobody else can reach it there, or put another in its place."""
    path = Path(os.fsdecode(listener.getsockname()))
    if not path.is_absolute():  # an abstract name begins with a zero byte
        raise CannotListenError(f"{about} has no path, so that anybody could connect")
    try:
        check_private(path.parent)
        is_private = not path.lstat().st_mode & OTHERS or not path.parent.stat().st_mode & OTHERS
    except OSError as error:
        raise CannotListenError(f"{about} is not at {path} any more: {error.strerror}") from error
    if not is_private:
        raise CannotListenError(f"{about} is open to others: {path} must have mode 0600 (SocketMode=0600)")
    return path
