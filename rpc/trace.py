"""The trace of the request that is being served, for the transport: `srv` may not know `store`."""

from __future__ import annotations

from store.trace import NOBODY_S, TRACE, Trace, spent_on

__all__ = ["NOBODY_S", "TRACE", "Trace", "spent_on"]
