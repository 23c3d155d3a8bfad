"""Which instants of a window a billing task is billed at. Pure: no clock, no database."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Split:
    """A task's instants of a window.

    :ivar listed: those that are billed singly, the oldest first
    :ivar older: how many come before them
    :ivar latest_older: the last of those
    """

    listed: Sequence[datetime]
    older: int = 0
    latest_older: datetime | None = None


def split(instants: Sequence[datetime], active_since: datetime, most: int) -> Split:
    """Return the last `most` of the instants after `active_since`, and what comes before them.

    :param instants: of the whole window, in order
    """
    first = bisect_right(instants, active_since)
    begin = max(first, len(instants) - most)
    if begin == first:
        return Split(instants[first:])
    return Split(instants[begin:], begin - first, instants[begin - 1])
