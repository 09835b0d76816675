"""The service manager that started us, such as systemd: told how the start goes, that we are alive, and that we stop.

The protocol is that of sd_notify(3): a datagram of lines `NAME=value` to the socket that `$NOTIFY_SOCKET` names. Where there is
none nothing is said. A manager that has gone, or that does not listen, must not stop the daemon.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import MutableMapping
from typing import Final

import structlog

PINGS_PER_INTERVAL: Final = 3
"""So that neither a lost ping nor one that comes late has a daemon killed that is well."""

_MICROSECONDS: Final = 1_000_000

_log = structlog.get_logger()


class Supervisor:
    """Whoever started us and waits to hear of us, if anybody does."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the variables out of the environment: whoever we start must not speak in our name.

        Args:
            environment: of the process; `NOTIFY_SOCKET` is a path, or after an `@` an abstract name; `WATCHDOG_USEC` is the
                time in microseconds without a ping after which `WATCHDOG_PID` is taken for dead.
        """
        self._socket = _connected(environment.pop("NOTIFY_SOCKET", ""))
        interval = environment.pop("WATCHDOG_USEC", "")
        is_for_us = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval_seconds = int(interval) / _MICROSECONDS if is_for_us and interval.isdecimal() else 0
        self._ping_seconds = interval_seconds / PINGS_PER_INTERVAL

    def tell(self, *, wait_seconds: float = 0, **facts: str) -> None:
        """Say something. It is dropped where the manager does not take it, or not before so many seconds are over.

        May be called from any thread.
        """
        if self._socket is None:
            return
        message = "\n".join(f"{name}={value}" for name, value in facts.items())
        try:
            if select.select([], [self._socket], [], wait_seconds)[1]:
                self._socket.send(message.encode())
                return
            reason = "it does not listen"
        except OSError as error:
            reason = str(error.strerror)
        if wait_seconds:  # else something that does not matter, or that is said again soon
            _log.warning("supervisor_not_told", reason=reason)

    def keep_alive(self) -> None:
        """Say from now on that the event loop runs, as long as it does, to a manager that watches over us."""
        if self._socket is None or not self._ping_seconds:
            return
        self.tell(WATCHDOG="1")
        asyncio.get_running_loop().call_later(self._ping_seconds, self.keep_alive)

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(address: str) -> socket.socket | None:
    if not address:
        return None
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(0)
    try:
        manager.connect(f"\0{address[1:]}" if address.startswith("@") else address)
    except (OSError, ValueError) as error:
        manager.close()
        _log.warning("supervisor_not_told", reason=f"NOTIFY_SOCKET cannot be reached: {error}")
        return None
    return manager
