"""What a store holds, by agent, in a form that can be compared: has anything changed, and whose?"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Final

from tests.store.foreign import looking

_ZONES: Final = """SELECT definition_id, id, zone, archived_at_ms, session_id, created_at_ms, covers_line, origin
                   FROM zones ORDER BY id"""
"""All but previews, which are worked out in the background whenever there is time."""

_PARTS: Final = """SELECT zones.definition_id, file_parts.* FROM file_parts JOIN zones ON zones.id = file_parts.zone_id
                   ORDER BY zone_id, name, start_byte"""


def digest(path: Path) -> dict[str, str]:
    """Return a digest of every row of each agent, by definition id, as another program sees the store's file."""
    found: defaultdict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
    with looking(path) as connection:
        connection.execute("BEGIN")
        for question in (_ZONES, _PARTS):
            for definition_id, *row in connection.execute(question):
                found[definition_id].update(repr(row).encode())
    return {definition_id: each.hexdigest() for definition_id, each in found.items()}
