"""Cron: the spellings each API accepts, one canonical text, and the instants behind it.

Pure: no clock, no database, no Airflow. `dialects` reads what clients send, `canonical` gives equal schedules
one text, `schedule` computes instants over the library `cronsim`.
"""

from include.cron.dialects import (
    NO_DAY,
    FirstDay,
    matches_mask,
    parse_billing_crontab,
    parse_minute_fields,
    parse_seconds_first,
    parse_time_of_day,
    weekdays_of_mask,
)
from include.cron.month_end import MonthEnd
from include.cron.schedule import CronSchedule
from include.cron.weekdays import on_weekdays, weekday_bit
from include.cron.zones import check_zone

__all__ = [
    "NO_DAY",
    "CronSchedule",
    "FirstDay",
    "MonthEnd",
    "check_zone",
    "matches_mask",
    "on_weekdays",
    "parse_billing_crontab",
    "parse_minute_fields",
    "parse_seconds_first",
    "parse_time_of_day",
    "weekday_bit",
    "weekdays_of_mask",
]
