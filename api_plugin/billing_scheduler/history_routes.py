"""The bills of document 000: pages of them, and all of a span of dates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from api_plugin.billing_scheduler.schemas import (
    PAGE_DEFAULT,
    PAGE_SIZE_DEFAULT,
    SPAN_TYPES,
    TASK_TYPES,
    BillOut,
    DateQuery,
    DeviceQuery,
    Listed,
    Page,
    PageSize,
    ProjectQuery,
    SpanBillOut,
    SpanTypeQuery,
    SubtypeQuery,
    TaskTypeQuery,
    commodities_of,
    listed,
    local_time,
    read_span,
)
from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.envelope import Envelope, ok
from api_plugin.common.spellings import spelled
from include.bills.model import BillFilter, ListedBill, all_decimals, two_decimals
from include.bills.service import BillHistory, bills_of_span

router = APIRouter(tags=["history"])

_SPAN_HEAD = b'{"meta":{"code":0,"message":"success"},"data":['
_SPAN_TAIL = b"]}"


@spelled(router, "GET", "/history/")
async def list_bills(
    caller: CallerDep,
    database: DatabaseDep,
    project_id: ProjectQuery,
    device_type: TaskTypeQuery,
    device_id: DeviceQuery = "",
    page: Page = PAGE_DEFAULT,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
) -> Envelope[Listed[BillOut]]:
    """Return a page of a project's bills, the newest first."""
    wanted = BillFilter(str(project_id), commodities_of(TASK_TYPES, device_type), device_id or None)
    found = await transact(
        database,
        lambda connection: BillHistory(connection, projects=caller.projects).page(
            wanted, limit=page_size, offset=(page - 1) * page_size
        ),
    )
    bills = [BillOut(**_bill(bill, TASK_TYPES[bill.commodity])) for bill in found.bills]
    return ok("info list", listed(bills, found.count, page, page_size))


@spelled(router, "GET", "/history/time/", answer=Envelope[list[SpanBillOut]])
async def list_bills_of_span(
    caller: CallerDep,
    database: DatabaseDep,
    project_id: ProjectQuery,
    device_type: SpanTypeQuery,
    start_date: DateQuery,
    end_date: DateQuery,
    device_id: DeviceQuery = "",
    wm_type: SubtypeQuery = "",
) -> StreamingResponse:
    """Return all bills whose period ends on these dates, both included, the newest first."""
    wanted = BillFilter(
        str(project_id), commodities_of(SPAN_TYPES, device_type), device_id or None, wm_type or None
    )
    pieces = bills_of_span(database, wanted, read_span(start_date, end_date), projects=caller.projects)
    # Read before the answer begins: what goes wrong until here is told in the API's form.
    first = await anext(pieces)
    return StreamingResponse(_written(first, pieces), media_type="application/json")


async def _written(first: list[ListedBill], rest: AsyncIterator[list[ListedBill]]) -> AsyncIterator[bytes]:
    yield _SPAN_HEAD + _items(first)
    async for piece in rest:
        if piece:
            yield b"," + _items(piece)
    yield _SPAN_TAIL


def _items(bills: list[ListedBill]) -> bytes:
    """Return bills as JSON without the brackets of a list."""
    return orjson.dumps([_span_bill(bill) for bill in bills])[1:-1]


def _span_bill(bill: ListedBill) -> dict[str, Any]:
    return {
        **_bill(bill, SPAN_TYPES[bill.commodity]),
        "house_address": bill.address,
        "residents": [{"name": one["name"], "cellphone": one["cellphone"]} for one in bill.residents],
        "previous_reading_data": two_decimals(bill.shown_readings[0]),
        "shares": [{"weight": one["weight"], "amount": one["amount"]} for one in bill.residents],
    }


def _bill(bill: ListedBill, device_type: int) -> dict[str, Any]:
    zone = ZoneInfo(bill.timezone)
    return {
        "id": bill.key,
        "device_id": bill.device_id,
        "device_type": device_type,
        "charge": two_decimals(bill.charge),
        "reading_data": two_decimals(bill.shown_readings[1]),
        "from_time": local_time(bill.period_from, zone),
        "to_time": local_time(bill.period_to, zone),
        "created_at": local_time(bill.created_at, zone),
        "consumption": all_decimals(bill.quantity),
        "opening_reading": _reading(bill.opening),
        "closing_reading": _reading(bill.closing),
        "unit": bill.unit,
        "state": bill.state,
        "flags": bill.flags,
    }


def _reading(value: Decimal | None) -> str | None:
    return None if value is None else all_decimals(value)
