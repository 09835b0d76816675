"""`zonekeeper serve`: the daemon itself."""

from __future__ import annotations

import argparse
import os
from typing import Final

import structlog

from srv import app, process
from srv.config import Settings, unknown_variables
from srv.exits import Exit, StartFailedError
from srv.logs import configure_logs

_TOKEN_VARIABLES: Final = ("ZONEKEEPER_TOKEN", "ZONEKEEPER_READ_TOKEN")

_log = structlog.get_logger()


def serve(_options: argparse.Namespace, settings: Settings) -> int:
    """Run the daemon until it is told to stop."""
    # Whoever we start, such as the reader of a large snapshot, must not inherit a token.
    for name in _TOKEN_VARIABLES:
        os.environ.pop(name, None)
    configure_logs(settings.log_format, settings.log_level)
    for name in unknown_variables(app.SETTINGS, os.environ):
        _log.warning("unknown_setting", variable=name)
    try:
        process.run(app.serve(settings))
    except StartFailedError as error:
        _log.error("start_failed", code=int(error.code), reason=str(error))
        return error.code
    except Exception:  # noqa: BLE001 - a fault of ours: told in full, and the process ends
        _log.exception("failed")
        return Exit.FAILED
    return Exit.STOPPED
