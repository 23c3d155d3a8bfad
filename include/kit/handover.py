"""Tells who asks for it when the bytes of a request have been handed to the network.

A shard of a batch task keeps a stop waiting until what it claimed has left (`include/batch/departures.py`).
What it runs reaches the network through many layers, none of which needs to know of this.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

#: Called after the first bytes of each request that is made in this context.
on_handover: ContextVar[Callable[[], None] | None] = ContextVar("on_handover", default=None)


def handed_over() -> None:
    """The bytes of a request are the network's now."""
    told = on_handover.get()
    if told is not None:
        told()
