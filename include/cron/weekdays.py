"""Days of the week as bits: bit n is ISO weekday n + 1, so Monday is 1 and Sunday 64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime

from include.cron.schedule import CronSchedule


def weekday_bit(day: date) -> int:
    """Return the bit of a date's weekday."""
    return 1 << (day.isoweekday() - 1)


def on_weekdays(cron: CronSchedule, instants: Iterable[datetime], weekdays: int | None) -> Iterator[datetime]:
    """Yield those of a schedule's instants that fall on some weekdays, each in the schedule's zone.

    :param weekdays: bits; None lets every instant through
    """
    if weekdays is None:
        return iter(instants)
    return (instant for instant in instants if weekdays & weekday_bit(cron.day_of(instant)))
