"""What a register's counter stood at: read, between two readings, or estimated.

Pure. Source: docs/billing.md, Quantities.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from include.billing.exact import exact, micros, six
from include.billing.model import Method, Reading

_DAY: Final = timedelta(days=1)
_DAY_MICROS: Final = micros(_DAY)
_YEAR: Final = timedelta(days=365)
_AVERAGED: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Profile:
    """The usage that a counter is assumed to have when it has no history: `daily` / `divisor` a day.

    :ivar daily: of the service point's usage class
    :ivar divisor: the register's multiplier times the number of registers that are measured
    """

    daily: Decimal
    divisor: Decimal


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter at a moment.

    :ivar reading_id: the last reading at or before the moment
    """

    total: Decimal
    method: Method
    reading_id: int


@exact
def counter_at(
    readings: Sequence[Reading], moment: datetime, tolerance: timedelta, profile: Profile | None
) -> Counter | None:
    """Return the counter at a moment by the best method there is, None when there is none.

    :param readings: ordered by (read_at, id)
    """
    after = _after(readings, moment)
    if after == 0:
        return None
    last = readings[after - 1]
    if last.read_at >= moment - tolerance:
        return Counter(last.total, "exact_read", last.id)
    if after < len(readings):
        following = _of_its_moment(readings, after)
        near = following.read_at - last.read_at <= _DAY
        return Counter(_between(last, following, moment), "interval" if near else "day_weighted", last.id)
    estimate = _estimate(readings, last, moment, profile)
    if estimate is None:
        return None
    usage, method = estimate
    return Counter(last.total + usage, method, last.id)


def readings_within(readings: Sequence[Reading], start: datetime, end: datetime) -> list[Reading]:
    """Return the readings strictly between two moments, one for each moment."""
    inside = {
        reading.read_at: reading for reading in readings[_after(readings, start) : _from(readings, end)]
    }
    return list(inside.values())


def _estimate(
    readings: Sequence[Reading], last: Reading, moment: datetime, profile: Profile | None
) -> tuple[Decimal, Method] | None:
    """Return the usage from the last reading to a moment, 6 decimals, and how it was found."""
    usage = _last_year(readings, last.read_at, moment)
    if usage is not None:
        return usage, "estimated_last_year"
    usage = _average(readings, last, moment)
    if usage is not None:
        return usage, "estimated_average"
    if profile is not None:
        length = micros(moment - last.read_at)
        return six(profile.daily * length / (profile.divisor * _DAY_MICROS)), "estimated_profile"
    return None


def _last_year(readings: Sequence[Reading], start: datetime, end: datetime) -> Decimal | None:
    """Return what was counted in the same span 365 days before, None when the readings do not tell."""
    opening, closing = _known(readings, start - _YEAR), _known(readings, end - _YEAR)
    return None if opening is None or closing is None else closing - opening


def _average(readings: Sequence[Reading], last: Reading, moment: datetime) -> Decimal | None:
    """Return the usage at the pace of the 90 days before the last reading."""
    earliest = _of_its_moment(readings, _from(readings, last.read_at - _AVERAGED))
    known = last.read_at - earliest.read_at
    if known < _DAY:
        return None
    return six((last.total - earliest.total) * micros(moment - last.read_at) / micros(known))


def _known(readings: Sequence[Reading], moment: datetime) -> Decimal | None:
    """Return the counter at a moment that has readings on both sides, 6 decimals."""
    after = _after(readings, moment)
    if after == 0:
        return None
    before = readings[after - 1]
    if before.read_at == moment:
        return before.total
    return _between(before, _of_its_moment(readings, after), moment) if after < len(readings) else None


def _between(before: Reading, after: Reading, moment: datetime) -> Decimal:
    passed, length = micros(moment - before.read_at), micros(after.read_at - before.read_at)
    return six(before.total + (after.total - before.total) * passed / length)


def _after(readings: Sequence[Reading], moment: datetime) -> int:
    """Return the index of the first reading after a moment; the one before it is the last of its moment."""
    return bisect_right(readings, moment, key=lambda reading: reading.read_at)


def _from(readings: Sequence[Reading], moment: datetime) -> int:
    """Return the index of the first reading at or after a moment."""
    return bisect_left(readings, moment, key=lambda reading: reading.read_at)


def _of_its_moment(readings: Sequence[Reading], index: int) -> Reading:
    """Return the reading that counts of those at the moment of this one: the one with the highest id."""
    return readings[_after(readings, readings[index].read_at) - 1]
