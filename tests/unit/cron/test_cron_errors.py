"""What is refused, and in which words."""

from __future__ import annotations

from datetime import date

import pytest

from include.cron import (
    CronSchedule,
    matches_mask,
    parse_minute_fields,
    parse_seconds_first,
    parse_time_of_day,
)
from include.errors import CronExpressionError, InvalidInputError

FORMS = "is not of the form *, n, n-m, */step, n/step or n-m/step"
COUNT = "give second, minute, hour, day of month and month, and weekday if needed"
DESCRIPTORS = "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"

REFUSED = [
    ("", "the expression is empty"),
    ("   ", "the expression is empty"),
    ("0 0 9 *", f"'0 0 9 *' has 4 fields: {COUNT}"),
    ("0 0 9 * * * 2026", f"'0 0 9 * * * 2026' has 7 fields: {COUNT}"),
    ("60 * * * * *", "second '60': 60 is outside 0 to 59"),
    ("0 75 * * * *", "minute '75': 75 is outside 0 to 59"),
    ("0 0 24 * * *", "hour '24': 24 is outside 0 to 23"),
    ("0 0 0 0 * *", "day of month '0': 0 is outside 1 to 31"),
    ("0 0 0 * 13 *", "month '13': 13 is outside 1 to 12"),
    ("0 0 0 * * 8", "weekday '8': 8 is outside 0 to 7"),
    ("0 5-2 * * * *", "minute '5-2': the range 5-2 runs backwards"),
    ("0 0 0 * nov-feb *", "month 'nov-feb': the range NOV-FEB runs backwards"),
    ("0 */0 * * * *", "minute '*/0': the step must be at least 1"),
    ("0 1,,2 * * * *", "minute '1,,2': a list item is empty"),
    ("0 , * * * *", "minute ',': a list item is empty"),
    ("0 1-2-3 * * * *", f"minute '1-2-3': '1-2-3' {FORMS}"),
    ("0 1/2/3 * * * *", f"minute '1/2/3': '1/2/3' {FORMS}"),
    ("0 *-5 * * * *", f"minute '*-5': '*-5' {FORMS}"),
    ("0 -5 * * * *", f"minute '-5': '-5' {FORMS}"),
    ("0 */x * * * *", f"minute '*/x': '*/X' {FORMS}"),
    ("0 five * * * *", "minute 'five': 'FIVE' is not a number"),
    ("0 ٣ * * * *", "minute '٣': '٣' is not a number"),
    ("0 1.5 * * * *", "minute '1.5': '1.5' is not a number"),
    ("0 0 0 * foo *", "month 'foo': 'FOO' is not a number or a name"),
    ("0 0 0 * * mittwoch", "weekday 'mittwoch': 'MITTWOCH' is not a number or a name"),
    ("0 0 0 * * L", "weekday 'L': 'L' is not a number or a name"),
    ("0 0 0 * * 1#6", "weekday '1#6': the number after # must be 1 to 5"),
    ("0 0 0 * * 9#1", "weekday '9#1': 9 is outside 0 to 7"),
    ("0 0 0 L/2 * *", "day of month 'L/2': 'L' is not a number"),
    ("0 0 L * * *", "hour 'L': 'L' is not a number"),
    ("0 0 0 30 2 *", "'0 0 0 30 2 *' never fires: there is no such date"),
    ("0 0 0 31 4,6,9,11 *", "'0 0 0 31 4,6,9,11 *' never fires: there is no such date"),
    ("0 0 0 */31 4 1#5", "'0 0 0 */31 4 1#5' never fires: there is no such date"),
    # Always within the hour that the spring change skips, and wildcards do not run for skipped times.
    ("0 */5 2 * 3 0#2", "'0 */5 2 * 3 0#2' never fires: there is no such date"),
    ("@often", f"'@often' is not a descriptor: use one of {DESCRIPTORS}, or @every with a duration"),
    ("@daily 5", f"'@daily 5' is not a descriptor: use one of {DESCRIPTORS}, or @every with a duration"),
    ("@every", f"'@every' is not a descriptor: use one of {DESCRIPTORS}, or @every with a duration"),
    ("@every soon", "'soon' is not a duration such as 90s, 1h30m or 1.5h"),
    ("@every 90", "'90' is not a duration such as 90s, 1h30m or 1.5h"),
    ("@every -5s", "'-5s' is not a duration such as 90s, 1h30m or 1.5h"),
    ("@every .s", "'.s' is not a duration such as 90s, 1h30m or 1.5h"),
    ("@every 999ms", "'999ms' is shorter than 1 second"),
    ("@every 8784h1s", "'8784h1s' is longer than 366 days"),
    ("TZ=Mars/Base 0 0 9 * * *", "the time zone 'Mars/Base' is not known"),
    ("TZ= 0 0 9 * * *", "the time zone '' is not known"),
    ("CRON_TZ=Asia/Tokyo", "the expression is empty"),
    ("0 0 9 * * " + "1," * 500, "the expression is longer than 1000 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_seconds_first(text, message):
    with pytest.raises(CronExpressionError) as caught:
        parse_seconds_first(text, zone="America/New_York")
    assert (caught.value.message, caught.value.field) == (message, "start_time")
    assert isinstance(caught.value, InvalidInputError)


def test_the_zone_argument_is_checked():
    with pytest.raises(CronExpressionError, match=r"time: the time zone '\.\./etc/passwd' is not known"):
        parse_seconds_first("@daily", zone="../etc/passwd", field="time")


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(CronExpressionError) as caught:
        parse_seconds_first(f"0 {'7' * 90} * * * *", zone="UTC")
    assert caught.value.message.startswith(f"minute '{'7' * 57}...': ")


@pytest.mark.parametrize(
    ("wrong", "field", "message"),
    [
        ({"minute": 60}, "crontab.minute", "minute '60': 60 is outside 0 to 59"),
        ({"hour": ""}, "crontab.hour", "hour '': it is empty"),
        ({"day": "32"}, "crontab.day", "day of month '32': 32 is outside 1 to 31"),
        ({"day": "1 2"}, "crontab.day", "day of month '1 2': '1 2' is not a number"),
        ({"month": None}, "crontab.month", "month 'None': 'NONE' is not a number or a name"),
        ({"weekday": "x"}, "crontab.weekday", "weekday 'x': 'X' is not a number or a name"),
        (
            {"minute": "0" * 1001},
            "crontab.minute",
            f"minute '{'0' * 57}...': it is longer than 1000 characters",
        ),
        ({"day": 31, "month": 2}, "crontab", "'0 0 1 31 2 *' never fires: there is no such date"),
        ({"zone": "Nowhere"}, "crontab", "the time zone 'Nowhere' is not known"),
    ],
)
def test_minute_fields(wrong, field, message):
    fields = {"minute": "0", "hour": "1", "day": "1", "month": "*", "zone": "Asia/Shanghai"}
    with pytest.raises(CronExpressionError) as caught:
        parse_minute_fields(**fields | wrong)
    assert (caught.value.message, caught.value.field) == (message, field)


@pytest.mark.parametrize(
    ("wrong", "field", "message"),
    [
        ({"hour": "24"}, "timer.hour", "hour '24': 24 is outside 0 to 23"),
        ({"hour": "*"}, "timer.hour", "hour '*': give one number"),
        ({"minute": "1,2"}, "timer.minute", "minute '1,2': give one number"),
        ({"mask": "012"}, "timer.mask", "week mask '012': give seven digits, each 0 or 1"),
        ({"mask": "0000002"}, "timer.mask", "week mask '0000002': give seven digits, each 0 or 1"),
    ],
)
def test_time_of_day(wrong, field, message):
    fields = {"hour": "15", "minute": "11", "mask": "0101010", "zone": "Asia/Shanghai"}
    with pytest.raises(CronExpressionError) as caught:
        parse_time_of_day(**fields | wrong)
    assert (caught.value.message, caught.value.field) == (message, field)


def test_matches_mask():
    with pytest.raises(CronExpressionError, match="mask: week mask '1': give seven digits"):
        matches_mask(date(2026, 1, 1), "1", "sunday")


@pytest.mark.parametrize(
    "text", ["0 0 0 * * mon", "@daily", "@every 90s", "0 0 0 * *", " 0 0 0 * * *", "0 0 0 x * *"]
)
def test_from_canonical_takes_only_canonical_text(text):
    with pytest.raises(CronExpressionError):
        CronSchedule.from_canonical(text, "UTC")
