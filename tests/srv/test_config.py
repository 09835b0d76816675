"""The settings: where a value comes from, what it may be, and that one table says it all."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from srv.app import SETTINGS
from srv.config import (
    Settings,
    WrongSettingError,
    limit_settings,
    markdown_table,
    resolve,
    unknown_variables,
)
from srv.setting_values import parse_size, size_text
from store.limits import Limits
from tests.srv.daemon import ROOT


def test_without_options_and_variables_the_defaults_hold() -> None:
    """The defaults are those of DESIGN.md section 6 and of `store/limits.py`."""
    settings = resolve(SETTINGS, {}, {})
    assert settings == Settings(
        data_dir=platformdirs.user_data_path("zonekeeper", appauthor=False), limits=dataclasses.asdict(Limits())
    )
    assert (settings.host, settings.port, settings.unix_socket) == ("127.0.0.1", 8377, None)


@pytest.mark.parametrize(
    ("field", "option", "variable", "from_variable", "from_option"),
    [
        ("data_dir", "/one", "/other", Path("/other"), Path("/one")),
        ("host", "::1", "127.0.0.9", "127.0.0.9", "::1"),
        ("port", "1", "2", 2, 1),
        ("unix_socket", "/one", "/other", Path("/other"), Path("/one")),
        (
            "allow_origin",
            ["http://a", "app://b"],
            "http://c  http://d",
            ("http://c", "http://d"),
            ("http://a", "app://b"),
        ),
        ("log_format", "json", "console", "console", "json"),
        ("log_level", "error", "DEBUG", "debug", "error"),
        ("exit_with_parent", False, "yes", True, False),
        ("body_bytes_max", "1KiB", "2MiB", 2 * 2**20, 1024),
        ("append_lines_max", "7", "8", 8, 7),
    ],
)
def test_an_option_counts_before_its_variable_and_that_before_the_default(
    field: str, option: Any, variable: str, from_variable: Any, from_option: Any
) -> None:
    """Each setting can be given either way."""
    environment = {f"ZONEKEEPER_{field.upper()}": variable}

    def value(settings: Settings) -> Any:
        return settings.limits[field] if field in settings.limits else getattr(settings, field)

    assert value(resolve(SETTINGS, {}, environment)) == from_variable
    assert value(resolve(SETTINGS, {field: option}, environment)) == from_option


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("data_dir", ""),
        ("data_dir", "a\0b"),
        ("data_dir", "~nobody-of-that-name/x"),
        ("host", "0.0.0.0"),
        ("host", "192.168.0.1"),
        ("host", "::"),
        ("host", "example.com"),
        ("host", "127.0.0.1.evil.example"),
        ("host", ""),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "٣"),
        ("port", "80 "),
        ("port", "tcp://10.0.0.1:8377"),
        ("unix_socket", "/" + "x" * 200),
        ("unix_socket", ""),
        ("allow_origin", "*"),
        ("allow_origin", "null"),
        ("allow_origin", "http://a/"),
        ("allow_origin", "http://*.a"),
        ("allow_origin", "a:5173"),
        ("allow_origin", "HTTP://a"),
        ("allow_origin", "http://a:80"),
        ("allow_origin", "https://a:443"),
        ("allow_origin", "http://a\nb"),
        ("log_format", "xml"),
        ("log_level", "loud"),
        ("exit_with_parent", "maybe"),
        ("token", ""),
        ("token", "a b"),
        ("token", "é"),
        ("token", "a\r\nb"),
        ("body_bytes_max", "64MB"),
        ("body_bytes_max", "0"),
        ("body_bytes_max", "-1"),
        ("body_bytes_max", "1.5GiB"),
        ("append_lines_max", "1KiB"),
        ("append_lines_max", "0"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_source(field: str, wrong: str) -> None:
    """The message names the variable, and shows the value unless it is a secret."""
    with pytest.raises(WrongSettingError) as caught:
        resolve(SETTINGS, {}, {f"ZONEKEEPER_{field.upper()}": wrong})
    assert str(caught.value).startswith(f"ZONEKEEPER_{field.upper()} ")
    assert "\n" not in str(caught.value)
    assert ("got" in str(caught.value)) == (field != "token")


def test_the_levels_of_free_space_are_in_order() -> None:
    """What is critical is below what is warned of; both may be the same."""
    with pytest.raises(WrongSettingError, match="--free-bytes-critical must not be above --free-bytes-warning"):
        resolve(SETTINGS, {}, {"ZONEKEEPER_FREE_BYTES_WARNING": "1MiB"})
    same = resolve(SETTINGS, {"free_bytes_warning": "1MiB", "free_bytes_critical": "1MiB"}, {})
    assert same.free_bytes_warning == same.free_bytes_critical == 2**20


def test_a_wrong_option_is_named_as_one() -> None:
    """The message names the option where the value came from one."""
    with pytest.raises(WrongSettingError, match=r"^--port must be a port"):
        resolve(SETTINGS, {"port": "x"}, {"ZONEKEEPER_PORT": "1"})


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "https://a.example", "tauri://localhost", "http://[::1]:80801"]
)
def test_origins_as_browsers_send_them(origin: str) -> None:
    """Web views of desktop programs have schemes of their own."""
    assert resolve(SETTINGS, {"allow_origin": [origin]}, {}).allow_origin == (origin,)


def test_the_token_is_not_shown_with_the_settings() -> None:
    """Settings can be put into a log without giving the token away."""
    settings = resolve(SETTINGS, {}, {"ZONEKEEPER_TOKEN": "sesame"})
    assert settings.token == "sesame"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize("size_bytes", [1, 1023, 1024, 1500, 64 * 2**20, 2**30, 2**40])
def test_sizes_are_written_as_they_are_read(size_bytes: int) -> None:
    """What `--help` shows as a default can be given as a value."""
    assert parse_size(size_text(size_bytes)) == size_bytes


def test_every_limit_is_a_setting_with_a_meaning() -> None:
    """`store/limits.py` is the one page of limits: each of its fields is a row, with its meaning and default."""
    rows = {row.field: row for row in limit_settings(Limits())}
    assert rows.keys() == {each.name for each in dataclasses.fields(Limits)}
    for name, row in rows.items():
        assert row.meaning != f"Limit: {name}", f"{name} has no meaning in the docstring of Limits"
        assert row.parse(row.default_text) == getattr(Limits(), name)


def test_help_shows_every_setting() -> None:
    """`zonekeeper serve --help` is made of the table."""
    command = [sys.executable, "-m", "srv", "serve", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for row in SETTINGS:
        assert (f"--{row.name} " in shown or f"--{row.name}," in shown) == row.is_option
        assert row.variable in shown


def test_the_readme_s_table_shows_every_setting() -> None:
    """`python -m srv.config` prints a row for each setting, with as many cells as the head."""
    command = [sys.executable, "-m", "srv.config"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == markdown_table(SETTINGS) + "\n"
    lines = printed.splitlines()
    assert len(lines) == len(SETTINGS) + 2
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {6}
    for row, line in zip(SETTINGS, lines[2:], strict=True):
        assert row.variable in line
        assert (f"`--{row.name}" in line) == row.is_option


def test_a_variable_that_is_no_setting_is_noticed() -> None:
    """A typing error in a variable's name does not pass in silence."""
    environment = {"ZONEKEEPER_PROT": "1", "ZONEKEEPER_PORT": "1", "PATH": "/bin"}
    assert unknown_variables(SETTINGS, environment) == ["ZONEKEEPER_PROT"]
