"""The crontab object of document 000, and what its days mean in short months."""

from __future__ import annotations

import random
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from include.cron import CronSchedule, parse_billing_crontab
from include.errors import CronExpressionError

ZONE = "Asia/Shanghai"
PLACE = ZoneInfo(ZONE)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
GOOD = {"month": "*", "day": "1", "hour": "1", "minute": "0"}


def read(month_end: str = "clamp", now: datetime = NOW, **changes: object) -> CronSchedule:
    return parse_billing_crontab({**GOOD, **changes}, zone=ZONE, now=now, month_end=month_end)


def days_due(schedule: CronSchedule, year: int, years: int = 1) -> list[date]:
    start = datetime(year, 1, 1, tzinfo=PLACE) - timedelta(seconds=1)
    end = datetime(year + years, 1, 1, tzinfo=PLACE) - timedelta(seconds=1)
    return [instant.astimezone(PLACE).date() for instant in schedule.between(start, end)]


@pytest.mark.parametrize(
    ("changes", "expression"),
    [
        ({}, "0 0 1 1 * *"),
        ({"month": 12, "day": 1, "hour": 1, "minute": 0}, "0 0 1 1 12 *"),
        ({"month": "1,7", "day": "1-5", "hour": "*/6", "minute": "30"}, "0 30 */6 1-5 */6 *"),
        ({"day": "L"}, "0 0 1 L * *"),
        ({"day": "31"}, "0 0 1 L * *"),
        ({"day": "31", "month": "1,12"}, "0 0 1 31 1,12 *"),
        ({"day": "31", "month": "1-3"}, "0 0 1 L 1-3 *"),
        ({"day": "31,L"}, "0 0 1 L * *"),
        ({"day": "30"}, "0 0 1 30 1,3-12 *|0 0 1 L 2 *"),
        ({"day": 30, "month": 2}, "0 0 1 L 2 *"),
        ({"day": 30, "month": "4,6"}, "0 0 1 30 4,6 *"),
        ({"day": "30,L"}, "0 0 1 30,L * *"),
        ({"day": "15,29"}, "0 0 1 15,29 1,3-12 *|0 0 1 15,L 2 *"),
        ({"day": "28-31"}, "0 0 1 28-30,L * *"),
        ({"day": "1-31"}, "0 0 1 * * *"),
        ({"day": "*/2"}, "0 0 1 */2 * *"),
    ],
)
def test_canonical_text(changes, expression):
    schedule = read(**changes)
    assert (schedule.expression, schedule.zone) == (expression, ZONE)
    assert CronSchedule.from_canonical(expression, ZONE) == schedule


@pytest.mark.parametrize("day", ["29", "30", "31", "30,31"])
def test_skip_leaves_the_days_as_they_are(day):
    assert read("skip", day=day).expression == f"0 0 1 {day} * *"


@pytest.mark.parametrize("year", [2027, 2028, 2100])
@pytest.mark.parametrize("day", [1, 28, 29, 30, 31])
def test_a_day_of_every_month_is_due_twelve_times_a_year(day, year):
    lengths = [monthrange(year, month)[1] for month in range(1, 13)]
    assert days_due(read(day=day), year) == [
        date(year, month, min(day, length)) for month, length in enumerate(lengths, start=1)
    ]


def model(days: set[int], last: bool, months: set[int], year: int, *, clamp: bool) -> list[date]:
    """The days that are due in a year, month by month, from the sets alone."""
    due = []
    for month in sorted(months):
        length = monthrange(year, month)[1]
        wanted = {day for day in days if day <= length}
        if last or (clamp and any(day > length for day in days)):
            wanted.add(length)
        due += [date(year, month, day) for day in sorted(wanted)]
    return due


def test_400_random_day_and_month_lists_against_the_calendar():
    rng = random.Random(20261122)
    unions = 0
    for _ in range(400):
        days = set(rng.choices([*range(1, 32), 28, 29, 30, 31, 29, 30, 31], k=rng.randint(1, 4)))
        months = set(rng.choices([*range(1, 13), 2, 2], k=rng.randint(1, 6)))
        last = rng.random() < 0.2
        items = [*map(str, days), *(["L"] if last else [])]
        changes = {"day": ",".join(items), "month": ",".join(map(str, months))}
        for month_end in ("clamp", "skip"):
            expected = {
                year: model(days, last, months, year, clamp=month_end == "clamp")
                for year in range(2027, 2033)
            }
            try:
                schedule = read(month_end, datetime(2026, 12, 31, tzinfo=UTC), **changes)
            except CronExpressionError:
                assert not expected[2027], changes
                continue
            unions += "|" in schedule.expression
            found = days_due(schedule, 2027, 6)
            assert found == [day for due in expected.values() for day in due], (changes, month_end)
    assert unions > 25


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"minute": "60"}, "crontab.minute", "minute '60': 60 is outside 0 to 59"),
        ({"hour": 24}, "crontab.hour", "hour '24': 24 is outside 0 to 23"),
        ({"day": "32"}, "crontab.day", "day of month '32': 32 is outside 1 to 31"),
        ({"day": 0}, "crontab.day", "day of month '0': 0 is outside 1 to 31"),
        ({"day": -1}, "crontab.day", "day of month '-1': '-1' is not of the form *, n, n-m"),
        ({"month": "13"}, "crontab.month", "month '13': 13 is outside 1 to 12"),
        ({"month": ""}, "crontab.month", "month '': it is empty"),
        ({"minute": True}, "crontab.minute", "must be a text such as * or 1,15, or a whole number"),
        ({"minute": 0.0}, "crontab.minute", "must be a text such as * or 1,15, or a whole number"),
        ({"minute": None}, "crontab.minute", "must be a text such as * or 1,15, or a whole number"),
        ({"minute": ["0"]}, "crontab.minute", "must be a text such as * or 1,15, or a whole number"),
        ({"weekday": "*"}, "crontab.weekday", "is not a key of a crontab: give month, day, hour, minute"),
        ({"second": 0}, "crontab.second", "is not a key of a crontab: give month, day, hour, minute"),
    ],
)
def test_what_is_wrong_is_named(changes, field, message):
    with pytest.raises(CronExpressionError) as caught:
        read(**changes)
    assert caught.value.field == field
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("key", ["month", "day", "hour", "minute"])
def test_every_key_is_required(key):
    crontab = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(CronExpressionError) as caught:
        parse_billing_crontab(crontab, zone=ZONE, now=NOW)
    assert str(caught.value) == f"crontab.{key}: is required"


def test_what_never_fires_is_refused():
    with pytest.raises(CronExpressionError, match=r"^crontab: '0 0 1 31 4 \*' never fires"):
        read("skip", day="31", month="4")


def test_the_next_400_days_must_hold_an_instant():
    leap_day = {"day": "29", "month": "2"}
    with pytest.raises(CronExpressionError, match=r"^crontab: is not due within 400 days$"):
        read("skip", **leap_day)
    due = datetime(2028, 2, 29, 1, tzinfo=PLACE)
    first = due - timedelta(days=400)
    assert read("skip", first, **leap_day).next_after(first) == due
    with pytest.raises(CronExpressionError):
        read("skip", first - timedelta(seconds=1), **leap_day)


def test_an_unknown_zone_is_refused():
    with pytest.raises(CronExpressionError, match="is not known"):
        parse_billing_crontab(GOOD, zone="Mars/Olympus", now=NOW)


def test_the_field_can_be_named_otherwise():
    with pytest.raises(CronExpressionError) as caught:
        parse_billing_crontab({}, zone=ZONE, now=NOW, field="rule")
    assert caught.value.field == "rule.month"
