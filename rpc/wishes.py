"""What a write of the snapshot says besides agent and content, whichever way it goes: by the method or by `PUT`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wishes:
    """The optional parameters of `write_state`, under their names.

    Attributes:
        session_id: the session it belongs to, None for whichever is current.
        expect_revision: the revision that must be stored, 0 where there must be none; None for any.
        covers_line: number of output lines the snapshot already contains, None where that is not said.
    """

    session_id: str | None = None
    expect_revision: int | None = None
    covers_line: int | None = None

    def given(self) -> dict[str, str | int]:
        """Return those that are given, by their names."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
