"""The daemon on PostgreSQL, as a process: what it serves, what it shows, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import http
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from bench.cluster import execute
from srv.exits import Exit
from tests.postgres.foreign import Foreign, connected, having_by_default
from tests.srv.daemon import ROOT, Daemon, environment_with, read_response, rpc_body
from tests.test_readme import blocks

ROLE = "sessions"
PASSWORD = "a-password-that-nobody-sees"


def with_password(url: str) -> str:
    """Put a password into a URL; the test server asks for none, and so takes any."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0].partition(":")[0] or "zonekeeper"
    return urlunsplit(parts._replace(netloc=f"{user}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


@contextmanager
def told_with_batches(foreign: Foreign) -> Iterator[str]:
    """Note down what the batches of a block have said of their statements and commits; yields the question for it."""
    foreign.execute(
        "CREATE TABLE told (statement text, commit text);"
        " CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO zonekeeper.told"
        " VALUES (current_setting('statement_timeout'), current_setting('synchronous_commit')); RETURN NEW; END $$;"
        " CREATE TRIGGER tell BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION tell()"
    )
    try:
        yield "SELECT * FROM told"
    finally:
        foreign.execute("DROP FUNCTION tell CASCADE; DROP TABLE told")


def test_two_daemons_serve_the_same_sessions(tmp_path: Path, url: str) -> None:
    """What one has acknowledged the other shows, also after the first was killed; each has a data directory of its own."""
    here = {"ZONEKEEPER_STORE": url}
    with Daemon.start(tmp_path / "b", environment=here) as second:
        with Daemon.start(tmp_path / "a", environment=here) as first:
            written = first.call("agent:session:append_output", definition_id="maks", line="from the first")
            second.call("agent:session:append_output", definition_id="maks", line="from the second")
            first.call("agent:session:append_output", definition_id="maks", line="from the first again")
            assert first.call("srv:status")["store"]["engine"] == "postgresql"
            first.kill()
        page = second.call("agent:session:read_output", definition_id="maks")
        assert '"store": "postgresql:' in second.log()
    assert page["lines"] == ["from the first", "from the second", "from the first again"]
    assert page["session_id"] == written["session_id"]
    assert not (tmp_path / "a" / "db" / "zones.db").exists()


def test_a_daemon_keeps_to_the_terms_it_was_told(tmp_path: Path, url: str) -> None:
    """How many connections it has at most, and what the server is told with every BEGIN."""
    terms = ["--store-connections", "2", "--store-statement-seconds-max", "7", "--durability", "none"]
    question = rpc_body("agent:session:read", definition_id="maks")
    with (
        connected(url) as foreign,
        having_by_default(foreign, synchronous_commit="off"),
        Daemon.start(tmp_path / "data", *terms, environment={"ZONEKEEPER_STORE": url}) as daemon,
    ):
        with told_with_batches(foreign) as told:
            daemon.call("agent:session:append_output", definition_id="maks", line="x")
            assert foreign.rows(told) == [("7s", "off")]
        foreign.execute("BEGIN; LOCK TABLE zones IN ACCESS EXCLUSIVE MODE")
        asking = [daemon.connect() for _ in range(4)]
        for each in asking:
            each.sendall(daemon.head("POST", "/rpc", f"Content-Length: {len(question)}") + question)
        assert daemon.request("GET", "/healthz")[0] == http.HTTPStatus.OK  # it has what was sent before
        foreign.execute("ROLLBACK")
        for each in asking:
            with each:
                assert read_response(each)[0] == http.HTTPStatus.OK
        connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'zonekeeper'"
        assert foreign.value(f"{connections} AND datname = current_database()") == 2


def test_a_password_is_shown_nowhere(tmp_path: Path, url: str) -> None:
    """Neither in the log at its most talkative, nor in the status, nor in the command line."""
    environment = {"ZONEKEEPER_STORE": with_password(url), "ZONEKEEPER_LOG_LEVEL": "debug"}
    with Daemon.start(tmp_path / "data", environment=environment) as daemon:
        daemon.call("agent:session:append_output", definition_id="maks", line="x")
        shown = json.dumps([daemon.said, daemon.call("srv:status")])
        shown += Path(f"/proc/{daemon.process.pid}/cmdline").read_text(encoding="utf-8")
        assert daemon.stop() == Exit.STOPPED
    assert PASSWORD not in shown + daemon.log()


async def test_a_role_with_the_rights_that_the_readme_shows_serves_what_the_owner_has_made(
    tmp_path: Path, url: str
) -> None:
    """`zonekeeper migrate` makes the tables. The daemon's own role makes none, and needs no further right."""
    await execute(url, "DROP SCHEMA IF EXISTS zonekeeper CASCADE", f"DROP ROLE IF EXISTS {ROLE}")
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-m", "srv", "migrate", "--data-dir", str(tmp_path / "data")]
    environment = environment_with({"ZONEKEEPER_STORE": url})
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, check=True)
    (statements,) = blocks("On PostgreSQL", "sql")
    assert ROLE in statements
    await execute(url, statements)
    try:
        environment = {"ZONEKEEPER_STORE": re.sub(r"//[^@/]*@", f"//{ROLE}@", url)}
        with await asyncio.to_thread(Daemon.start, tmp_path / "data", environment=environment) as daemon:
            await asyncio.to_thread(daemon.call, "agent:session:append_output", definition_id="maks", line="x")
            status = await asyncio.to_thread(daemon.call, "srv:status")
            assert status["store"]["durability"]["level"] == "disk"
            assert await asyncio.to_thread(daemon.stop) == Exit.STOPPED
        assert daemon.events("maintenance_failed") == []
    finally:
        await execute(url, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (["--store", f"postgresql://me:{PASSWORD}@localhost/x"], {}, Exit.WRONG_USAGE, "must not hold a password"),
        (
            ["--store", f"postgresql://localhost/x?password={PASSWORD}"],
            {},
            Exit.WRONG_USAGE,
            "must not hold a password",
        ),
        (["--durability", "replica-disk"], {}, Exit.WRONG_USAGE, "needs a database with a standby"),
        (["--store-connections", "1"], {}, Exit.WRONG_USAGE, "one that writes and one that reads"),
        ([], {"ZONEKEEPER_STORE": f"mysql://me:{PASSWORD}@localhost/x"}, Exit.WRONG_USAGE, "must be a URL such as"),
        (
            [],
            {"ZONEKEEPER_STORE": f"postgresql://me:{PASSWORD}@localhost:1/x"},
            Exit.STORE_AWAY,
            "cannot be used at the moment: Connection refused",
        ),
    ],
)
def test_a_start_that_fails_says_why_without_the_password(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], code: Exit, said: str
) -> None:
    """A password in the arguments, where everybody may read it, is refused as such."""
    ended = subprocess.run(
        [sys.executable, "-m", "srv", "serve", "--data-dir", str(tmp_path / "data"), "--port", "0", *arguments],
        cwd=ROOT,
        env=environment_with(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == code
    assert said in ended.stderr
    assert PASSWORD not in ended.stderr + ended.stdout
