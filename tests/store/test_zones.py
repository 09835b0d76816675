"""Names: what is one, what is not, and that each comes back from its text."""

from __future__ import annotations

import string
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store.errors import InvalidDefinitionIdError, InvalidParamsError, TooLargeError, quote
from store.limits import TIME_MS_MAX
from store.zones import (
    Zone,
    agent_archive_zone,
    agent_current_zone,
    is_valid_definition_id,
    parse_zone,
    validate_and_current,
)

_ALPHABET: Final = string.ascii_letters + string.digits + "_-"
IDS: Final = st.text(_ALPHABET, min_size=1, max_size=512)
TIMES: Final = st.integers(0, TIME_MS_MAX)


@given(IDS)
@example("-")
@example("_")
@example("current")
@example("archive")
@example("a" * 512)
def test_a_current_zone_comes_back_from_its_name(definition_id: str) -> None:
    """Every id has one current zone, whose name tells the id again."""
    zone = agent_current_zone(definition_id)
    assert zone == f"agent:{definition_id}:current" == validate_and_current(definition_id)
    parsed = parse_zone(str(zone))
    assert parsed is not None
    assert (parsed, parsed.definition_id, parsed.archived_at_ms) == (zone, definition_id, None)
    assert is_valid_definition_id(definition_id)


@given(IDS, TIMES)
@example("a", 0)
@example("a", TIME_MS_MAX)
def test_an_archive_zone_comes_back_from_its_name(definition_id: str, archived_at_ms: int) -> None:
    """Every id and time have one archive zone, whose name tells both again."""
    zone = agent_archive_zone(definition_id, archived_at_ms)
    assert zone == f"agent:{definition_id}:archive:{archived_at_ms}"
    parsed = parse_zone(str(zone))
    assert parsed is not None
    assert (parsed, parsed.definition_id, parsed.archived_at_ms) == (zone, definition_id, archived_at_ms)


@given(st.text(max_size=200))
@example("")
@example("agent\n")
@example("a:b")
@example("é")
@example("٣")
@example("\uff41")
@example("a\x00")
@example("\ud800")
@example("\u212a")
def test_every_other_text_is_refused_with_the_stable_message(text: str) -> None:
    """What is not wholly of ASCII letters, digits, `_` and `-` is refused, and the message begins with the stable words."""
    if text and all(character in _ALPHABET for character in text):
        assert is_valid_definition_id(text)
        return
    assert not is_valid_definition_id(text)
    with pytest.raises(InvalidDefinitionIdError) as caught:
        validate_and_current(text)
    assert str(caught.value) == f"INVALID_DEFINITION_ID: must match [A-Za-z0-9_-]+, got {quote(text)}"
    assert caught.value.facts == {"param": "definition_id"}


@pytest.mark.parametrize("value", [None, 5, b"agent", ["a"], True])
def test_what_is_no_text_is_no_id(value: object) -> None:
    """Only a string is an id."""
    assert not is_valid_definition_id(value)


def test_a_long_id_is_too_large() -> None:
    """513 characters are over the limit, which is named; a long text that is no id either way is an invalid id."""
    with pytest.raises(TooLargeError) as caught:
        agent_current_zone("a" * 513)
    assert caught.value.facts == {"limit": "definition_id_characters_max", "max": 512}
    assert not is_valid_definition_id("a" * 513)
    with pytest.raises(InvalidDefinitionIdError):
        agent_current_zone("é" * 513)


@pytest.mark.parametrize("archived_at_ms", [-1, TIME_MS_MAX + 1, 10**30])
def test_a_time_beyond_its_bounds_makes_no_zone(archived_at_ms: int) -> None:
    """Archive times go from 0 to 2^53 - 1."""
    with pytest.raises(InvalidParamsError) as caught:
        agent_archive_zone("a", archived_at_ms)
    assert caught.value.facts == {"param": "archived_at_ms"}


@given(st.text(max_size=100))
@example("")
@example("0b7ff2e2-4b5e-4b8e-9a53-8d6b6d5c8f0e")
@example("agent::current")
@example("agent:a:current\n")
@example("agent:a:current:")
@example("Agent:a:current")
@example("agent:a:archive:")
@example("agent:a:archive: 7 ")
@example("agent:a:archive:1_000")
@example("agent:a:archive:٣")
@example("agent:a:archive:007")
@example("agent:a:archive:-1")
@example("agent:a:archive:+1")
@example("agent:a:archive:1\n")
@example("agent:a:archive:1.0")
@example(f"agent:a:archive:{TIME_MS_MAX + 1}")
@example("agent:a:archive:" + "9" * 5_000)
@example("agent:a:archive:1:2")
@example("agent:" + "a" * 513 + ":current")
def test_any_text_is_a_zone_only_where_it_is_made_of_one(text: str) -> None:
    """A text is a zone's name exactly where writing the zone gives that text; other names are None and never an error."""
    zone = parse_zone(text)
    if zone is not None:
        assert zone == text == Zone(zone.definition_id, zone.archived_at_ms)
    else:
        assert not (text.startswith("agent:") and text.endswith(":current") and is_valid_definition_id(text[6:-8]))


@given(st.text(max_size=300))
def test_a_quoted_value_is_one_printable_line(text: str) -> None:
    """A value in a message can neither forge a line nor flood a log: it is escaped, and cut at 100 characters."""
    quoted = quote(text)
    assert quoted.isprintable()
    assert quoted.endswith('…"') == (len(text) > 100 or text[:100].endswith("…"))
    quoted.encode()
    assert quote(text[:100]).removesuffix('"') == quoted.removesuffix('"').removesuffix("…") or len(text) <= 100
