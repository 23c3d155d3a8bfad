"""Whether time-of-use windows cover every minute of every day exactly once: pure.

A day belongs to a season and is a weekday or a holiday; both kinds of day are looked at for each day of a
leap year, so that 29 February and the turn of the year are days like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import groupby, pairwise

from include.billing.model import TouWindow

DAY_TYPES = ("weekday", "holiday")
MINUTES = 1440
_LEAP_YEAR = 2024

Span = tuple[int, int]


def month_day(text: str) -> int:
    """Return month x 100 + day of `MM-DD`. Raises ValueError."""
    try:
        day = date.fromisoformat(f"{_LEAP_YEAR}-{text}")
    except ValueError:
        raise ValueError("must be a day as MM-DD, such as 07-01") from None
    return day.month * 100 + day.day


def write_month_day(number: int) -> str:
    return f"{number // 100:02}-{number % 100:02}"


def minute_of_day(text: str) -> int:
    """Return the minute of `HH:MM`, 24:00 included. Raises ValueError."""
    hour, colon, minute = text.partition(":")
    if len(text) == 5 and colon and (hour + minute).isdecimal() and (hour + minute).isascii():
        found = int(hour) * 60 + int(minute)
        if int(minute) < 60 and found <= MINUTES:
            return found
    raise ValueError("must be a time as HH:MM, from 00:00 to 24:00")


def write_minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def in_season(window: TouWindow, day: int) -> bool:
    """Return whether a day (month x 100 + day) is in a window's season, which may run over the new year."""
    first, last = window.season_from, window.season_to
    return first <= day <= last if first <= last else day >= first or day <= last


def window_problems(windows: Sequence[TouWindow]) -> Iterator[str]:
    """Yield what is missing or double, as `from 07-01 to 09-30, weekday: 08:00-09:00 is in no window`."""
    days = [_day(number) for number in range(366)]
    for day_type in DAY_TYPES:
        found = {day: _faults(tuple(w for w in windows if _holds(w, day, day_type))) for day in days}
        for faults, run in groupby(days, found.__getitem__):
            stretch = list(run)
            for fault in faults:
                yield f"{_stretch(stretch)}, {day_type}: {fault}"


def _day(number: int) -> int:
    day = date(_LEAP_YEAR, 1, 1) + timedelta(days=number)
    return day.month * 100 + day.day


def _holds(window: TouWindow, day: int, day_type: str) -> bool:
    return window.day_type in ("any", day_type) and in_season(window, day)


@lru_cache(maxsize=64)
def _faults(windows: tuple[TouWindow, ...]) -> tuple[str, ...]:
    """Return what is wrong with the windows of one day."""
    spans = [(window.start_minute, window.end_minute) for window in windows]
    edges = sorted({0, MINUTES, *(edge for span in spans for edge in span)})
    counts = [
        ((start, end), sum(first <= start and end <= last for first, last in spans))
        for start, end in pairwise(edges)
    ]
    return tuple(
        f"{write_minute(first)}-{write_minute(last)} is in {_how_many(count)}"
        for count, (first, last) in _joined(counts)
        if count != 1
    )


def _joined(counts: Sequence[tuple[Span, int]]) -> Iterator[tuple[int, Span]]:
    for count, run in groupby(counts, lambda item: item[1]):
        spans = [span for span, _ in run]
        yield count, (spans[0][0], spans[-1][1])


def _how_many(count: int) -> str:
    return f"{count} windows" if count else "no window"


def _stretch(days: Sequence[int]) -> str:
    if len(days) == 1:
        return f"on {write_month_day(days[0])}"
    return f"from {write_month_day(days[0])} to {write_month_day(days[-1])}"
