"""What the value of a setting can be: for each kind a function that reads it, and whose `ValueError` says what it must be."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

_UNITS: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(KiB|MiB|GiB|)")
_NUMBER_MAX: Final = 2**53 - 1
_SOCKET_PATH_BYTES_MAX: Final = 107 if sys.platform == "linux" else 103
"""`sun_path` of `sockaddr_un` without its closing zero byte."""
_HOST_NAME: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")


# An origin as a browser writes it: lower case, no path, and no port where that is the scheme's own.
_ORIGIN: Final = re.compile(
    r"(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(:[0-9]{1,5})?"
)


def parse_path(text: str) -> Path:
    """Read a path; `~` is the home directory."""
    if not text or "\0" in text:
        raise ValueError("must be a path")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("names a home directory that cannot be found") from error


def parse_socket_path(text: str) -> Path:
    """Read the path of a Unix socket, which the system keeps short."""
    path = parse_path(text)
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"must be a path of at most {_SOCKET_PATH_BYTES_MAX} bytes, as every Unix socket's")
    return path


def parse_store(text: str) -> str:
    """Read where the sessions are kept, if not in the data directory."""
    if urlsplit(text).scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be a URL such as postgresql://user@host/database")
    return text


def parse_store_connections(text: str) -> int:
    """Read how many connections a daemon may have to its database."""
    fewest, most = 2, 100
    if not re.fullmatch(r"[0-9]{1,3}", text) or not fewest <= int(text) <= most:
        raise ValueError(f"must be a whole number from {fewest}, one that writes and one that reads, to {most}")
    return int(text)


def holds_password(url: str) -> bool:
    """Tell whether a URL holds a password."""
    parts = urlsplit(url)
    return bool(parts.password) or not {"password", "sslpassword"}.isdisjoint(parse_qs(parts.query))


def parse_host(text: str) -> str:
    """Read a literal address; `localhost` is 127.0.0.1, whatever the system resolves it to."""
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError as error:
        raise ValueError("must be a literal address such as 127.0.0.1 or ::1, not a name") from error


def parse_host_name(text: str) -> str:
    """Read what a Host header may say besides our address."""
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(
            "must be a host as clients name it, such as zones.example or 192.0.2.7:8443: lower case, no scheme, no pattern, "
            "the port only where it is not ours"
        )
    return text


def parse_port(text: str) -> int:
    """Read a port number."""
    port_max = 65_535
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > port_max:
        raise ValueError(f"must be a port from 0 (a free one) to {port_max}")
    return int(text)


def parse_origin(text: str) -> str:
    """Read an origin, to be met exactly; `null` and patterns are none."""
    if not _ORIGIN.fullmatch(text):
        raise ValueError(
            "must be an origin as browsers send it, such as http://localhost:5173: scheme and host in lower case, the port "
            "unless it is the scheme's own, no path, no pattern"
        )
    return text


def parse_flag(text: str) -> bool:
    """Read yes or no."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("must be yes or no")
    return words[text.lower()]


def parse_token(text: str) -> str:
    """Read a token; it must fit into a header as it stands."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must not be empty, and must consist of visible ASCII characters")
    return text


def parse_size(text: str) -> int:
    """Read a number of bytes, with or without a binary unit."""
    match = _SIZE.fullmatch(text)
    size_bytes = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= size_bytes <= _NUMBER_MAX:
        raise ValueError("must be a number of bytes above 0, such as 67108864 or 64MiB (units KiB, MiB, GiB)")
    return size_bytes


def parse_count(text: str) -> int:
    """Read a number of things."""
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < 1:
        raise ValueError("must be a whole number above 0")
    return int(text)


def one_of(*words: str) -> Callable[[str], str]:
    """Return what reads one of these words, in either case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return parse


def size_text(size_bytes: int) -> str:
    """Write a size the way `parse_size` reads it, in the largest unit that holds it exactly."""
    unit = next(unit for unit, factor in reversed(_UNITS.items()) if size_bytes % factor == 0)
    return f"{size_bytes // _UNITS[unit]}{unit}"
