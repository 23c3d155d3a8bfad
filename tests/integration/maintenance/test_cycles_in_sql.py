"""The SQL functions of migration 0005 against the arithmetic of `include/maintenance/cycles.py`."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.maintenance.cycles import due, late, shift, start_of
from include.maintenance.model import PERIOD_UNITS, PeriodUnit

ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe")
STATEMENT = """
SELECT maintenance_due(%(anchor)s, %(k)s, %(num)s, %(unit)s, %(zone)s) AS due,
       maintenance_passed(%(anchor)s, %(num)s, %(unit)s, %(zone)s, %(at)s) AS passed,
       maintenance_late(%(at)s, %(unit)s, %(k)s, %(zone)s) AS late
"""


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", PERIOD_UNITS)
def test_sql_and_python_agree(database_url: str, unit: PeriodUnit, zone: str) -> None:
    chance = random.Random(f"{unit} {zone}")
    tz = ZoneInfo(zone)
    with psycopg.connect(database_url) as connection:
        for _ in range(150):
            anchor = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(4 * 366 * 86400))
            num, k = chance.randint(1, 40), chance.randint(0, 60)
            at = anchor + timedelta(seconds=chance.randrange(3 * 366 * 86400))
            values = {"anchor": anchor, "k": k, "num": num, "unit": unit, "zone": zone, "at": at}
            row = connection.execute(STATEMENT, values).fetchone()
            assert row is not None
            assert row[0] == due(anchor, k, num, unit, tz), values
            passed = row[1]
            assert row[2] == late(at, unit, k, tz), values
            assert due(anchor, passed, num, unit, tz) <= at < due(anchor, passed + 1, num, unit, tz), values


def test_from_a_day_without_midnight() -> None:
    """3 September 2028 begins at 1 o'clock in Santiago; other days do not."""
    tz = ZoneInfo("America/Santiago")
    anchor = datetime(2028, 9, 3, 15, tzinfo=tz)
    assert start_of(anchor, "日", tz) == datetime(2028, 9, 3, 1, tzinfo=tz)
    assert due(anchor, 1, 3, "周", tz) == datetime(2028, 9, 24, tzinfo=tz)
    assert shift(start_of(anchor, "日", tz), -1, "日", tz) == datetime(2028, 9, 2, tzinfo=tz)
    assert late(anchor, "日", 0, tz) == datetime(2028, 9, 4, tzinfo=tz)
