"""The server that tests ask, and the one that they bring with them for machines that have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cluster import Cluster, brought_programs
from store.engine import AppendOutput
from store.postgres import open_postgres
from store.zones import agent_current_zone
from tests.conftest import BEGINNING_MS
from tests.postgres.server import DATABASES
from tests.postgres.test_two_daemons import output_of

AGENT = agent_current_zone("maks")


async def test_a_machine_without_postgresql_has_a_server_after_make_setup() -> None:
    """It starts, as root through another user, and a store can be kept on it, whatever version is installed besides."""
    programs = brought_programs()
    if programs is None:
        pytest.skip("no server is made for this machine")
    cluster = Cluster(programs=programs)
    try:
        engine = await open_postgres(cluster.url)
        await engine.apply([AppendOutput(AGENT, b"a line\n", BEGINNING_MS)])
        assert await output_of(engine, AGENT) == ["a line"]
        assert str(engine.figures()["postgresql_version"]) >= "18"
        await engine.close()
    finally:
        cluster.remove()


async def test_a_database_in_which_no_store_was_opened_serves_the_next_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing in it that could be emptied."""
    monkeypatch.setattr(DATABASES, "free", [])
    url = await DATABASES.url_of(tmp_path)
    DATABASES.release(tmp_path)
    assert await DATABASES.url_of(tmp_path) == url
    DATABASES.release(tmp_path)
