"""The settings: one table that makes `--help`, the environment variables, the README's table and the checks.

An option counts before its environment variable, and that before the default. `python -m srv.config` prints the README's table.
"""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from rpc.discovery import default_data_dir

ENVIRONMENT_PREFIX: Final = "ZONEKEEPER_"
PORT_DEFAULT: Final = 8377

_UNITS: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(KiB|MiB|GiB|)")
_NUMBER_MAX: Final = 2**53 - 1
_SOCKET_PATH_BYTES_MAX: Final = 107 if sys.platform == "linux" else 103
"""`sun_path` of `sockaddr_un` without its closing zero byte."""

# An origin as a browser writes it: lower case, no path, and no port where that is the scheme's own.
_ORIGIN: Final = re.compile(
    r"(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(:[0-9]{1,5})?"
)


class WrongSettingError(Exception):
    """A setting has a value it cannot have; the sentence names the setting and where the value came from."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Attributes:
        name: the option without its dashes; the field of `Settings` and the environment variable are made of it.
        meaning: a sentence for people.
        parse: makes the value out of text; its `ValueError` says what a value must be.
        default: makes the value where nobody gave one.
        default_text: the default as people read it.
        metavar: what stands for the value in `--help`; "" where the option takes none.
        repeatable: the option may be given more than once; its variable takes several, divided by white space.
        is_option: False where the value may come from the environment only.
    """

    name: str
    meaning: str
    parse: Callable[[str], Any]
    default: Callable[[], Any]
    default_text: str
    metavar: str = ""
    repeatable: bool = False
    is_option: bool = True

    @property
    def field(self) -> str:
        """Name of the field of `Settings`, or of the limit."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return ENVIRONMENT_PREFIX + self.field.upper()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    Attributes:
        data_dir: absolute path.
        host: a literal loopback address.
        port: 0 takes a free one.
        unix_socket: absolute path, None for no socket.
        allow_origin: origins that may call from a browser.
        log_format: None decides by whether standard error is a terminal.
        log_level: the lowest level that is logged.
        exit_with_parent: whether the end of standard input stops the daemon.
        token: the token the parent has set, None where a new one is made.
        limits: the limits that were asked for, by the names of `store.limits.Limits`.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    unix_socket: Path | None = None
    allow_origin: tuple[str, ...] = ()
    log_format: Literal["console", "json"] | None = None
    log_level: str = "info"
    exit_with_parent: bool = False
    token: str | None = field(default=None, repr=False)
    limits: Mapping[str, int] = field(default_factory=dict)


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


def parse_host(text: str) -> str:
    """Read a loopback address; `localhost` is 127.0.0.1, whatever the system resolves it to."""
    if text == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise ValueError("must be a loopback address such as 127.0.0.1 or ::1") from error
    if address != ipaddress.IPv6Address("::1") and not (address.version == 4 and address.is_loopback):  # noqa: PLR2004 - IPv4
        raise ValueError("must be a loopback address: Zonekeeper does not listen where other machines could reach it")
    return str(address)


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


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return parse


def _nothing() -> None:
    return None


PROCESS_SETTINGS: Final = (
    Setting(
        "data-dir",
        "Directory of the data; may be an existing AgentMux data directory.",
        parse_path,
        default_data_dir,
        "the platform's user data directory",
        "DIR",
    ),
    Setting("host", "Loopback address to listen on.", parse_host, lambda: "127.0.0.1", "127.0.0.1", "ADDRESS"),
    Setting(
        "port",
        "TCP port to listen on; 0 takes a free one.",
        parse_port,
        lambda: PORT_DEFAULT,
        str(PORT_DEFAULT),
        "PORT",
    ),
    Setting(
        "unix-socket",
        "Unix socket to listen on as well; the same user needs no token there.",
        parse_socket_path,
        _nothing,
        "none",
        "PATH",
    ),
    Setting(
        "allow-origin",
        "Origin whose pages may call from a browser, scheme included; may be given more than once.",
        parse_origin,
        tuple,
        "none",
        "ORIGIN",
        repeatable=True,
    ),
    Setting(
        "log-format",
        "Form of the log on standard error: console or json.",
        _one_of("console", "json"),
        _nothing,
        "console on a terminal, else json",
        "FORMAT",
    ),
    Setting(
        "log-level",
        "Lowest level that is logged: debug, info, warning or error.",
        _one_of("debug", "info", "warning", "error"),
        lambda: "info",
        "info",
        "LEVEL",
    ),
    Setting("exit-with-parent", "Stop when standard input ends.", parse_flag, lambda: False, "no"),
    Setting(
        "token",
        "Token that callers must show, instead of a new one at each start in DIR/auth.token.",
        parse_token,
        _nothing,
        "a new one",
        "TOKEN",
        is_option=False,
    ),
)


def limit_settings(limits: Any) -> tuple[Setting, ...]:
    """Make a row for each field of a dataclass of limits, with the meaning that its docstring's `Attributes` give."""
    meanings = dict(re.findall(r"^ +([a-z_]+_max): (.+)$", type(limits).__doc__ or "", re.MULTILINE))
    return tuple(_limit_setting(each.name, getattr(limits, each.name), meanings) for each in dataclasses.fields(limits))


