"""The statements on bills that were made: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.bills.model import BillFilter, BillPage, DateSpan, ListedBill
from include.kit.db import Connection
from include.kit.sql import load_queries

queries = load_queries(__file__)


class BillRepository:
    """One method a statement, on a connection whose transaction somebody else commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def page_bills(self, wanted: BillFilter, *, limit: int, offset: int, timezone: str) -> BillPage:
        return await self._page(queries.page_bills, wanted, limit, offset, timezone)

    async def page_device_bills(
        self, wanted: BillFilter, *, limit: int, offset: int, timezone: str
    ) -> BillPage:
        return await self._page(queries.page_device_bills, wanted, limit, offset, timezone)

    async def span_bills(
        self, wanted: BillFilter, span: DateSpan, *, after: ListedBill | None, limit: int, timezone: str
    ) -> list[ListedBill]:
        return await self._span(queries.span_bills, wanted, span, after, limit, timezone)

    async def span_device_bills(
        self, wanted: BillFilter, span: DateSpan, *, after: ListedBill | None, limit: int, timezone: str
    ) -> list[ListedBill]:
        return await self._span(queries.span_device_bills, wanted, span, after, limit, timezone)

    async def _page(
        self, statement: str, wanted: BillFilter, limit: int, offset: int, timezone: str
    ) -> BillPage:
        cursor = await self.connection.execute(
            statement, {**_columns(wanted), "limit": limit, "offset": offset, "timezone": timezone}
        )
        rows = await cursor.fetchall()
        counts = [row.pop("count") for row in rows]
        return BillPage(counts[0], [ListedBill(**row) for row in rows if row["id"] is not None])

    async def _span(
        self,
        statement: str,
        wanted: BillFilter,
        span: DateSpan,
        after: ListedBill | None,
        limit: int,
        timezone: str,
    ) -> list[ListedBill]:
        cursor = await self.connection.execute(
            statement,
            {
                **_columns(wanted),
                "start": span.start,
                "end": span.end,
                "before_at": after.period_to if after else "infinity",
                "before_id": after.id if after else 0,
                "limit": limit,
                "timezone": timezone,
            },
        )
        return [ListedBill(**row) for row in await cursor.fetchall()]


def _columns(wanted: BillFilter) -> Mapping[str, Any]:
    return {
        "project_id": wanted.project_id,
        "commodities": list(wanted.commodities),
        "device_id": wanted.device_id,
        "subtype": wanted.subtype,
    }
