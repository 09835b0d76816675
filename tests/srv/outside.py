"""What tests need beyond Python: where it is missing they are skipped, but not where everything must be tested."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(program: str) -> None:
    """Go on where a program is installed. Else skip the test, and fail it in CI, which installs what it needs (.ci/run)."""
    if shutil.which(program) is None:
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop(f"{program} is not installed")
