"""The time zones there are."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones


@cache
def known_zones() -> frozenset[str]:
    """Return the names of the IANA time zones; they are looked for on the disk once."""
    return frozenset(available_timezones())
