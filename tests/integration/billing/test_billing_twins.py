"""The formula and the statement that prices whole projects: the same arithmetic, on random projects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from include.billing.chunks import Calendar
from include.billing.chunks import price as price_chunk
from include.billing.formula import price
from include.billing.model import Before, Facts, Parked, Period, PricedBill
from include.billing.repository import BillingRepository
from include.billing.shares import split
from include.billing.stored import Chunk
from include.cron import CronSchedule
from include.kit.db import Database
from tests.integration.billing.random_projects import RandomProject

POINTS = 50
MONTHS = 4
CUTOFF = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
@pytest.mark.parametrize("seed", range(3))
async def test_statement_and_formula_make_the_same_bills(
    database: Database, connection: psycopg.Connection, seed: int, zone: str
) -> None:
    project = RandomProject(connection, seed, zone)
    with connection.transaction():
        tariffs = [project.tariff(n) for n in range(8)]
        project.assign(tariffs[0])
        project.assign(tariffs[1], subtype="a")
        points = [project.point(n, MONTHS) for n in range(POINTS)]
        project.write_readings()
        for point in points:
            if project.random.random() < 0.8:
                project.assign(project.random.choice(tariffs), service_point_id=point)
    connection.execute("ANALYZE")
    cron = CronSchedule("0 0 0 1 * *", zone)
    before: dict[int, Before] = {}
    priced = parked = 0
    ends = [
        project.local(2025, 11, 1),
        project.local(2025, 12, 1),
        project.local(2026, 1, 20),
        project.local(2026, 2, 1),
    ]
    for end in ends:
        async with database.transaction() as session:
            repository = BillingRepository(session)
            rules = await repository.load_rules("1")
            await repository.plan_for_chunks()
            facts = await repository.load_facts(points, CUTOFF)
            calendar = Calendar(cron, rules, end)
            chunk = Chunk(
                "1", "electricity", points[0], points[-1], end, CUTOFF, rules, calendar.factors, end
            )
            await price_chunk(repository, chunk, calendar)
        for point in points:
            period = _period(facts[point], before.get(point), end, calendar)
            expected = price(facts[point], period, before.get(point)) if period else None
            stored = _bill(connection, point, end)
            if isinstance(expected, PricedBill):
                assert stored is not None, (point, expected)
                assert stored == _shown(expected, facts[point], period), point
                pieces = tuple((one.from_at, one.quantity) for one in expected.quantities)
                counted = (*before[point].counted, *pieces) if point in before else pieces
                before[point] = Before(end, expected.quantity, expected.estimates_in_a_row, counted)
                priced += 1
            else:
                assert stored is None, (point, expected)
                if isinstance(expected, Parked):
                    kinds = _exceptions(connection, point)
                    assert expected.kind in kinds, (point, expected, kinds)
                    parked += 1
    assert priced > POINTS
    assert parked


def _period(facts: Facts, before: Before | None, end: datetime, calendar: Calendar) -> Period | None:
    start = before.period_to if before else facts.installations[0].valid_from
    if start >= end:
        return None
    [factor] = calendar.work_out([start])
    return Period(start, end, factor.months, factor.coverage)


def _shown(bill: PricedBill, facts: Facts, period: Period) -> dict[str, Any]:
    shares = split(bill.charge, facts.occupancies, period.start, period.end, facts.rules.share_key)
    return {
        "meter_id": bill.meter_id,
        "device_id": bill.device_id,
        "unit": bill.unit,
        "opening": bill.opening,
        "closing": bill.closing,
        "quantity": bill.quantity,
        "charge": bill.charge,
        "rounding_delta": bill.rounding_delta,
        "year_quantity": bill.year_quantity,
        "estimates_in_a_row": bill.estimates_in_a_row,
        "flags": list(bill.flags),
        "quantities": [
            (
                one.register_id,
                one.kind,
                one.from_at,
                one.to_at,
                one.opening,
                one.closing,
                one.quantity,
                one.opening_method,
                one.closing_method,
                one.opening_reading_id,
                one.closing_reading_id,
            )
            for one in bill.quantities
        ],
        "lines": [
            (
                line.kind,
                line.label,
                line.tier,
                line.quantity,
                line.rate,
                line.amount,
                line.included,
                line.from_at,
                line.to_at,
                line.method,
                line.tariff_version_id,
            )
            for line in bill.lines
        ],
        "shares": sorted((one.party_id, one.amount) for one in shares),
    }


def _bill(connection: psycopg.Connection, point: int, end: datetime) -> dict[str, Any] | None:
    row = connection.execute(
        """
        SELECT id, meter_id, device_id, unit, opening, closing, quantity, charge, rounding_delta,
               year_quantity, estimates_in_a_row, flags
        FROM bill WHERE service_point_id = %s AND period_to = %s
        """,
        [point, end],
    ).fetchone()
    if row is None:
        return None
    bill_id = row.pop("id")
    quantities = connection.execute(
        """
        SELECT register_id, kind, from_at, to_at, opening, closing, quantity, opening_method, closing_method,
               opening_reading_id, closing_reading_id
        FROM bill_quantity WHERE bill_id = %s ORDER BY ordinal
        """,
        [bill_id],
    ).fetchall()
    lines = connection.execute(
        """
        SELECT kind, label, tier, quantity, rate, amount, included, from_at, to_at, method, tariff_version_id
        FROM bill_line WHERE bill_id = %s ORDER BY ordinal
        """,
        [bill_id],
    ).fetchall()
    shares = connection.execute(
        "SELECT party_id, amount FROM bill_share WHERE bill_id = %s ORDER BY party_id", [bill_id]
    ).fetchall()
    return {
        **row,
        "quantities": [tuple(one.values()) for one in quantities],
        "lines": [tuple(one.values()) for one in lines],
        "shares": [tuple(one.values()) for one in shares],
    }


def _exceptions(connection: psycopg.Connection, point: int) -> set[str]:
    rows = connection.execute("SELECT kind FROM billing_exception WHERE service_point_id = %s", [point])
    return {row["kind"] for row in rows}