def _limit_setting(name: str, default: int, meanings: Mapping[str, str]) -> Setting:
    in_bytes = name.endswith("_bytes_max")
    meaning = meanings.get(name, name)
    return Setting(
        name.replace("_", "-"),
        f"Limit: {meaning}",
        parse_size if in_bytes else parse_count,
        lambda: default,
        size_text(default) if in_bytes else str(default),
        "SIZE" if in_bytes else "COUNT",
    )


def size_text(size_bytes: int) -> str:
    """Write a size the way `parse_size` reads it, in the largest unit that holds it exactly."""
    unit = next(unit for unit, factor in reversed(_UNITS.items()) if size_bytes % factor == 0)
    return f"{size_bytes // _UNITS[unit]}{unit}"


def add_options(parser: argparse.ArgumentParser, table: Iterable[Setting]) -> None:
    """Give a parser the options of the table. What they hold stays text until `resolve`."""
    for row in table:
        if not row.is_option:
            continue
        about = f"{row.meaning} Default: {row.default_text}. [{row.variable}]".replace("%", "%%")
        kind: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction} if not row.metavar else {"metavar": row.metavar}
        )
        if row.repeatable:
            kind["action"] = "append"
        parser.add_argument(f"--{row.name}", dest=row.field, default=None, help=about, **kind)


def resolve(table: Sequence[Setting], options: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Make the settings out of options, environment and defaults.

    Args:
        table: the rows.
        options: what `add_options` left, by field; None where an option was not given.
        environment: the environment variables.

    Raises:
        WrongSettingError: a value is wrong.
    """
    values: dict[str, Any] = {}
    limits: dict[str, int] = {}
    known = {each.name for each in dataclasses.fields(Settings)}
    for row in table:
        target = values if row.field in known else limits
        target[row.field] = _value(row, options.get(row.field), environment)
    return Settings(**values, limits=limits)


def unknown_variables(table: Iterable[Setting], environment: Mapping[str, str]) -> list[str]:
    """Name the environment variables that look like a setting and are none: a typing error, most likely."""
    known = {row.variable for row in table}
    return sorted(name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in known)


def _value(row: Setting, option: Any, environment: Mapping[str, str]) -> Any:
    source, given = f"--{row.name}", option
    if given is None:
        source, given = row.variable, environment.get(row.variable)
        if given is not None and row.repeatable:
            given = given.split()
    if given is None:
        return row.default()
    if isinstance(given, bool):
        return given
    if isinstance(given, list):
        return tuple(_parsed(row, source, each) for each in given)
    return _parsed(row, source, given)


def _parsed(row: Setting, source: str, text: str) -> Any:
    try:
        return row.parse(text)
    except ValueError as error:
        shown = "" if not row.is_option else f", got {text[:100]!r}"
        raise WrongSettingError(f"{source} {error}{shown}") from error


def markdown_table(table: Iterable[Setting]) -> str:
    """Write the table for the README."""
    lines = ["| option | environment variable | default | meaning |", "|---|---|---|---|"]
    for row in table:
        option = f"`--{row.name}{f' {row.metavar}' if row.metavar else ''}`" if row.is_option else ""
        meaning = row.meaning.replace("|", "\\|")
        lines.append(f"| {option} | `{row.variable}` | {row.default_text} | {meaning} |")
    return "\n".join(lines)


def _print_table() -> None:
    from srv.app import SETTINGS  # noqa: PLC0415 - srv.app, which alone knows the limits, imports this module

    sys.stdout.write(markdown_table(SETTINGS) + "\n")


if __name__ == "__main__":
    _print_table()
