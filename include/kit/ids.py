"""Ids as the device platform writes them: 24 hexadecimal digits that sort by creation."""

from __future__ import annotations

import secrets
from datetime import datetime

#: Nothing of that form comes behind it: where a list begins that shows the newest first.
LAST_ID = "f" * 24


def draw_id(now: datetime) -> str:
    """Return a new id: seconds and microseconds of `now` (aware), the rest by chance."""
    seconds = int(now.timestamp())
    return f"{seconds:08x}{now.microsecond:05x}{secrets.randbits(44):011x}"
