"""An agent of a daemon whose disk fails: what it was told, and whether that is what is there."""

from __future__ import annotations

from typing import Any

from tests.faults.power_check import NOTHING, State
from tests.faults.power_load import Client, History
from tests.faults.shim_daemon import ShimDaemon


class Watched:
    """An agent whose every answer is believed: what was acknowledged is kept in mind, and what was refused is not there.

    Attributes:
        history: what was acknowledged.
    """

    def __init__(self, daemon: ShimDaemon, agent: str) -> None:
        self._client = Client(daemon, agent)
        self.history = History([NOTHING])

    @property
    def state(self) -> State:
        """What was acknowledged so far."""
        return self.history.states[-1]

    def change(self, verb: str, **params: Any) -> None:
        """Make a change that must be taken."""
        self.history.add(self._client.change(verb, **params))

    def refused(self, verb: str, **params: Any) -> str:
        """Make a change that must be refused, and for now only; returns the word."""
        error = self.failed(verb, **params)
        assert error["data"]["retry"] is True
        return str(error["data"]["code"])

    def failed(self, verb: str, **params: Any) -> dict[str, Any]:
        """Call a verb that must not be answered; returns the error."""
        error: dict[str, Any] = self._client.answer(verb, **params)["error"]
        return error

    def may_be_refused(self, verb: str, **params: Any) -> bool:
        """Call a verb that may be refused because pages cannot be read; returns whether it was answered all the same."""
        answer = self._client.answer(verb, **params)
        if "result" not in answer:
            assert (answer["error"]["data"]["code"], answer["error"]["data"]["retry"]) == ("STORAGE_UNAVAILABLE", True)
        elif verb == "mount":
            self._check(answer["result"])
        return "result" in answer

    def size_bytes(self) -> int:
        """Return the size of the current output."""
        return next((len(each.output or b"") for each in self.state if each.archived_at_ms is None), 0)

    def check_seen(self) -> None:
        """Check that a reader sees what was acknowledged, and nothing else."""
        self._check(self._client.answer("mount", max_bytes=8 << 20)["result"])

    def _check(self, seen: dict[str, Any]) -> None:
        current = next((each for each in self.state if each.archived_at_ms is None), None)
        output = (current and current.output) or b""
        assert "".join(line + "\n" for line in seen["output"]["lines"]).encode() == output
        content = seen["snapshot"] and seen["snapshot"]["content"].encode()
        assert content == (current and current.snapshot)
