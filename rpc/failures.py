"""Tells the log what the disk does to callers: they cannot mend it, whoever reads the log may."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from store.errors import StorageDamagedError, StorageFullError, StorageUnavailableError, StoreError

_QUIET_SECONDS: Final = 60
"""A full disk refuses hundreds of calls a second: each sentence is logged once in this time."""

_SENTENCES_MAX: Final = 1_000

_log = structlog.get_logger()


class FailureLog:
    """Logs storage failures, each sentence now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep the clock, in seconds."""
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def note(self, method: str, error: StoreError) -> None:
        """Log a failure of the storage, with its cause; pass over what is the caller's own affair."""
        if not isinstance(error, StorageFullError | StorageUnavailableError | StorageDamagedError):
            return
        now, sentence = self._clock(), str(error)
        if now - self._logged_at.get(sentence, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        if len(self._logged_at) >= _SENTENCES_MAX:
            self._logged_at.clear()
        self._logged_at[sentence] = now
        cause = None if error.__cause__ is None else repr(error.__cause__)
        _log.error("storage_failed", code=error.word, method=method, reason=sentence, cause=cause, hint=error.hint)
