"""Addresses of a listener: the Host headers that speak of it, and its URL."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

_SCHEME_PORTS: Final = {"http": 80, "https": 443}
"""The ports that clients leave out."""

_LOOPBACKS: Final = ("127.0.0.1", "::1")


def is_loopback(address: str) -> bool:
    """Tell whether a literal address is reached from this machine only; ::ffff:127.0.0.1 is not taken for one."""
    parsed = ipaddress.ip_address(address)
    return parsed == ipaddress.IPv6Address("::1") or (parsed.version == 4 and parsed.is_loopback)  # noqa: PLR2004 - IPv4


def hosts_of(address: str, port: int, names: Iterable[str] = (), *, scheme: str = "http") -> frozenset[str]:
    """Return every Host header that speaks of us; whatever else a browser resolved to this machine is not meant for us.

    Args:
        address: the literal address we listen on.
        port: of the listener.
        names: further hosts, each with a port where that is another one, because something forwards to ours.
        scheme: http or https.
    """
    aliases = ("localhost", *(_literal(each) for each in _LOOPBACKS))
    return own_hosts(address, port, (*names, *aliases), scheme=scheme)


def own_hosts(address: str, port: int, names: Iterable[str] = (), *, scheme: str = "http") -> frozenset[str]:
    """Return the Host headers that speak of nobody but us: our address, and the names that were listed.

    At another loopback address, and by the name localhost, somebody else may be reached on the same port. The arguments are
    those of `hosts_of`.
    """
    hosts = {name for name in names if _has_port(name)}
    for name in (_as_called(address), *(name for name in names if not _has_port(name))):
        hosts.add(f"{name}:{port}")
        if port == _SCHEME_PORTS[scheme]:
            hosts.add(name)
    return frozenset(hosts)


def url_of(address: str, port: int, *, scheme: str = "http") -> str:
    """Return the URL of a listener, as this machine calls it."""
    return f"{scheme}://{_as_called(address)}:{port}"


def _as_called(address: str) -> str:
    """Return the address at which this machine reaches a listener: 0.0.0.0 names nobody."""
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        address = "127.0.0.1" if parsed.version == 4 else "::1"  # noqa: PLR2004 - IPv4
    return _literal(address)


def _has_port(name: str) -> bool:
    return ":" in name.rpartition("]")[2]


def _literal(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address  # noqa: PLR2004 - IPv6
