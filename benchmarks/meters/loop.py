"""The row-by-row peer: the facts of each service point, the formula, an INSERT for each row."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from benchmarks.meters import data
from include.billing.formula import price
from include.billing.model import Before, Period, PricedBill
from include.billing.periods import months_between
from include.billing.repository import BillingRepository
from include.kit.clock import system_clock
from include.kit.db import Connection, Database

#: Service points whose facts are read at once, and whose bills are one transaction.
BATCH = 1000

_MONTHS = months_between(data.WARM_UP, data.MEASURED, data.ZONE)
PERIOD = Period(data.WARM_UP, data.MEASURED, _MONTHS, coverage=Decimal(1))


@dataclass
class Rows:
    """What is to be inserted."""

    bills: list[dict[str, Any]] = field(default_factory=list)
    quantities: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def add(self, bill_id: int, point: Mapping[str, Any], priced: PricedBill) -> None:
        """Take the rows of one bill in."""
        self.bills.append(
            {
                **point,
                **{name: getattr(priced, name) for name in _OF_BILL},
                "id": bill_id,
                "service_point_id": point["id"],
                "project_id": data.PROJECT,
                "commodity": data.COMMODITY,
                "period_from": PERIOD.start,
                "period_to": PERIOD.end,
                "months": PERIOD.months,
                "coverage": PERIOD.coverage,
                "previous_quantity": point["quantity"],
                "flags": list(priced.flags),
            }
        )
        self.quantities += _numbered(bill_id, priced.quantities, _OF_QUANTITY)
        self.lines += _numbered(bill_id, priced.lines, _OF_LINE)


_OF_BILL = (
    *("meter_id", "device_id", "unit", "opening", "closing", "quantity", "charge", "rounding_delta"),
    *("year_quantity", "estimates_in_a_row"),
)
_OF_QUANTITY = (
    *("register_id", "kind", "opening", "closing", "quantity", "opening_method", "closing_method"),
    *("opening_reading_id", "closing_reading_id"),
)
_OF_LINE = ("kind", "label", "tier", "quantity", "rate", "amount", "included", "method", "tariff_version_id")


async def bill(database: Database) -> tuple[int, Decimal]:
    """Bill all service points; return how many bills there are and what they come to."""
    count, total = 0, Decimal(0)
    async with database.transaction() as connection:
        cursor = await connection.execute(
            data.queries.list_before,
            {"project_id": data.PROJECT, "commodity": data.COMMODITY, "period_from": PERIOD.start},
        )
        points = await cursor.fetchall()
    for batch in _batches(points):
        async with database.transaction() as connection:
            rows = await _price(connection, batch)
            await _insert(connection, rows)
        count += len(rows.bills)
        total += sum((one["charge"] for one in rows.bills), Decimal(0))
    return count, total


async def _price(connection: Connection, points: Sequence[Mapping[str, Any]]) -> Rows:
    ids = [point["id"] for point in points]
    facts = await BillingRepository(connection).load_facts(ids, system_clock())
    cursor = await connection.execute(data.queries.reserve_bills, {"count": len(ids)})
    rows = Rows()
    for point, reserved in zip(points, await cursor.fetchall(), strict=True):
        before = Before(point["period_to"], point["quantity"], point["estimates_in_a_row"])
        priced = price(facts[point["id"]], PERIOD, before)
        assert isinstance(priced, PricedBill), priced
        rows.add(reserved["id"], point, priced)
    return rows


async def _insert(connection: Connection, rows: Rows) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany(data.queries.add_bill, rows.bills)
        await cursor.executemany(data.queries.add_quantity, rows.quantities)
        await cursor.executemany(data.queries.add_line, rows.lines)


def _numbered(bill_id: int, parts: Sequence[Any], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for ordinal, part in enumerate(parts, 1):
        columns = {name: getattr(part, name) for name in names}
        yield {**columns, "bill_id": bill_id, "ordinal": ordinal, "start": part.from_at, "end": part.to_at}


def _batches(points: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    for start in itertools.count(0, BATCH):
        if not (batch := points[start : start + BATCH]):
            return
        yield batch
