"""Tables for people: numbers in words."""

from __future__ import annotations

import pytest

from srv.tables import flattened


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("applying_ms", 0, "0 ms"),
        ("commit_p99_ms", 2.5, "2.5 ms"),
        ("oldest_reader_ms", 999, "999 ms"),
        ("checkpoint_age_ms", 1_000, "1 s"),
        ("uptime_ms", 90_061_000, "1 d 1 h"),
        ("commit_p99_ms", 10_000.0, "10 s"),
        ("free_bytes", 3 * 2**30, "3.0 GiB"),
        ("sync_failed", False, "no"),
        ("sessions", None, "none"),
        ("level", "enough", "enough"),
        ("changes", 12_345, "12345"),
    ],
)
def test_a_figure_is_written_in_its_unit(name: str, value: object, words: str) -> None:
    """What a name ends with is the unit; a moment is told in ms, and what lasts in larger units."""
    assert list(flattened({"store": {name: value}})) == [(f"store.{name}", words)]
