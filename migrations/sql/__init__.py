"""Statements for the legacy databases, in the form that `store.sql` describes.

A word in braces stands for names of columns, which differ from one build of AgentMux to the next.
"""

from __future__ import annotations

import store.sql


def load(file_name: str) -> dict[str, str]:
    """Read the statements of one file, by name."""
    return store.sql.load(file_name, __name__)
