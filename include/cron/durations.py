"""Durations as Go writes them (`1h30m`, `1.5h`, `90s`), for `@every`.

Source: Go's `time.ParseDuration`, which robfig/cron uses; it cuts the result to whole seconds.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from include.cron.fields import shortened
from include.errors import CronExpressionError

MAX_SECONDS: Final = 366 * 86_400

_UNITS: Final = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),  # U+00B5, micro sign
    "μs": Fraction(1, 10**6),  # U+03BC, Greek letter; Go reads both
    "ns": Fraction(1, 10**9),
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str, *, field: str) -> int:
    """Return the whole seconds of a Go duration, from 1 second to 366 days.

    Raises CronExpressionError, carrying `field`, for anything else.
    """
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise CronExpressionError(
            f"{shortened(text)} is not a duration such as 90s, 1h30m or 1.5h", field=field
        )
    seconds = int(
        sum(
            Fraction(number.strip(".") if number[-1] == "." else number) * _UNITS[unit]
            for number, unit in _PART.findall(text)
        )
    )
    if seconds < 1:
        raise CronExpressionError(f"{shortened(text)} is shorter than 1 second", field=field)
    if seconds > MAX_SECONDS:
        raise CronExpressionError(f"{shortened(text)} is longer than 366 days", field=field)
    return seconds


def format_duration(seconds: int) -> str:
    """Return the shortest text of whole seconds in hours, minutes and seconds, such as `1h30m`."""
    return "".join(f"{amount}{unit[0]}" for amount, unit in duration_parts(seconds))


def duration_parts(seconds: int) -> list[tuple[int, str]]:
    """Return the parts of a duration that are not zero, such as `[(1, "hour"), (30, "minute")]`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "hour"), (minutes, "minute"), (rest, "second")]
    return [(amount, unit) for amount, unit in parts if amount]
