"""The SQL functions of migration 0005 against the arithmetic of `include/maintenance/cycles.py`."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.maintenance.cycles import due
from include.maintenance.model import PERIOD_UNITS

ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe")
STATEMENT = """
SELECT maintenance_due(%(anchor)s, %(k)s, %(num)s, %(unit)s, %(zone)s) AS due,
       maintenance_passed(%(anchor)s, %(num)s, %(unit)s, %(zone)s, %(at)s) AS passed
"""


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", PERIOD_UNITS)
def test_sql_and_python_agree(database_url: str, unit: str, zone: str) -> None:
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
            assert due(anchor, passed, num, unit, tz) <= at < due(anchor, passed + 1, num, unit, tz), values
