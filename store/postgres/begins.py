"""How transactions begin: with all that is said about them, for them alone.

Behind a pooler in transaction mode nothing that is said to a connection outlives the commit. Said with the BEGIN it costs five
microseconds.
"""

from __future__ import annotations

from store.postgres.durability import CHOICE_OF
from store.terms import Terms


class Begins:
    """The texts, on some terms.

    A statement that is stuck ends on the server. A wait for another daemon's lock ends in half of that time, and in a third a
    transaction whose daemon has gone without a word: so who waits outlasts who is gone.

    Attributes:
        reading: begins a transaction that sees one state of the database.
        writing: begins one that changes something.
        choosing: the same, and its commit means enough, as far as that is its own choice.
        choose: makes it mean so while it is open.
    """

    def __init__(self, terms: Terms) -> None:
        """Write them."""
        statement_ms = terms.statement_seconds_max * 1_000
        bounds = (
            f"SET LOCAL statement_timeout = {statement_ms};"
            f" SET LOCAL idle_in_transaction_session_timeout = {statement_ms // 3}"
        )
        self.reading = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {bounds}"
        # Where a database has another isolation by default, who has waited for a lock would see what was before that.
        # A commit that did not wait for a standby says so in a warning, which a role may have turned off.
        self.writing = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED; {bounds}; SET LOCAL lock_timeout = {statement_ms // 2};"
            " SET LOCAL client_min_messages = warning"
        )
        self.choose = f"SET LOCAL synchronous_commit = {CHOICE_OF[terms.durability]}"
        self.choosing = f"{self.writing}; {self.choose}"
