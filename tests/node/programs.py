"""Runs programs with the Node of the virtual environment, beside the packages of `package-lock.json`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.srv.daemon import environment_with

HERE: Final = Path(__file__).resolve().parent
NODE: Final = Path(sys.prefix) / "bin" / "node"


def run(*arguments: str | Path, **environment: str) -> str:
    """Run Node with these arguments and variables; returns what it printed, and fails with all it said."""
    command = [NODE, *arguments]
    done = subprocess.run(
        command, cwd=HERE, env=environment_with(environment), check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def evaluate(expression: str) -> Any:
    """Return what an expression is; it may `require` the packages."""
    return json.loads(run("--print", f"JSON.stringify({expression})"))
