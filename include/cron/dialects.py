"""The spellings of a schedule that each API document uses, read into a `CronSchedule`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from include.cron.canonical import canonical_fields, canonical_text, union_text
from include.cron.fields import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    FieldSpec,
    FieldValue,
    parse_field,
    shortened,
)
from include.cron.month_end import MonthEnd, clamped
from include.cron.schedule import CronSchedule
from include.cron.zones import check_zone
from include.errors import CronExpressionError

FirstDay = Literal["sunday", "monday"]

#: A mask that names no day: document 001 runs such a timer once.
NO_DAY: Final = "0000000"

#: The keys of document 000's crontab object, all required: a missing minute must not mean every minute.
BILLING_KEYS: Final = (MONTH.key, DAY.key, HOUR.key, MINUTE.key)

#: A billing crontab is due at least once in this time.
BILLING_HORIZON: Final = timedelta(days=400)

_ZONE_PREFIX = re.compile(r"(?:CRON_TZ|TZ)=(\S*)(.*)", re.DOTALL)
# Any date will do: what an expression matches repeats, and nothing here may depend on today.
_REFERENCE = datetime(2024, 1, 1, tzinfo=UTC)


def parse_seconds_first(text: str, *, zone: str, field: str = "start_time") -> CronSchedule:
    """Read an expression of document 003 (`start_time`, "参考golang cron模块").

    Accepted: six fields, seconds first; five fields, seconds first, with any weekday; `@hourly`, `@daily`,
    `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`; `@every` with a Go duration. A prefix
    `CRON_TZ=Zone ` or `TZ=Zone ` overrides `zone`. Raises CronExpressionError, carrying `field`, for a text
    that cannot be read, an unknown zone, and an expression that never fires.
    """
    prefix = _ZONE_PREFIX.fullmatch(text.strip())
    if prefix:
        zone, text = prefix[1], prefix[2]
    return _schedule(canonical_text(text, field=field), zone, field)


def parse_minute_fields(
    *,
    minute: str | int,
    hour: str | int,
    day: str | int,
    month: str | int,
    weekday: str | int = "*",
    zone: str,
    field: str = "crontab",
) -> CronSchedule:
    """Read the crontab object of document 000, each value a text or a number; it is due at second 0.

    Raises CronExpressionError as `parse_seconds_first` does; for a wrong value it carries the sub-field, such
    as `crontab.minute`.
    """
    given = ((MINUTE, minute), (HOUR, hour), (DAY, day), (MONTH, month), (WEEKDAY, weekday))
    values = [parse_field(spec, str(value), field=f"{field}.{spec.key}") for spec, value in given]
    return _schedule(canonical_fields([FieldValue(SECOND, frozenset({0})), *values]), zone, field)


def parse_billing_crontab(
    crontab: Mapping[str, object],
    *,
    zone: str,
    now: datetime,
    month_end: MonthEnd = "clamp",
    field: str = "crontab",
) -> CronSchedule:
    """Read the crontab object of document 000 as a client sent it; it is due at second 0 of any weekday.

    :param now: aware; an expression that is not due within 400 days of it is refused
    :param month_end: what a named 29th, 30th or 31st means in a month without it
    :raises CronExpressionError: carries the key at fault, such as `crontab.minute`, or `crontab`
    """
    for key in crontab:
        if key not in BILLING_KEYS:
            raise CronExpressionError(
                f"is not a key of a crontab: give {', '.join(BILLING_KEYS)}", field=f"{field}.{key}"
            )
    month, day, hour, minute = (
        _billing_value(spec, crontab, f"{field}.{spec.key}") for spec in (MONTH, DAY, HOUR, MINUTE)
    )
    pairs = clamped(day, month) if month_end == "clamp" else [(day, month)]
    second, weekday = FieldValue(SECOND, frozenset({0})), parse_field(WEEKDAY, "*", field=field)
    texts = [canonical_fields([second, minute, hour, days, months, weekday]) for days, months in pairs]
    schedule = _schedule(union_text(texts), zone, field)
    if schedule.next_after(now) > now + BILLING_HORIZON:
        raise CronExpressionError(f"is not due within {BILLING_HORIZON.days} days", field=field)
    return schedule


def parse_time_of_day(
    *,
    hour: str | int,
    minute: str | int,
    mask: str,
    zone: str,
    first_day: FirstDay = "sunday",
    field: str = "timer",
) -> CronSchedule:
    """Read a device timer of document 001: one time of day and the days of the week it is due on.

    `mask` is seven digits, 1 for a day that counts, beginning with `first_day`. `0000000` names no day: the
    schedule is then that of every day, and the caller ends it after the first instant. Raises
    CronExpressionError carrying `timer.hour`, `timer.minute` or `timer.mask`.
    """
    values = [
        FieldValue(SECOND, frozenset({0})),
        _one_number(MINUTE, minute, f"{field}.{MINUTE.key}"),
        _one_number(HOUR, hour, f"{field}.{HOUR.key}"),
        parse_field(DAY, "*", field=field),
        parse_field(MONTH, "*", field=field),
        FieldValue(WEEKDAY, _weekdays(mask, first_day, f"{field}.mask") or frozenset(range(7))),
    ]
    return _schedule(canonical_fields(values), zone, field)


def matches_mask(day: date, mask: str, first_day: FirstDay) -> bool:
    """Return whether a week mask names the weekday of a date; `0000000` names none.

    Raises CronExpressionError carrying `mask` for anything but seven digits 0 or 1.
    """
    return day.isoweekday() % 7 in _weekdays(mask, first_day, "mask")


def weekdays_of_mask(mask: str, first_day: FirstDay, *, field: str = "mask") -> int:
    """Return the days that a week mask names as bits (`include.cron.weekdays`); `0000000` is 0.

    Raises CronExpressionError carrying `field` for anything but seven digits 0 or 1.
    """
    return sum(1 << (day - 1) % 7 for day in _weekdays(mask, first_day, field))


def _schedule(expression: str, zone: str, field: str) -> CronSchedule:
    schedule = CronSchedule(expression, check_zone(zone, field=field))
    if next(schedule.iter_after(_REFERENCE), None) is None:
        raise CronExpressionError(f"{expression!r} never fires: there is no such date", field=field)
    return schedule


def _billing_value(spec: FieldSpec, crontab: Mapping[str, object], field: str) -> FieldValue:
    if spec.key not in crontab:
        raise CronExpressionError("is required", field=field)
    value = crontab[spec.key]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise CronExpressionError("must be a text such as * or 1,15, or a whole number", field=field)
    return parse_field(spec, str(value), field=field)


def _one_number(spec: FieldSpec, value: str | int, field: str) -> FieldValue:
    read = parse_field(spec, str(value), field=field)
    if len(read.numbers) != 1 or read.starred:
        raise CronExpressionError(f"{spec.word} {shortened(str(value))}: give one number", field=field)
    return read


def _weekdays(mask: str, first_day: FirstDay, field: str) -> frozenset[int]:
    """Return the weekdays of a mask, Sunday being 0."""
    if re.fullmatch("[01]{7}", mask) is None:
        raise CronExpressionError(f"week mask {shortened(mask)}: give seven digits, each 0 or 1", field=field)
    first = 1 if first_day == "monday" else 0
    return frozenset((place + first) % 7 for place, digit in enumerate(mask) if digit == "1")
