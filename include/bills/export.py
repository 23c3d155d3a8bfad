"""All bills of a project as CSV, in constant memory: a cursor of the server, some hundred bills at a time.

One snapshot: a bill that is made again meanwhile is neither missing nor there twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from include.bills.lists import narrow, require_visible
from include.bills.model import all_decimals
from include.bills.record_repository import BillRecordRepository
from include.bills.records import BillRecord, RecordFilter
from include.kit.db import Database
from include.kit.export import BOM, csv_text, harmless, snapshot

#: How many bills are in memory.
PIECE: Final = 500

#: In this order; docs/bills.md says what they are.
COLUMNS: Final = (
    "key",
    "number",
    "service_point",
    "device_id",
    "commodity",
    "subtype",
    "address_1",
    "address_2",
    "address_3",
    "address_4",
    "address_5",
    "state",
    "period_from",
    "period_to",
    "timezone",
    "previous_quantity",
    "quantity",
    "unit",
    "opening",
    "closing",
    "energy",
    "fixed",
    "minimum",
    "tax",
    "corrections",
    "charge",
    "flags",
    "run",
    "stands_for",
    "created_at",
)


async def export_bills(
    database: Database,
    project_id: str,
    wanted: RecordFilter,
    *,
    projects: Sequence[str] | None = None,
    bom: bool = False,
) -> AsyncGenerator[str, None]:
    """Yield the CSV of bills that meet conditions, the newest first, piece by piece; the first is the head.

    :param bom: begin with a byte order mark, so that spreadsheets read it as UTF-8
    :raises NotFoundError: the project is not the caller's
    :raises InvalidInputError: see `include.bills.lists.narrow`
    :raises DatabaseUnavailableError: the database is away
    """
    require_visible(project_id, projects)
    async with snapshot(database) as connection:
        repository = BillRecordRepository(connection, [project_id])
        narrowed = await narrow(repository, project_id, wanted)
        yield (BOM if bom else "") + csv_text([COLUMNS])
        if narrowed is None:
            return
        async with aclosing(repository.each_record_id(project_id, narrowed, PIECE)) as pieces:
            async for ids in pieces:
                yield csv_text(row(bill) for bill in await repository.find_records(ids))


def row(bill: BillRecord) -> list[str]:
    """Return the cells of a bill. Texts are made harmless; numbers and times are ours."""
    zone = ZoneInfo(bill.timezone)
    texts = (bill.service_point, bill.device_id, bill.commodity, bill.subtype or "", *bill.address)
    return [
        bill.key,
        str(bill.id),
        *map(harmless, texts),
        bill.state,
        _time(bill.period_from, zone),
        _time(bill.period_to, zone),
        bill.timezone,
        all_decimals(bill.previous_quantity),
        all_decimals(bill.quantity),
        harmless(bill.unit),
        _number(bill.opening),
        _number(bill.closing),
        *(f"{amount:.2f}" for amount in (bill.energy, bill.fixed, bill.minimum, bill.tax)),
        f"{bill.corrections:.2f}",
        f"{bill.charge:.2f}",
        " ".join(bill.flags),
        _id(bill.run_id),
        _id(bill.original_bill_id),
        _time(bill.created_at, zone),
    ]


def _time(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _number(value: Decimal | None) -> str:
    return "" if value is None else all_decimals(value)


def _id(value: int | None) -> str:
    return "" if value is None else str(value)
