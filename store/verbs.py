"""What becomes of each change of a batch: which verb applies it, and what of its failing is its outcome alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from store.changes import Changes
from store.copied import CopySession, DropSession
from store.copies import Copies
from store.engine import (
    AppendOutput,
    ArchiveSession,
    Change,
    CompleteSession,
    ImportSession,
    KeepPreview,
    MoveSession,
    Outcome,
    WholeChange,
    WriteState,
)
from store.errors import StoreError
from store.handle import Handle
from store.imports import Imports, SourceFailedError


class Verbs:
    """Applies any change, inside the open transaction of a batch."""

    def __init__(
        self,
        handle: Handle,
        changes: Changes,
        refused_by_database: tuple[type[Exception], ...],
        further: Mapping[type[Any], Callable[[Any], Any]] | None = None,
    ) -> None:
        """Keep the writing handle, what remembers its sessions, and the database's errors that refuse a value.

        `further` are verbs that one engine alone has.
        """
        self._changes = changes
        self._refused: tuple[type[Exception], ...] = (ValueError, OverflowError, *refused_by_database)
        imports = Imports(handle, changes)
        copies = Copies(handle, changes)
        self._verbs: dict[type[Any], Callable[[Any], Any]] = {
            WriteState: changes.write_state,
            AppendOutput: changes.append_output,
            ArchiveSession: changes.archive_session,
            KeepPreview: changes.keep_preview,
            ImportSession: imports.import_session,
            MoveSession: imports.move_session,
            CompleteSession: imports.complete_session,
            CopySession: copies.copy_session,
            DropSession: copies.drop_session,
            **(further or {}),
        }

    def outcome(self, change: Change) -> Outcome:
        """Apply one change. What is refused is its outcome alone; what fails in the database fails the batch."""
        if type(change) is not AppendOutput:
            self._changes.flush()  # it may look at what was appended
        if isinstance(change, WholeChange):
            self._changes.distrust()  # it may give a session files that another one had
        try:
            outcome: Outcome = self._verbs[type(change)](change)
        except SourceFailedError as error:
            return error.failure
        except StoreError as error:
            return error.with_traceback(None)  # which would hold the change, and all that came with it
        except self._refused as error:
            if isinstance(change, WholeChange):
                return error  # undone by its savepoint
            raise
        return outcome


def place_of(batch: Sequence[Change]) -> str:
    """Say what a batch touches, exactly where it is one change: the writer tries those of a failed batch one by one."""
    if len(batch) != 1:
        return "one of these sessions"
    change = batch[0]
    return f"zone {change.source if isinstance(change, MoveSession | CompleteSession) else change.zone}"
