"""On which days a timer is due: every mask, both first days, against a calendar walked day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from include.cron import (
    NO_DAY,
    CronSchedule,
    matches_mask,
    on_weekdays,
    parse_time_of_day,
    weekday_bit,
    weekdays_of_mask,
)
from include.errors import CronExpressionError

MASKS = [f"{number:07b}" for number in range(128)]
NAMES = {
    "sunday": ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
    "monday": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
}
START = datetime(2024, 2, 20, 5, tzinfo=UTC)


def timer(hour: int, minute: int, zone: str) -> CronSchedule:
    return parse_time_of_day(hour=hour, minute=minute, mask=NO_DAY, zone=zone)


@pytest.mark.parametrize("first_day", ["sunday", "monday"])
@pytest.mark.parametrize("mask", MASKS)
def test_every_mask_is_due_on_the_days_that_it_names(mask: str, first_day) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    named = {name for name, digit in zip(NAMES[first_day], mask, strict=True) if digit == "1"}
    expected = []
    for ahead in range(30):
        day = date(2024, 2, 20) + timedelta(days=ahead)
        moment = datetime(day.year, day.month, day.day, 7, 30, tzinfo=zone)
        if day.strftime("%a") in named and START < moment < START + timedelta(days=28):
            expected.append(moment)
    cron = timer(7, 30, "Asia/Shanghai")
    instants = cron.between(START, START + timedelta(days=28))
    assert list(on_weekdays(cron, instants, weekdays_of_mask(mask, first_day))) == expected


@pytest.mark.parametrize("first_day", ["sunday", "monday"])
@pytest.mark.parametrize("mask", MASKS)
def test_bits_say_what_masks_say(mask: str, first_day) -> None:
    days = [date(2026, 11, 22) + timedelta(days=ahead) for ahead in range(7)]
    bits = weekdays_of_mask(mask, first_day)
    assert [bool(bits & weekday_bit(day)) for day in days] == [
        matches_mask(day, mask, first_day) for day in days
    ]


def test_no_weekdays_at_all_lets_every_instant_through() -> None:
    cron = timer(7, 30, "UTC")
    assert list(islice(on_weekdays(cron, cron.iter_after(START), None), 2)) == [
        datetime(2024, 2, 20, 7, 30, tzinfo=UTC),
        datetime(2024, 2, 21, 7, 30, tzinfo=UTC),
    ]


@pytest.mark.parametrize("mask", ["", "010101", "01010101", "010101x", "٠١٠١٠١٠"])
def test_a_bad_mask_names_its_field(mask: str) -> None:
    with pytest.raises(CronExpressionError) as caught:
        weekdays_of_mask(mask, "sunday", field="period")
    assert caught.value.field == "period"


#: (zone, time, local date it stands for, when it is due in UTC)
CHANGES = [
    ("Europe/Berlin", (2, 30), date(2026, 3, 29), "2026-03-29T01:00"),  # skipped: at the first instant after
    ("Europe/Berlin", (2, 30), date(2026, 10, 25), "2026-10-25T00:30"),  # twice: the first time only
    ("America/New_York", (2, 30), date(2026, 3, 8), "2026-03-08T07:00"),
    ("America/New_York", (1, 30), date(2026, 11, 1), "2026-11-01T05:30"),
    ("Australia/Lord_Howe", (2, 15), date(2026, 10, 4), "2026-10-03T15:30"),
    ("America/Havana", (0, 30), date(2026, 3, 8), "2026-03-08T05:00"),  # the gap is the first hour of the day
    ("America/Nuuk", (23, 30), date(2026, 3, 28), "2026-03-29T01:00"),  # due on Sunday, stands for Saturday
    ("Pacific/Apia", (7, 30), date(2011, 12, 30), "2011-12-30T10:00"),  # a day that was not
]


@pytest.mark.parametrize(("zone", "time", "day", "due"), CHANGES)
def test_clock_changes_take_no_day_away_and_give_none_twice(zone, time, day: date, due: str) -> None:
    cron = timer(*time, zone)
    instant = datetime.fromisoformat(due).replace(tzinfo=UTC)
    around = cron.between(instant - timedelta(days=2), instant + timedelta(days=2))
    assert instant in around
    assert cron.day_of(instant) == day
    assert [cron.day_of(found) for found in around] == [
        around_day
        for around_day in (day + timedelta(days=ahead) for ahead in range(-2, 3))
        if around_day in {cron.day_of(found) for found in around}
    ], "each local date once, in order"
    only = list(on_weekdays(cron, around, weekday_bit(day)))
    assert only == [instant]


@pytest.mark.parametrize("expression", ["@every 1h", "0 0 1 * * *|0 0 2 * * *", "* * * * * *"])
def test_other_expressions_have_the_plain_local_date(expression: str) -> None:
    cron = CronSchedule.from_canonical(expression, "Europe/Berlin")
    assert cron.day_of(datetime(2026, 3, 29, 1, tzinfo=UTC)) == date(2026, 3, 29)
    assert cron.day_of(datetime(2026, 3, 29, 22, tzinfo=UTC)) == date(2026, 3, 30)
