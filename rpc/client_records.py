"""What a caller gets: the records that only the wire knows, and how an answer becomes a record.

Where a record of the store has the form of a result it is used as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from rpc.errors import RpcError, WireError
from store.records import AgentStat, Appended, Archived, ArchiveSummary, Page, Written
from store.zones import Zone, parse_zone

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session and its snapshot. All is None for an agent without a session.

    Attributes:
        content: the whole snapshot; None where there is none, or where `unchanged`.
        modts: unix ms of its last change, None where there is no snapshot.
        revision: its revision, None where there is no snapshot.
        session_id: id of the session.
        unchanged: the revision asked about is the stored one, so no content was sent.
    """

    content: str | None = None
    modts: int | None = None
    revision: int | None = None
    session_id: str | None = None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class MountedSnapshot:
    """The snapshot of a mount.

    Attributes:
        content: the whole snapshot.
        modts: unix ms of its last change.
        revision: its revision.
        covers_line: number of output lines it already contains, None where its writer did not say.
    """

    content: str
    modts: int
    revision: int
    covers_line: int | None


@dataclass(frozen=True, slots=True)
class MountedOutput:
    """The lines of a mount.

    Attributes:
        lines: the newest of those that the snapshot does not contain.
        first_line: number of the first of them, from 0.
        total_lines: of the whole output.
        size_bytes: of the whole output.
    """

    lines: list[str]
    first_line: int
    total_lines: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a pane needs at once; `session_id` and `snapshot` are None where there is none."""

    session_id: str | None
    snapshot: MountedSnapshot | None
    output: MountedOutput


@dataclass(frozen=True, slots=True)
class AgentsPage:
    """Agents in order of id, and the id to go on after; None where these are the last."""

    agents: list[AgentStat]
    next: str | None


class _Answer(msgspec.Struct, Generic[_Result]):
    """A JSON-RPC response."""

    result: _Result | msgspec.UnsetType = msgspec.UNSET
    error: WireError | None = None


class Answers(Generic[_Result]):
    """Takes the answers to a method apart."""

    def __init__(self, result: Any) -> None:
        """Keep the type of its result."""
        self._decode = msgspec.json.Decoder(_Answer[result], dec_hook=_zone).decode

    def result(self, body: bytes) -> _Result:
        """Return the result in an answer.

        Raises:
            RpcError: the answer is an error.
            NotUnderstoodError: it is no answer to this method.
        """
        try:
            answer: _Answer[_Result] = self._decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise NotUnderstoodError from error
        if answer.error is not None:
            raise RpcError(answer.error.code, answer.error.message, answer.error.data)
        if isinstance(answer.result, msgspec.UnsetType):
            raise NotUnderstoodError
        return answer.result


class NotUnderstoodError(Exception):
    """What came is no answer that we know."""


def _zone(_kind: type, name: object) -> Zone:
    """Take the name of a zone, the only type of ours that a decoder does not know by itself."""
    zone = parse_zone(name) if isinstance(name, str) else None
    if zone is None:
        raise ValueError("no name of a zone")
    return zone


ANY: Final = Answers[Any](Any)
SNAPSHOT: Final = Answers[Snapshot](Snapshot)
WRITTEN: Final = Answers[Written](Written)
APPENDED: Final = Answers[Appended](Appended)
ARCHIVED: Final = Answers[Archived](Archived)
ARCHIVES: Final = Answers[list[ArchiveSummary]](list[ArchiveSummary])
PAGE: Final = Answers[Page](Page)
MOUNTED: Final = Answers[Mounted](Mounted)
STATS: Final = Answers[list[AgentStat]](list[AgentStat])
AGENTS: Final = Answers[AgentsPage](AgentsPage)
OBJECT: Final = Answers[dict[str, Any]](dict[str, Any])
