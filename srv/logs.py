"""Logs: structured, on standard error, one form for our own events and for what libraries say through `logging`.

No event carries a token or what a session holds. Control characters are escaped, so that nobody who is quoted in a log can
forge a line or drive a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rpc.trace import TRACE
from srv.escapes import escaped, escaped_but_layout

HIDDEN_CHARACTERS_MIN: Final = 8
"""A shorter token, which only a parent can have set, would hide half of every line."""


def configure_logs(form: Literal["console", "json"] | None, level: str) -> None:
    """Send everything that is logged from now on to standard error.

    Args:
        form: console or json; None takes console where standard error is a terminal.
        level: the lowest level that is logged, such as "info".
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    form = form or ("console" if is_terminal else "json")
    shared: list[Processor] = [
        add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            # Never with the values of variables, which hold tokens and contents.
            structlog.processors.format_exc_info,
            escape_control_characters,
            _renderer(form, colours=is_terminal),
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # A parent that closed our standard error must not be told so on standard error.
    # At debug level asyncio says little of use, once per selector.
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def hide_in_logs(secrets: Iterable[str]) -> None:
    """Write `[hidden]` for these texts from now on, wherever they stand: a caller may put its token where none belongs."""
    hidden = [form for secret in secrets if len(secret) >= HIDDEN_CHARACTERS_MIN for form in _forms_of(secret)]
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Hiding(handler.formatter or logging.Formatter(), hidden))


def _forms_of(secret: str) -> set[str]:
    """Return a text as it stands in a line of the log: as it is, or within JSON."""
    return {secret, json.dumps(secret)[1:-1]}


class _Hiding(logging.Formatter):
    """Formats as another does, and hides some texts in what comes out."""

    def __init__(self, formatter: logging.Formatter, hidden: Sequence[str]) -> None:
        super().__init__()
        self._formatter = formatter
        self._hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        line = self._formatter.format(record)
        for text in self._hidden:
            line = line.replace(text, "[hidden]")
        return line


def add_request_id(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Say of an event on whose account it happened, where it was a request's."""
    request_id = TRACE.get().request_id
    if request_id is not None:
        event["request_id"] = request_id
    return event


def escape_control_characters(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Escape control and direction characters in all texts of an event; a stack trace keeps its line ends."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = escaped_but_layout(value) if key in {"exception", "stack"} else escaped(value)
    return event


def _renderer(form: str, *, colours: bool) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(default=repr)
    return structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
