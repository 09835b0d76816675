"""Entity tags of files, and the conditions that callers make with them (RFC 9110, sections 8.8.3 and 13); pure.

The tag of a revision is `<session id>-<revision>`, the same in the current zone and in the archive that this becomes. What is
sent compressed is another representation, and has `-gzip` behind its tag; a condition may name either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from multidict import MultiMapping

from store.errors import InvalidParamsError, RevisionMismatchError, StaleSessionError, quote

GZIP_SUFFIX: Final = "-gzip"

# With what divides it from its neighbours: a tag may hold commas itself, and places of a list may be empty.
_TAG: Final = re.compile(r'[ \t,]*+(W/)?"([^"\x00-\x20\x7f]*+)"[ \t]*+(?:,[ \t,]*+|\Z)')
_OF_SESSION: Final = re.compile(r"(.+)-([0-9]+)")


def tag_of(session_id: str, revision: int) -> str:
    """Return the tag of a revision, without its quotes."""
    return f"{session_id}-{revision}"


@dataclass(frozen=True, slots=True)
class Tags:
    """What `If-Match` or `If-None-Match` names.

    Attributes:
        text: the header's value, as it was sent.
        is_any: it is `*`, which is whatever there is.
        strong: tags, without their quotes.
        weak: tags that were marked as weak.
    """

    text: str
    is_any: bool = False
    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, name: str, values: list[str]) -> Self | None:
        """Take a header from all its lines; None where there is none.

        Raises:
            InvalidParamsError: it is neither `*` nor a list of tags in quotes; names the header.
        """
        if not values:
            return None
        text = ", ".join(values).strip(" \t")
        if text == "*":
            return cls(text, is_any=True)
        tags: dict[bool, set[str]] = {True: set(), False: set()}
        position = 0
        while match := _TAG.match(text, position):
            tags[match[1] is None].add(match[2])
            position = match.end()
        if not position or position < len(text):
            raise InvalidParamsError(name, f"{name} must be * or tags in quotes, as ETag has them, got {quote(text)}")
        return cls(text, strong=frozenset(tags[True]), weak=frozenset(tags[False]))

    def names(self, tag: str, *, weakly: bool = False) -> bool:
        """Tell whether a tag is named; `weakly`: also where it was marked as weak."""
        return self.is_any or tag in self.strong or (weakly and tag in self.weak)

    def mismatch(self, session_id: str | None, revision: int) -> StaleSessionError | RevisionMismatchError:
        """Return the error of an `If-Match` that does not name what is stored: the session that there is, and the revision."""
        named = [_OF_SESSION.fullmatch(tag.removesuffix(GZIP_SUFFIX)) for tag in self.strong]
        if named and all(each and each[1] != session_id for each in named):
            return StaleSessionError(f"If-Match is {quote(self.text)}, which is of another session")
        return RevisionMismatchError(quote(self.text), revision, "If-Match")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a caller wants to be so.

    Attributes:
        match: `If-Match`: one of these must be stored.
        none_match: `If-None-Match`: none of these may be stored.
    """

    match: Tags | None = None
    none_match: Tags | None = None

    @classmethod
    def parse(cls, headers: MultiMapping[str]) -> Self:
        """Take the conditions from the headers of a request.

        Raises:
            InvalidParamsError: one is not written as RFC 9110 has it.
        """
        return cls(*(Tags.parse(name, headers.getall(name, [])) for name in ("If-Match", "If-None-Match")))

    def check_match(self, session_id: str, revision: int) -> None:
        """Check `If-Match` against the revision that is stored of a session.

        Raises:
            StaleSessionError: it names another session.
            RevisionMismatchError: it names another revision.
        """
        tag = tag_of(session_id, revision)
        if self.match is not None and not (self.match.names(tag) or self.match.names(tag + GZIP_SUFFIX)):
            raise self.match.mismatch(session_id, revision)

    def is_unchanged(self, tag: str) -> bool:
        """Tell whether a caller that names what it has in `If-None-Match` has what bears this tag."""
        return self.none_match is not None and self.none_match.names(tag, weakly=True)

    def check(self, session_id: str | None, revision: int | None) -> None:
        """Check before a change what is stored: the session that there is and the revision of the file, None for none.

        Raises:
            StaleSessionError: `If-Match` names another session.
            RevisionMismatchError: it names another revision, or `If-None-Match` the stored one.
        """
        if session_id is None or revision is None:
            if self.match is not None:
                raise self.match.mismatch(session_id, 0)
            return
        self.check_match(session_id, revision)
        tag = tag_of(session_id, revision)
        if self.none_match is not None and (self.is_unchanged(tag) or self.is_unchanged(tag + GZIP_SUFFIX)):
            raise RevisionMismatchError(quote(self.none_match.text), revision, "If-None-Match")
