"""What settings must be together, where each by itself is right."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rpc.proof import TOKEN_CHARACTERS_MIN, is_provable
from srv.addresses import is_loopback

if TYPE_CHECKING:
    from srv.config import Settings  # which imports this module


def wrong_together(settings: Settings, host_source: str) -> str | None:
    """Say what is wrong; None where nothing is.

    Args:
        settings: to be checked.
        host_source: where the host came from, an option or a variable.
    """
    if settings.free_bytes_critical > settings.free_bytes_warning:
        return "--free-bytes-critical must not be above --free-bytes-warning"
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing, given = ("--tls-key", "--tls-cert") if settings.tls_key is None else ("--tls-cert", "--tls-key")
        return f"{given} needs {missing} as well"
    if settings.read_token is not None and settings.read_token == settings.token:
        return "ZONEKEEPER_READ_TOKEN must be another token than ZONEKEEPER_TOKEN"
    return None if is_loopback(settings.host) else _open_too_wide(settings, host_source)


def _open_too_wide(settings: Settings, host_source: str) -> str | None:
    """Say what is missing where the door is wider than was said in so many words."""
    if not settings.allow_remote:
        return (
            f"{host_source} must be a loopback address, got {settings.host!r}; to let other machines call, give --allow-remote "
            "with ZONEKEEPER_TOKEN, --tls-cert and --tls-key"
        )
    needed = {"ZONEKEEPER_TOKEN": settings.token, "--tls-cert and --tls-key": settings.tls_cert}
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        return f"--allow-remote needs {' and '.join(missing)} as well"
    if settings.token is not None and not is_provable(settings.token):
        # What can be guessed will be guessed once a port is open to others.
        return f"ZONEKEEPER_TOKEN must have at least {TOKEN_CHARACTERS_MIN} characters where other machines may call"
    if ipaddress.ip_address(settings.host).is_unspecified and not settings.allow_host:
        return f"{host_source} {settings.host} needs --allow-host: the host that clients will name"
    return None
