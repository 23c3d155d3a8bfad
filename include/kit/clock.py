"""The clock, passed in wherever time matters so that tests can hold it still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

#: Returns the present moment as an aware datetime in UTC.
Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the machine's present moment in UTC."""
    return datetime.now(UTC)
