"""Which Zonekeeper this is."""

from __future__ import annotations

from importlib import metadata
from typing import Final


def _installed() -> str:
    try:
        return metadata.version("zonekeeper")
    except metadata.PackageNotFoundError:  # run from a folder that was only copied
        return "unknown"


VERSION: Final = _installed()
