"""The door as a real browser meets it: what pages of other origins can do to the daemon, and those of an allowed one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.srv.daemon import Daemon
from tests.srv.outside import needs
from tests.system.browser import rebound, report, site

SECRET: Final = "what only the owner may read"
STRANGERS: Final = ("foreign", "sandboxed", "rebound")
FETCHES: Final = ("token", "no_token", "plain", "plain_with_token", "no_cors", "put", "alive", "read", "read_no_cors")
"""The attempts of `pages/place.html` that tell what was answered."""


@dataclass(frozen=True)
class Visit:
    """What is left of a visit.

    Attributes:
        outcomes: of every attempt of the page of each place, in its own words.
        agents: the agents that have a session afterwards.
        log: what the daemon has logged.
    """

    outcomes: dict[str, dict[str, str]]
    agents: set[str]
    log: str


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Let a browser open the same page as an allowed origin, as another one, in a sandboxed frame, and under a rebound name.

    Each tries the same and knows the token, so that what the allowed one can do, the others are kept from by the daemon.
    """
    needs("chromium")
    folder = tmp_path_factory.mktemp("browser")
    with site() as ours:
        allowed = f"http://localhost:{ours.port}"
        with Daemon.start(folder / "data", "--allow-origin", allowed) as daemon, rebound(daemon.port) as rebound_port:
            daemon.call("agent:session:append_output", definition_id="secret", line=SECRET)
            facts = {"daemon": daemon.url, "token": daemon.token}
            evil = f"http://evil.example:{daemon.port}"
            places = {
                "allowed": {"page": f"{allowed}/place.html", **facts},
                "foreign": {"page": f"http://127.0.0.1:{ours.port}/place.html", **facts},
                "sandboxed": {"page": f"{allowed}/place.html", "sandbox": "allow-scripts allow-forms", **facts},
                "rebound": {"page": f"{evil}/place.html", **facts, "daemon": evil},
            }
            rules = f"MAP evil.example 127.0.0.1:{rebound_port}"
            outcomes = report(ours, folder / "profile", places, rules)
            agents = {agent["definition_id"] for agent in daemon.call("agent:session:list_agents")["agents"]}
        yield Visit(outcomes, agents, daemon.log())


@pytest.mark.parametrize("place", STRANGERS)
def test_pages_of_strangers_read_nothing(visit: Visit, place: str) -> None:
    """No request of theirs is let in, so that even what they may look at is a refusal, and no element loads what is stored."""
    outcomes = visit.outcomes[place]
    assert not any(SECRET in outcome for outcome in outcomes.values())
    fetched = [outcomes[name] for name in FETCHES]
    assert all(outcome.startswith(("TypeError", "basic 403 ")) for outcome in fetched), fetched
    assert {outcomes[name] for name in ("image", "script", "socket")} == {"failed"}


def test_pages_of_strangers_change_nothing(visit: Visit) -> None:
    """Calls, forms, beacons and uploads: what was sent to agents of their own has not arrived there."""
    assert visit.agents == {"secret", "allowed-token", "allowed-put"}


def test_the_attempts_of_strangers_have_arrived(visit: Visit) -> None:
    """It is the daemon that refused them, not the browser: nearly all of four pages' attempts, more than three could make."""
    events = [json.loads(line) for line in visit.log.splitlines()]
    told = sum(event["event"] == "caller_refused" for event in events)
    left_out = sum(event["lines"] for event in events if event["event"] == "lines_left_out")
    attempts = len(visit.outcomes["foreign"])
    assert 3 * attempts < told + left_out + len(visit.agents) <= 4 * attempts + 1


def test_a_page_of_an_allowed_origin_reads_and_writes_with_the_token(visit: Visit) -> None:
    """Preflights included: the browser asks before each, since a token is in its head."""
    outcomes = visit.outcomes["allowed"]
    assert outcomes["token"].startswith('cors 200 {"jsonrpc":"2.0","result":')
    assert outcomes["put"].startswith('cors 200 {"bytes_written": 2')
    assert outcomes["read"] == f"cors 200 {SECRET}\n"
    assert outcomes["alive"].startswith("cors 200 ")


def test_a_page_of_an_allowed_origin_can_do_nothing_without_the_token(visit: Visit) -> None:
    """Nor with a request that browsers send without asking; but it may read why."""
    outcomes = visit.outcomes["allowed"]
    assert outcomes["no_token"].startswith("cors 401 ")
    assert outcomes["plain"].startswith("cors 401 ")
    assert outcomes["plain_with_token"].startswith("cors 415 ")
    assert {outcomes[name] for name in ("image", "script")} == {"failed"}
