"""The settings: what a row of their table is, and how help, environment variables, the README and the checks follow from it.

An option counts before its environment variable, and that before the default. `python -m srv.config` prints the README's table.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from srv.setting_checks import wrong_together
from srv.setting_values import (
    holds_password,
    parse_count,
    parse_size,
    size_text,
)

ENVIRONMENT_PREFIX: Final = "ZONEKEEPER_"
PORT_DEFAULT: Final = 8377
SLOW_CALL_MS_DEFAULT: Final = 250
DURABILITIES: Final = ("none", "disk", "replica-received", "replica-disk", "replica-applied")
"""What an acknowledgement can mean, each more than the one before: the words of `store.durability.Level`."""

STORE_CONNECTIONS_DEFAULT: Final = 5
STORE_STATEMENT_SECONDS_DEFAULT: Final = 30
FREE_BYTES_WARNING_DEFAULT: Final = 2**30
FREE_BYTES_CRITICAL_DEFAULT: Final = 100 * 2**20
"""With less, a few large snapshots or the write-ahead log find no room."""


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
        is_secret: True where the value is not to be shown, not even a wrong one.
    """

    name: str
    meaning: str
    parse: Callable[[str], Any]
    default: Callable[[], Any]
    default_text: str
    metavar: str = ""
    repeatable: bool = False
    is_option: bool = True
    is_secret: bool = False

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
        store: URL of the database, None for the file in the data directory.
        durability: what an acknowledgement must mean at least, one of `DURABILITIES`.
        store_connections: to the database at once.
        store_statement_seconds_max: for one statement of the database.
        host: a literal address, a loopback one unless `allow_remote`.
        port: 0 takes a free one.
        unix_socket: absolute path, None for no socket.
        allow_origin: origins that may call from a browser.
        allow_host: further hosts that a Host header may name.
        allow_remote: whether other machines may call.
        tls_cert: certificate of the TCP listener, with its chain; None for no TLS.
        tls_key: its private key.
        log_format: None decides by whether standard error is a terminal.
        log_level: the lowest level that is logged.
        slow_call_ms: requests that take longer are logged as slow.
        free_bytes_warning: free space below which the log warns.
        free_bytes_critical: free space below which writes are about to fail.
        exit_with_parent: whether the end of standard input stops the daemon.
        token: the token the parent has set, None where a new one is made.
        read_token: the same of the token that only reads.
        limits: the limits that were asked for, by the names of `store.limits.Limits`.
    """

    data_dir: Path
    store: str | None = field(default=None, repr=False)
    durability: str = "disk"
    store_connections: int = STORE_CONNECTIONS_DEFAULT
    store_statement_seconds_max: int = STORE_STATEMENT_SECONDS_DEFAULT
    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    unix_socket: Path | None = None
    allow_origin: tuple[str, ...] = ()
    allow_host: tuple[str, ...] = ()
    allow_remote: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    log_format: Literal["console", "json"] | None = None
    log_level: str = "info"
    slow_call_ms: int = SLOW_CALL_MS_DEFAULT
    free_bytes_warning: int = FREE_BYTES_WARNING_DEFAULT
    free_bytes_critical: int = FREE_BYTES_CRITICAL_DEFAULT
    exit_with_parent: bool = False
    token: str | None = field(default=None, repr=False)
    read_token: str | None = field(default=None, repr=False)
    limits: Mapping[str, int] = field(default_factory=dict)


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
        "SIZE" if in_bytes else "SECONDS" if name.endswith("_seconds_max") else "COUNT",
    )


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
    settings = Settings(**values, limits=limits)
    wrong = wrong_together(settings, "--host" if options.get("host") else f"{ENVIRONMENT_PREFIX}HOST")
    if wrong is None and settings.store and options.get("store") and holds_password(settings.store):
        wrong = f"--store must not hold a password, which every process may read; put the URL into {ENVIRONMENT_PREFIX}STORE"
    if wrong is not None:
        raise WrongSettingError(wrong)
    return settings


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
        shown = "" if row.is_secret or not row.is_option else f", got {text[:100]!r}"
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
