"""Snapshots kept by the writing side: a write compared with them stores what one compared with the disk does."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import limits
from store.kept import KeptSnapshots
from store.limits import PART_BYTES
from store.parts import Part, cut_again, cut_opaque
from store.sqlite.handle import SqliteHandle


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptSnapshots]:
    """Keep snapshots beside a database."""
    with closing(sqlite3.connect(tmp_path / "some.db", isolation_level=None)) as connection:
        yield KeptSnapshots(SqliteHandle(connection))


def parts_of(size_bytes: int) -> list[Part]:
    """Make the parts of a snapshot of that size."""
    return list(cut_opaque([b"x" * size_bytes]))


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=6), st.lists(st.sampled_from([b"a", b"b"]), max_size=6))
def test_a_snapshot_is_cut_as_ever_and_what_it_shares_is_the_same_object(old: list[bytes], new: list[bytes]) -> None:
    """The parts are those of `cut_opaque`; one that the old snapshot has in its place is not summed up again."""
    size = PART_BYTES // 2
    before = list(cut_opaque([b"".join(piece * size for piece in old)]))
    content = b"".join(piece * size for piece in new)
    found = cut_again(content, before)
    assert found == list(cut_opaque([content]))
    assert all(part.crc32 == zlib.crc32(part.data) for part in found)
    for part, earlier in zip(found, before, strict=False):
        assert (part is earlier) == (part == earlier)


def test_what_is_kept_is_bounded(kept: KeptSnapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest unused goes first, and one larger than the bound is not kept at all."""
    monkeypatch.setattr("store.kept.KEPT_SNAPSHOT_BYTES_MAX", 1_000)
    kept.of(0, 1)
    for zone_id in range(4):
        kept.keep(zone_id, parts_of(300), 1)
        assert kept.of(0, 1)
    assert [zone_id for zone_id in range(4) if kept.of(zone_id, 1)] == [0, 2, 3]
    kept.keep(9, parts_of(1_001), 1)
    assert kept.of(9, 1) is None
    assert limits.Limits().snapshot_bytes_max <= limits.KEPT_SNAPSHOT_BYTES_MAX


def test_nothing_is_kept_where_another_program_has_written(kept: KeptSnapshots, tmp_path: Path) -> None:
    """What is stored may be other than what we have stored then."""
    assert kept.of(1, 1) is None
    kept.keep(1, parts_of(10), 1)
    assert kept.of(1, 1) == tuple(parts_of(10))
    with closing(sqlite3.connect(tmp_path / "some.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
    assert kept.of(1, 1) is None
