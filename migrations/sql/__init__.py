"""Statements for the legacy databases, in `.sql` files: each under a name and a sentence.

A file is a run of blocks; each begins with a line `-- name: <name>`, followed by a comment that says what it is for. A
word in braces stands for names of columns, which differ from one build of AgentMux to the next.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^--.*\n?", re.MULTILINE)


def load(file_name: str) -> dict[str, str]:
    """Read the statements of one file, by name."""
    pieces = _NAME.split(files(__name__).joinpath(file_name).read_text(encoding="utf-8"))
    statements = (_COMMENT.sub("", piece).strip().removesuffix(";") for piece in pieces[2::2])
    return dict(zip(pieces[1::2], statements, strict=True))
