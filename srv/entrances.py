"""The entrances of one daemon: its TCP port and its Unix socket, each with its door, from opening to closing."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import MutableMapping
from typing import Any, Final

from srv.addresses import hosts_of, own_hosts, url_of
from srv.auth import Door
from srv.config import Settings
from srv.handshakes import TlsServer
from srv.http import HttpService
from srv.inherited import InheritedUnix, take_inherited
from srv.listen import BACKLOG, KEEP_FILE, UnixListener, listen_tcp, tls_context
from srv.tokens import Tokens

ACCEPT_TURNS_MAX: Final = 100
"""Turns of the event loop for which a stop goes on accepting; one takes all that wait, the others who come meanwhile."""


class Entrances:
    """Where callers come in."""

    def __init__(self, settings: Settings, handshake_seconds_max: float) -> None:
        """Keep what was asked for; nothing is opened before `bind`."""
        self._settings = settings
        self._handshake_seconds_max = handshake_seconds_max
        self._scheme = "http" if settings.tls_cert is None else "https"
        self._tls: ssl.SSLContext | None = None
        self._tcp: socket.socket | None = None
        self._unix: UnixListener | InheritedUnix | None = None
        self._listeners: list[asyncio.Server | TlsServer] = []

    def prepare(self, environment: MutableMapping[str, str]) -> None:
        """Do what can fail early: read the certificate, and take over the sockets that were opened for us.

        Each of these takes the place of the one that the settings name.

        Raises:
            CannotListenError: one of them breaks a rule, or the certificate cannot be used.
        """
        settings = self._settings
        self._tcp, self._unix = take_inherited(environment, settings.host)
        if settings.tls_cert is not None and settings.tls_key is not None:
            self._tls = tls_context(settings.tls_cert, settings.tls_key)

    def bind(self) -> None:
        """Take the port and the path, so that whoever comes waits until `open`.

        Raises:
            CannotListenError: one of them cannot be listened on.
        """
        if self._tcp is None:
            self._tcp = listen_tcp(self._settings.host, self._settings.port)
        if self._unix is None and self._settings.unix_socket is not None:
            self._unix = UnixListener(self._settings.unix_socket)

    async def open(self, service: HttpService, tokens: Tokens) -> None:
        """Let callers in, after `bind`."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        if self._tcp is not None:
            hosts, own = (of(*self._address, settings.allow_host, scheme=self._scheme) for of in (hosts_of, own_hosts))
            door = Door(tokens, settings.allow_origin, hosts, own)
            connections = service.listener(door)
            if self._tls is None:
                self._listeners.append(await loop.create_server(connections, sock=self._tcp, backlog=BACKLOG))
            else:
                self._listeners.append(TlsServer(self._tcp, connections, self._tls, self._handshake_seconds_max))
        if self._unix is not None:
            door = Door(tokens, settings.allow_origin, None)
            self._listeners.append(
                await loop.create_unix_server(
                    service.listener(door), sock=self._unix.socket, backlog=BACKLOG, **KEEP_FILE
                )
            )

    @property
    def facts(self) -> dict[str, Any]:
        """Where they are, for clients: `url` and `unix_socket`."""
        return {
            "url": url_of(*self._address, scheme=self._scheme),
            "unix_socket": None if self._unix is None else str(self._unix.path),
        }

    async def close(self) -> None:
        """Accept who has connected already, since closing a listener resets those that still wait, and nobody else."""
        waiting = select.poll()
        for listener in self._listeners:
            for each in listener.sockets:
                waiting.register(each.fileno(), select.POLLIN)
        for _ in range(ACCEPT_TURNS_MAX):
            if not waiting.poll(0):
                break
            await asyncio.sleep(0)
        # A connection is made known two turns of the loop after it was accepted.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for listener in self._listeners:
            listener.close()

    def remove(self) -> None:
        """Remove the file of the Unix socket."""
        if self._unix is not None:
            self._unix.remove()

    @property
    def _address(self) -> tuple[str, int]:
        """Address and port that we listen on, or are to."""
        if self._tcp is None:
            return self._settings.host, self._settings.port
        host, port, *_ = self._tcp.getsockname()
        return host, port
