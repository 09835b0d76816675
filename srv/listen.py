"""The sockets the daemon listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
import sys
from pathlib import Path
from typing import Any, Final

import structlog

from srv.data_dir import make_directory

BACKLOG: Final = 512
"""Connections that wait to be accepted: more than all clients of a busy front end that start at once."""

KEEP_FILE: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""A Unix socket's file is removed by whoever made it; from Python 3.13 on the event loop would do that, whosever it is."""

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
"""What a mode gives to whoever is not the owner."""

_PRIVATE_UMASK: Final = 0o177
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH

_log = structlog.get_logger()


class CannotListenError(Exception):
    """A port or a path cannot be listened on; the sentence says why."""


def listen_tcp(address: str, port: int) -> socket.socket:
    """Listen on a TCP port; 0 takes a free one.

    Raises:
        CannotListenError: the port is in use or not ours to take.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of an earlier daemon that linger in TIME_WAIT are no reason not to start.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListenError(f"cannot listen on {address} port {port}: {error.strerror}") from error
    listener.settimeout(0)
    return listener


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a listener needs to speak TLS, 1.2 or newer.

    Raises:
        CannotListenError: a file cannot be read, or the two do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def no_pass_phrase() -> str:
        raise CannotListenError(f"the private key {key} is locked by a pass phrase; give one that is not")

    try:
        context.load_cert_chain(certificate, key, no_pass_phrase)
    except ssl.SSLError as error:
        reason = f"{error.reason or 'not PEM'}".replace("_", " ").lower()
        raise CannotListenError(f"cannot use the certificate {certificate} with the key {key}: {reason}") from error
    except OSError as error:
        raise CannotListenError(f"cannot read {certificate} or {key}: {error.strerror}") from error
    return context


class UnixListener:
    """A Unix socket that only our own user can connect to, at no instant anybody else.

    Attributes:
        path: where it is.
        socket: what listens.
    """

    def __init__(self, path: Path) -> None:
        """Listen at a path. A socket that nobody listens on any more is replaced; whatever else is there is left alone.

        A directory that is missing is made, for our own user alone.

        Raises:
            CannotListenError: something else is there, someone listens there, others may put something else there, or it
                cannot be made.
        """
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            make_directory(path.parent)
            check_private(path.parent)
            _make_room(path)
            umask = os.umask(_PRIVATE_UMASK)
            try:
                self.socket.bind(os.fspath(path))
            finally:
                os.umask(umask)
            self._inode = path.lstat().st_ino
            self.socket.listen(BACKLOG)
        except OSError as error:
            self.socket.close()
            raise CannotListenError(f"cannot listen on the Unix socket {path}: {error.strerror}") from error
        except CannotListenError:
            self.socket.close()
            raise
        self.socket.settimeout(0)

    def remove(self) -> None:
        """Remove the socket file, unless another has taken its place."""
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()


def check_private(directory: Path) -> None:
    """Refuse a directory in which others could put a socket of their own in our place, to be told what is meant for us.

    Raises:
        CannotListenError: others can write there, or it is theirs.
        OSError: it is not there.
    """
    found = directory.stat()
    if found.st_mode & _OTHERS_WRITE or found.st_uid not in {0, os.geteuid()}:
        raise CannotListenError(
            f"{directory} is open to others, who could put another socket there; choose a directory of your own, "
            f"or close this one: chmod 700 {directory}"
        )
    if found.st_mode & OTHERS:
        _log.warning("socket_directory_open", path=str(directory), hint="chmod 700 keeps others out of it altogether")


def _make_room(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListenError(f"{path} is there already and is not a socket; it was left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A live listener whose queue is full would keep a blocking connect waiting.
        probe.settimeout(0)
        result = probe.connect_ex(os.fspath(path))
    if result != errno.ECONNREFUSED:
        raise CannotListenError(f"another process listens on the Unix socket {path}")
    path.unlink()
