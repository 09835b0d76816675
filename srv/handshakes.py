"""TLS before HTTP: who shakes hands counts among the connections, makes room like a stranger, and has only so long.

The event loop would do it by itself, and tell us of a connection only once that is done: thousands that never are would take
all the files that we may have open.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

import structlog

from srv.connection import Connection
from srv.connections import Connections

NO_FILE_SECONDS: Final = 0.1
"""How long nobody is accepted where the system has no file for one more connection."""

_log = structlog.get_logger()


class TlsServer:
    """Accepts the connections of one TLS listener; what an `asyncio.Server` is to the others.

    Args:
        listener: what listens.
        connections: who takes over once hands are shaken.
        tls: certificate and key.
        seconds_max: how long that may take.
    """

    def __init__(
        self, listener: socket.socket, connections: Connections, tls: ssl.SSLContext, seconds_max: float
    ) -> None:
        """Begin to accept."""
        self.sockets: Final = (listener,)
        self._connections = connections
        self._tls = tls
        self._seconds_max = seconds_max
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept(listener))
        self._accepting.add_done_callback(lambda _: listener.close())

    def close(self) -> None:
        """Accept no more; hands that are being shaken are not let go."""
        self._accepting.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(listener)
            except OSError as error:  # who came has gone already; or we have as many files as we may
                _log.debug("caller_gone", reason=error.strerror)
                await asyncio.sleep(NO_FILE_SECONDS)
                continue
            connection = self._connections()
            connection.peer = peer
            if self._connections.admit(connection):
                task = loop.create_task(self._shake(connection, peer))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
            else:
                peer.close()  # to be told so would take a handshake

    async def _shake(self, connection: Connection, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: connection, peer, ssl=self._tls, ssl_handshake_timeout=self._seconds_max
            )
        except OSError:
            self._connections.forget(connection)
            peer.close()
