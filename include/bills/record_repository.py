"""The statements on bills with their parts, runs and adjustments; those on lists of document 000 are in
`repository.py`. Both have this domain's `queries.sql`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import orjson

from include.billing.model import Commodity, Quantity
from include.bills.records import (
    Adjustment,
    AdjustmentKind,
    AuditEntry,
    BillLine,
    BillRecord,
    BillShare,
    RecordFilter,
    RunRecord,
    RunState,
    State,
)
from include.kit.db import Connection, Repository
from include.kit.sql import load_queries
from include.settings import get_settings

queries = load_queries(__file__)

#: Before the first of a list that has the largest first.
LAST_ID = 2**63 - 1

Row = Mapping[str, Any]
T = TypeVar("T")


class BillRecordRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits.

    :param projects: the only ones whose bills are found, None for all
    """

    def __init__(self, connection: Connection, projects: Sequence[str] | None = None) -> None:
        super().__init__(connection)
        self.projects = None if projects is None else list(projects)

    # --- bills

    async def page_record_ids(
        self, project_id: str, wanted: RecordFilter, before: tuple[datetime, int] | None, limit: int
    ) -> list[int]:
        statement, parameters = _list_of(project_id, wanted, before, limit)
        return [row["id"] for row in await self._rows(statement, **parameters)]

    async def each_record_id(
        self, project_id: str, wanted: RecordFilter, size: int
    ) -> AsyncGenerator[list[int], None]:
        """Yield the ids of all bills wanted, so many at a time, from a cursor of the server."""
        statement, parameters = _list_of(project_id, wanted, None, None)
        async with self.connection.cursor(name="bills") as cursor:
            await cursor.execute(statement, parameters)
            while rows := await cursor.fetchmany(size):
                yield [row["id"] for row in rows]

    async def find_records(self, ids: Sequence[int]) -> list[BillRecord]:
        rows = await self._rows(
            queries.find_records, ids=list(ids), projects=self.projects, timezone=get_settings().timezone
        )
        return [BillRecord(**row) for row in rows]

    async def list_quantities(self, bill_ids: Sequence[int]) -> Mapping[int, list[Quantity]]:
        return await self._parts(queries.list_quantities, bill_ids, Quantity)

    async def list_lines(self, bill_ids: Sequence[int]) -> Mapping[int, list[BillLine]]:
        return await self._parts(queries.list_lines, bill_ids, BillLine)

    async def list_shares(self, bill_ids: Sequence[int]) -> Mapping[int, list[BillShare]]:
        return await self._parts(queries.list_shares, bill_ids, BillShare)

    async def list_corrections_of(self, bill_ids: Sequence[int]) -> list[Adjustment]:
        rows = await self._rows(queries.list_corrections_of, bill_ids=list(bill_ids))
        return [Adjustment(**row) for row in rows]

    async def list_audit(self, bill_id: int) -> list[AuditEntry]:
        return [AuditEntry(**row) for row in await self._rows(queries.list_audit, bill_id=bill_id)]

    # --- adjustments and runs

    async def list_adjustments(
        self,
        project_id: str,
        *,
        service_point: str | None,
        kind: AdjustmentKind | None,
        open: bool | None,
        before_id: int,
        limit: int,
    ) -> list[Adjustment]:
        rows = await self._rows(
            queries.list_adjustments,
            project_id=project_id,
            service_point=service_point,
            kind=kind,
            open=open,
            before_id=before_id,
            limit=limit,
        )
        return [Adjustment(**row) for row in rows]

    async def list_runs(
        self,
        *,
        id: int | None = None,
        projects: Sequence[str] | None,
        commodity: Commodity | None = None,
        state: RunState | None = None,
        before_id: int = LAST_ID,
        limit: int = 1,
    ) -> list[RunRecord]:
        rows = await self._rows(
            queries.list_runs,
            id=id,
            projects=None if projects is None else list(projects),
            commodity=commodity,
            state=state,
            before_id=before_id,
            limit=limit,
        )
        return [RunRecord(**row) for row in rows]

    # --- what changes money

    async def moment(self) -> datetime:
        """Return the present moment by the clock of the database, which stamps readings."""
        [row] = await self._rows(queries.moment)
        now: datetime = row["now"]
        return now

    async def last_bill_id(self, service_point_id: int) -> int | None:
        rows = await self._rows(queries.last_bill, service_point_id=service_point_id)
        return rows[0]["id"] if rows else None

    async def make_void(self, bill_id: int) -> State:
        """Make a bill void and return what it was until then."""
        [row] = await self._rows(queries.make_void, id=bill_id)
        state: State = row["state"]
        return state

    async def make_final(self, bill_id: int) -> bool:
        """Make a draft final and return whether it was one."""
        return bool(await self._rows(queries.make_final, id=bill_id))

    async def tally(self, bill: BillRecord, bills: int) -> None:
        await self._run(
            queries.tally_bills, project_id=bill.project_id, commodity=bill.commodity, bills=bills
        )

    async def reopen_carried(self, bill_id: int) -> list[int]:
        """Have the adjustments that a bill carries wait for another one; returns their ids."""
        return [row["id"] for row in await self._rows(queries.reopen_carried, bill_id=bill_id)]

    async def cancel_found(self, bill_id: int, now: datetime) -> tuple[list[int], Decimal]:
        """Have differences that were found in a bill go on no other bill any more.

        Returns their ids, and what of them is on bills already.
        """
        rows = await self._rows(queries.cancel_found, bill_id=bill_id, now=now)
        return [row["id"] for row in rows], sum((row["carried"] for row in rows), Decimal(0))

    async def hold_back(self, service_point_id: int, but: Sequence[int]) -> list[Row]:
        """Hide what waits for a bill, but some of it; returns what `let_go` brings back."""
        return await self._rows(queries.hold_back, service_point_id=service_point_id, but=list(but))

    async def let_go(self, held: Sequence[Row]) -> None:
        await self._run(
            queries.let_go,
            ids=[row["id"] for row in held],
            open_amounts=[row["open_amount"] for row in held],
        )

    async def move_manual(self, bill_id: int, made_id: int) -> list[int]:
        """Have what a person decided on about a bill be about another one; returns the ids."""
        rows = await self._rows(queries.move_manual, bill_id=bill_id, made_id=made_id)
        return sorted(row["id"] for row in rows)

    async def insert_manual(
        self,
        bill: BillRecord,
        *,
        amount: Decimal,
        quantity: Decimal,
        reason: str,
        detail: Mapping[str, Any],
        actor: str,
        now: datetime,
    ) -> int:
        """Insert a person's correction of a bill and return its id."""
        [row] = await self._rows(
            queries.insert_manual,
            project_id=bill.project_id,
            service_point_id=bill.service_point_id,
            bill_id=bill.id,
            amount=amount,
            quantity=quantity,
            reason=reason,
            detail=_json(detail),
            actor=actor,
            now=now,
        )
        adjustment_id: int = row["id"]
        return adjustment_id

    async def replacement_of(self, bill_id: int, service_point_id: int) -> int | None:
        rows = await self._rows(
            queries.replacement_of, original_bill_id=bill_id, service_point_id=service_point_id
        )
        return rows[0]["id"] if rows else None

    async def why_parked(self, service_point_id: int) -> str | None:
        """Return what the exceptions queue says of a service point without a bill, the newest entry."""
        rows = await self._rows(queries.why_parked, service_point_id=service_point_id)
        return rows[0]["why"] if rows else None

    async def audit(
        self,
        project_id: str,
        details: Mapping[int, Mapping[str, Any]],
        action: str,
        actor: str,
        now: datetime,
    ) -> None:
        """Write what was done with bills, by their ids."""
        await self._run(
            queries.audit_bills,
            project_id=project_id,
            bill_ids=list(details),
            details=[_json(detail) for detail in details.values()],
            action=action,
            actor=actor,
            now=now,
        )

    # --- over many service points

    async def find_points(self, project_id: str, keys: Sequence[str]) -> dict[str, tuple[int, Commodity]]:
        """Return id and commodity of service points by key; unknown keys are left out."""
        rows = await self._rows(queries.find_points, project_id=project_id, keys=list(keys))
        return {row["key"]: (row["id"], row["commodity"]) for row in rows}

    async def billed_points(
        self,
        project_id: str,
        commodities: Sequence[Commodity],
        ends_after: datetime,
        ends_by: datetime,
        *,
        only_ids: Sequence[int] | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, Commodity]]:
        """Return service points that have bills ending within a span, by id."""
        rows = await self._rows(
            queries.billed_points,
            project_id=project_id,
            commodities=list(commodities),
            ends_after=ends_after,
            ends_by=ends_by,
            only_ids=None if only_ids is None else list(only_ids),
            after=after,
            limit=limit,
        )
        return [(row["id"], row["commodity"]) for row in rows]

    async def list_crontabs(self, project_id: str, commodity: Commodity) -> list[Row]:
        """Return the crontabs by which a commodity of a project is billed, those switched on first."""
        return await self._rows(queries.list_crontabs, project_id=project_id, commodity=commodity)

    async def plan_for_rows(self) -> None:
        """Have the rest of a transaction that was planned for many service points planned as usual."""
        await self._run(queries.plan_for_rows)

    async def previewed_bills(
        self, project_id: str, low: int, high: int, period_to: datetime, cutoff: datetime, limit: int
    ) -> list[int]:
        rows = await self._rows(
            queries.previewed_bills,
            project_id=project_id,
            low=low,
            high=high,
            period_to=period_to,
            cutoff=cutoff,
            limit=limit,
        )
        return [row["id"] for row in rows]

    async def previewed_parked(
        self,
        project_id: str,
        low: int,
        high: int,
        period_to: datetime,
        commodity: Commodity,
        only_ids: Sequence[int] | None,
    ) -> dict[str, int]:
        """Return how many service points have no bill, by what the exceptions queue says of them."""
        rows = await self._rows(
            queries.previewed_parked,
            project_id=project_id,
            commodity=commodity,
            low=low,
            high=high,
            period_to=period_to,
            only_ids=None if only_ids is None else list(only_ids),
        )
        return {row["kind"]: row["points"] for row in rows}

    async def currencies(self, version_ids: Sequence[int]) -> list[Row]:
        """Return the tariffs of versions, each with its currency."""
        return await self._rows(queries.currencies_of, version_ids=list(version_ids))

    async def _parts(
        self, statement: str, bill_ids: Sequence[int], build: Callable[..., T]
    ) -> Mapping[int, list[T]]:
        found: dict[int, list[T]] = defaultdict(list)
        for row in await self._rows(statement, bill_ids=list(bill_ids)):
            found[row["bill_id"]].append(
                build(**{name: value for name, value in row.items() if name != "bill_id"})
            )
        return found


def _list_of(
    project_id: str, wanted: RecordFilter, before: tuple[datetime, int] | None, limit: int | None
) -> tuple[str, dict[str, Any]]:
    by_point = wanted.service_point is not None or wanted.device_id is not None
    if before is None or (wanted.ends_to is not None and wanted.ends_to <= before[0]):
        before = None if wanted.ends_to is None else (wanted.ends_to, 0)
    return queries.page_point_record_ids if by_point else queries.page_record_ids, {
        "project_id": project_id,
        "commodities": wanted.commodities,
        "service_point": wanted.service_point,
        "device_id": wanted.device_id,
        "ends_from": wanted.ends_from or "-infinity",
        "before_at": before[0] if before else "infinity",
        "before_id": before[1] if before else 0,
        "state": wanted.state,
        "flags": list(wanted.flags),
        "run_id": wanted.run_id,
        "limit": limit,
    }


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value, default=str).decode()
