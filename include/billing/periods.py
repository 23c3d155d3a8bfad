"""How long a period is: in months, in periods of a crontab, in local days, in parts of itself.

Pure. Moments are aware; months and days are those of the local calendar, parts are of real time.
Source: docs/billing.md, Periods.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

from include.billing.exact import exact, micros, six, ten
from include.billing.model import ZERO, Period
from include.cron import CronSchedule
from include.errors import CronExpressionError

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_DAY_MICROS: Final = micros(_DAY)
# An instant of any crontab that fires at all lies within this; see `include.cron.schedule`.
_PATIENCE: Final = timedelta(days=50 * 366)

#: Above so many instants they are counted by days, so that a crontab of seconds over years is no burden.
COUNTED_SINGLY: Final = 10_000


@exact
def months_between(start: datetime, end: datetime, zone: ZoneInfo) -> Decimal:
    """Return the length of `[start, end)` in months of the local calendar, 10 decimals."""
    first, last = local_time(start, zone), local_time(end, zone)
    whole = (last.year - first.year) * 12 + last.month - first.month
    if last == _months_later(first, whole) or first == _months_later(last, -whole):
        return ten(Decimal(whole))
    if _months_later(first, whole) > last:
        whole -= 1
    begun = _months_later(first, whole)
    rest = Decimal(micros(last - begun)) / micros(_months_later(first, whole + 1) - begun)
    # Negative only where a clock set back makes the end earlier by the clock than the beginning.
    return max(ZERO, ten(whole + rest))


@exact
def coverage(
    start: datetime, end: datetime, cron: CronSchedule, midnights: ZoneInfo | None = None
) -> Decimal:
    """Return how many periods of a crontab fit into `[start, end)`, 10 decimals.

    The cost does not grow with the number of instants, only with the number of days.

    :param midnights: the zone of a project with `cut=midnight`: the midnights before the instants count
    :raises CronExpressionError: the crontab never fires
    """
    if end <= start:
        return ten(ZERO)
    before = _edge_at_or_before(start, cron, midnights)
    first = _edge_after(start, cron, midnights)
    if first >= end:
        return ten(_share(end - start, first - before))
    last = _edge_at_or_before(end, cron, midnights)
    after = _edge_after(last, cron, midnights)
    whole = _count(first, last, cron, midnights)
    return ten(_share(first - start, first - before) + whole + _share(end - last, after - last))


@exact
def part(value: Decimal, start: datetime, end: datetime, period: Period) -> Decimal:
    """Return what of a value of the period falls to `[start, end)` by real time, 10 decimals."""
    if start == period.start and end == period.end:
        return ten(value)
    return ten(value * micros(end - start) / micros(period.end - period.start))


@exact
def local_days(start: datetime, end: datetime, zone: ZoneInfo) -> Decimal:
    """Return the days from `start` to `end` by the local clock, 6 decimals."""
    return six(Decimal(micros(local_time(end, zone) - local_time(start, zone))) / _DAY_MICROS)


def local_time(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the naive wall clock time of a moment."""
    return moment.astimezone(zone).replace(tzinfo=None)


def midnight(moment: datetime, zone: ZoneInfo, days: int = 0) -> datetime:
    """Return the local midnight (UTC) with which the day of a moment begins, or that of a later day."""
    return _at(moment.astimezone(zone), zone, days)


def year_start(moment: datetime, zone: ZoneInfo, years: int = 0) -> datetime:
    """Return 1 January 00:00 (UTC) of the local year of a moment, or of a later year."""
    year = moment.astimezone(zone).year + years
    return datetime(year, 1, 1, tzinfo=zone).astimezone(UTC)


def period_end(instant: datetime, zone: ZoneInfo, cut: Literal["instant", "midnight"]) -> datetime:
    """Return where the bills of an instant of the crontab end."""
    return midnight(instant, zone) if cut == "midnight" else instant


def _at(local: datetime, zone: ZoneInfo, days: int) -> datetime:
    return datetime.combine(local.date() + days * _DAY, time(), zone).astimezone(UTC)


def _months_later(moment: datetime, months: int) -> datetime:
    """Return a naive moment so many months later, on the last day of a month that is too short."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


def _share(covered: timedelta, length: timedelta) -> Decimal:
    return Decimal(micros(covered)) / micros(length)


def _edge_at_or_before(moment: datetime, cron: CronSchedule, midnights: ZoneInfo | None) -> datetime:
    latest = moment if midnights is None else midnight(moment, midnights, 1) - _SECOND
    found = cron.last_at_or_before(latest, moment - _PATIENCE)
    if found is None:
        raise CronExpressionError(f"{cron.expression} in {cron.zone} never fires before {moment.isoformat()}")
    return found if midnights is None else midnight(found, midnights)


def _edge_after(moment: datetime, cron: CronSchedule, midnights: ZoneInfo | None) -> datetime:
    if midnights is None:
        return cron.next_after(moment)
    return midnight(cron.next_after(midnight(moment, midnights, 1) - _SECOND), midnights)


def _count(first: datetime, last: datetime, cron: CronSchedule, midnights: ZoneInfo | None) -> int:
    """Count the edges in `(first, last]`; both are edges."""
    if midnights is not None:
        edge, count = first, 0
        while edge < last:
            edge, count = _edge_after(edge, cron, midnights), count + 1
        return count
    if cron.is_interval:
        return (last - first) // (cron.next_after(first) - first)
    few = cron.between(first, last, limit=COUNTED_SINGLY + 1)
    return len(few) if len(few) <= COUNTED_SINGLY else _count_by_days(first, last, cron)


def _count_by_days(first: datetime, last: datetime, cron: CronSchedule) -> int:
    """Count the instants in `(first, last]`: all days of 24 hours that are due at all have equally many."""
    zone = ZoneInfo(cron.zone)
    begin, end = midnight(first, zone, 1), midnight(last, zone)
    if begin >= end:
        return len(cron.between(first, last))
    due = CronSchedule(f"0 0 0 {cron.expression.split(' ', 3)[3]}", cron.zone)
    count = len(cron.between(first, begin - _SECOND)) + len(cron.between(end - _SECOND, last))
    usual = 0
    for day in due.between(begin - _SECOND, end - _SECOND):
        after = midnight(day, zone, 1)
        if after - day != _DAY or not usual:
            found = len(cron.between(day - _SECOND, after - _SECOND))
            usual = found if after - day == _DAY else usual
            count += found
        else:
            count += usual
    return count
