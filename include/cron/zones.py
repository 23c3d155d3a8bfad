"""Time zones as spans of constant distance to UTC.

`zoneinfo` tells the distance at an instant but not when it changes. Knowing the spans lets a schedule be
computed on the plain calendar inside each of them, so that clock changes of any size (30 minutes on Lord Howe
Island, a whole day on Samoa) need no case of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from include.cron.fields import shortened
from include.errors import CronExpressionError

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The time from `start` to before `end` (UTC), in which local time is UTC plus `offset`.

    `offset_before` is the distance that held until `start`; the two are equal where a span only begins with a
    calendar year.
    """

    start: datetime
    end: datetime
    offset: timedelta
    offset_before: timedelta


def span_at(zone: str, instant: datetime) -> Span:
    """Return the span that holds a UTC instant."""
    return next(span for span in _spans_of_year(zone, instant.year) if instant < span.end)


def check_zone(zone: str, *, field: str) -> str:
    """Return the name of a known IANA time zone; raises CronExpressionError, carrying `field`, otherwise."""
    if zone not in _known_zones():
        raise CronExpressionError(f"the time zone {shortened(zone)} is not known", field=field)
    return zone


@lru_cache(maxsize=1)
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=4096)
def _spans_of_year(zone: str, year: int) -> tuple[Span, ...]:
    """Return the spans of a calendar year (UTC), in order. No zone changes twice within a day."""
    place = ZoneInfo(zone)
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    edges = [begin]
    for day in range((end - begin).days):
        before, after = begin + day * _DAY, begin + (day + 1) * _DAY
        if after < end and _offset(place, before) != _offset(place, after):
            edges.append(_change_between(place, before, after))
    return tuple(
        Span(start, stop, _offset(place, start), _offset(place, start - _SECOND))
        for start, stop in zip(edges, [*edges[1:], end], strict=True)
    )


def _change_between(place: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first second at which the distance of `after` holds."""
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        if _offset(place, middle) == _offset(place, before):
            before = middle
        else:
            after = middle
    return after


def _offset(place: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(place).utcoffset() or timedelta()
