"""What is particular to each API document."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from include.cron import NO_DAY, matches_mask, parse_minute_fields, parse_seconds_first, parse_time_of_day

# A Sunday; the expectations below count days from it, and share no arithmetic with the product.
SUNDAY = date(2026, 3, 1)
WEEK = {
    first: [SUNDAY + timedelta(days=n + shift) for n in range(7)]
    for first, shift in [("sunday", 0), ("monday", 1)]
}


@pytest.mark.parametrize("prefix", ["CRON_TZ=Asia/Tokyo ", "TZ=Asia/Tokyo ", "  TZ=Asia/Tokyo\t"])
@pytest.mark.parametrize("text", ["0 0 9 * * *", "0 0 9 * *", "@daily", "@every 1h"])
def test_a_zone_prefix_overrides_the_zone(prefix, text):
    assert parse_seconds_first(prefix + text, zone="UTC") == parse_seconds_first(text, zone="Asia/Tokyo")


@pytest.mark.parametrize(
    ("fields", "expression"),
    [
        ({"minute": "0", "hour": "1", "day": "1", "month": "*"}, "0 0 1 1 * *"),
        ({"minute": 0, "hour": 1, "day": 1, "month": 12}, "0 0 1 1 12 *"),
        ({"minute": "*/5", "hour": "*", "day": "*", "month": "*"}, "0 */5 * * * *"),
        (
            {"minute": " 5 ", "hour": "8-18/5", "day": "?", "month": "jan", "weekday": "mon"},
            "0 5 8,13,18 * 1 1",
        ),
        ({"minute": "0", "hour": "1", "day": "L", "month": "*"}, "0 0 1 L * *"),
    ],
)
def test_minute_fields(fields, expression):
    schedule = parse_minute_fields(**fields, zone="Asia/Shanghai")
    assert (schedule.expression, schedule.zone) == (expression, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("mask", "first_day", "expression"),
    [
        ("0101010", "sunday", "0 11 15 * * 1,3,5"),
        ("0101010", "monday", "0 11 15 * * 2,4,6"),
        ("1000000", "sunday", "0 11 15 * * 0"),
        ("0000001", "monday", "0 11 15 * * 0"),
        ("1111111", "sunday", "0 11 15 * * *"),
        (NO_DAY, "sunday", "0 11 15 * * *"),
    ],
)
def test_time_of_day(mask, first_day, expression):
    schedule = parse_time_of_day(hour="15", minute="11", mask=mask, first_day=first_day, zone="Asia/Shanghai")
    assert (schedule.expression, schedule.zone) == (expression, "Asia/Shanghai")


def test_time_of_day_begins_weeks_on_sunday_and_takes_numbers():
    schedule = parse_time_of_day(hour=0, minute=5, mask="1000000", zone="UTC")
    assert schedule.expression == "0 5 0 * * 0"


@pytest.mark.parametrize("first_day", ["sunday", "monday"])
@pytest.mark.parametrize("mask", [f"{number:07b}" for number in range(128)])
def test_matches_mask(mask, first_day):
    found = "".join(str(int(matches_mask(day, mask, first_day))) for day in WEEK[first_day])
    assert found == mask


@pytest.mark.parametrize("first_day", ["sunday", "monday"])
def test_the_mask_and_the_schedule_agree(first_day):
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for number in range(1, 128):
        mask = f"{number:07b}"
        schedule = parse_time_of_day(hour=12, minute=0, mask=mask, first_day=first_day, zone="UTC")
        due = {instant.date() for instant in schedule.between(start, start + timedelta(days=14))}
        days = (SUNDAY + timedelta(days=n) for n in range(14))
        assert due == {day for day in days if matches_mask(day, mask, first_day)}, mask
