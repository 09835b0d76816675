"""Entity tags in conditions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from rpc.conditions import Conditions, Tags
from store.errors import InvalidParamsError, RevisionMismatchError, StaleSessionError, StoreError

SPACE = st.text(" \t", max_size=2)
TAGS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"') | st.just("é"), max_size=6)


@given(tags=st.lists(st.tuples(st.booleans(), TAGS), min_size=1, max_size=4), data=st.data())
def test_a_list_of_tags_is_read_as_the_rfc_has_it(tags: list[tuple[bool, str]], data: st.DataObject) -> None:
    """With commas within tags, space between them, empty places, and more than one line."""
    written = [data.draw(SPACE) + ("W/" if is_weak else "") + f'"{tag}"' + data.draw(SPACE) for is_weak, tag in tags]
    lines = data.draw(st.integers(1, len(written)))
    found = Tags.parse("If-Match", [each for each in (",".join(written[:lines]), ", ,".join(written[lines:])) if each])
    assert found is not None
    assert found.strong == {tag for is_weak, tag in tags if not is_weak}
    assert found.weak == {tag for is_weak, tag in tags if is_weak}
    assert not found.is_any


@given(text=st.text('W/"a*, \t', max_size=12))
def test_what_is_no_list_of_tags_is_said_to_be_none(text: str) -> None:
    """It is read, or refused under its name, and nothing else happens."""
    found: Tags | InvalidParamsError | None
    try:
        found = Tags.parse("If-None-Match", [text])
    except InvalidParamsError as error:
        found = error
    if isinstance(found, Tags):
        assert found.is_any == (text.strip(" \t") == "*")
    else:
        assert found is not None
        assert found.facts == {"param": "If-None-Match"}


def conditions(**headers: str) -> Conditions:
    """Take conditions from headers."""
    return Conditions.parse(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize(
    ("match", "none_match", "stored", "error"),
    [
        ('"s-1"', "", ("s", 1), None),
        ('"s-1-gzip"', "", ("s", 1), None),
        ('"x", "s-1"', "", ("s", 1), None),
        ("*", "", ("s", 1), None),
        ("*", "", ("s", None), RevisionMismatchError),
        ("*", "", (None, None), RevisionMismatchError),
        ('"s-2"', "", ("s", 1), RevisionMismatchError),
        ('"s-2"', "", ("s", None), RevisionMismatchError),
        ('W/"s-1"', "", ("s", 1), RevisionMismatchError),
        ('"t-1"', "", ("s", 1), StaleSessionError),
        ('"t-1-gzip", "u-4"', "", ("s", 1), StaleSessionError),
        ('"t-1", "s-2"', "", ("s", 1), RevisionMismatchError),
        ('"t-1", "x"', "", ("s", 1), RevisionMismatchError),
        ('"s-1"', "", (None, None), StaleSessionError),
        ("", "*", ("s", 1), RevisionMismatchError),
        ("", "*", ("s", None), None),
        ("", "*", (None, None), None),
        ("", 'W/"s-1"', ("s", 1), RevisionMismatchError),
        ("", '"s-1-gzip"', ("s", 1), RevisionMismatchError),
        ("", '"s-2"', ("s", 1), None),
        ('"s-1"', '"s-2"', ("s", 1), None),
    ],
)
def test_what_must_be_so_before_a_change(
    match: str, none_match: str, stored: tuple[str | None, int | None], error: type[StoreError] | None
) -> None:
    """A tag of another session is a stale one, any other that is not there a mismatch, which tells the stored revision."""
    headers = {"If_Match": match, "If_None_Match": none_match}
    wanted = conditions(**{name: value for name, value in headers.items() if value})
    if error is None:
        wanted.check(*stored)
        return
    with pytest.raises(error) as caught:
        wanted.check(*stored)
    if error is RevisionMismatchError:
        assert caught.value.facts == {"revision": stored[1] or 0}
