"""The JavaScript client in Node, against a real daemon."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpc.contract import METHODS
from tests.node import programs
from tests.rpc.conftest import Schema
from tests.srv.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Run a daemon on an empty store."""
    with Daemon.start(tmp_path / "data") as running:
        yield running


def test_a_typed_program_calls_every_method(daemon: Daemon) -> None:
    """`life.ts`, whose types are checked elsewhere, gets of each method of the table a result that fits its schema."""
    results = json.loads(programs.run("life.ts", DAEMON_URL=daemon.url, DAEMON_TOKEN=daemon.token))
    assert results.keys() == {row.name for row in METHODS}
    for row in METHODS:
        Schema(row.result).check(results[row.name])


def test_the_client_keeps_what_it_promises(daemon: Daemon) -> None:
    """Every sentence of `client.test.js` is true."""
    file = programs.HERE / "client.test.js"
    sentences = re.findall(r'^test\("', file.read_text(encoding="utf-8"), re.MULTILINE)
    options = ("--test", "--test-reporter=tap", "--test-timeout=20000")
    report = programs.run(*options, file, DAEMON_URL=daemon.url, DAEMON_TOKEN=daemon.token)
    assert re.findall(r"^# pass (\d+)$", report, re.MULTILINE) == [str(len(sentences))]
