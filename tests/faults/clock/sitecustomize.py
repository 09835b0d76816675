"""Python reads this module at its start where its directory is on PYTHONPATH: the process then has the clock of a file.

The file `TEST_CLOCK` names holds the time in unix milliseconds; it is read anew whenever the process asks for the time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_FILE = Path(os.environ["TEST_CLOCK"])


def _time_ns() -> int:
    return int(_FILE.read_text(encoding="ascii")) * 1_000_000


def _time() -> float:
    return _time_ns() / 1_000_000_000


time.time_ns = _time_ns
time.time = _time
