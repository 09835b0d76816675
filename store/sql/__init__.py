"""The engines' statements, in `.sql` files: each under a name and a sentence.

A file is a run of blocks; each begins with a line `-- name: <name>`, followed by a comment that says what it is for.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


def load(file_name: str, package: str = __name__) -> dict[str, str]:
    """Read the statements of one file of a package, by name."""
    text = files(package).joinpath(file_name).read_text(encoding="utf-8")
    pieces = _NAME.split(text)
    return dict(zip(pieces[1::2], (_without_comments(piece) for piece in pieces[2::2]), strict=True))


def _without_comments(piece: str) -> str:
    return "\n".join(line for line in piece.splitlines() if not line.startswith("--")).strip().removesuffix(";")
