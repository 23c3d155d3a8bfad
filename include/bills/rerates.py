"""Use cases that ask what bills would be now: dry runs of a billing, and bills looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from include.billing.model import COMMODITIES, Commodity, Facts
from include.billing.repository import BillingRepository
from include.billing.rerating import Difference, rerate
from include.billing.runs import BillingRuns, Previewed
from include.billing.stored import StoredBill
from include.bills.detail import BillDetails
from include.bills.lists import require_visible
from include.bills.record_repository import BillRecordRepository
from include.bills.records import BillDetail, BillLine, BillRecord, BillRef
from include.cron import CronSchedule
from include.errors import ConflictError, InvalidInputError
from include.kit.db import Connection, Database
from include.readings.rerates import request_rerates

#: Service points of one call.
POINTS_MOST = 10_000

#: Service points whose readings are in memory at a time.
SLICE = 200

ZERO = Decimal(0)


# --- dry runs


@dataclass(frozen=True, slots=True)
class PreviewOrder:
    """What would be billed: all of a commodity up to an instant.

    :ivar keys: of the service points only these
    :ivar task: the key of the task whose crontab says how long a period is; None: the only one
    """

    commodity: Commodity
    at: datetime
    keys: Sequence[str] | None = None
    task: str | None = None
    limit: int = 10


@dataclass(slots=True)
class Preview:
    """What a billing would do. `bills` are some of those that it would make."""

    period_to: datetime
    billed: int = 0
    adjusted: int = 0
    parked: int = 0
    parked_by_kind: dict[str, int] = field(default_factory=dict)
    total: Decimal = ZERO
    bills: list[BillDetail] = field(default_factory=list)


async def preview_billing(
    database: Database, project_id: str, order: PreviewOrder, *, projects: Sequence[str] | None
) -> Preview:
    """Bill in transactions that are rolled back, with the code of runs.

    :raises NotFoundError: the project is not the caller's
    :raises InvalidInputError: unknown service points or task
    :raises ConflictError: no billing task says how long a period is
    """
    require_visible(project_id, projects)
    async with database.transaction() as connection:
        repository = BillRecordRepository(connection, [project_id])
        cron = await _crontab(repository, project_id, order)
        ids = None
        if order.keys is not None:
            ids = await _point_ids(repository, project_id, order.keys, order.commodity)
    found = Preview(order.at)
    runs = BillingRuns(database).preview(project_id, order.commodity, order.at, cron, only_ids=ids)
    async with aclosing(runs) as chunks:  # type: ignore[type-var]  # it is a generator
        async for one in chunks:
            await _count(found, one, order.limit)
    return found


async def _crontab(repository: BillRecordRepository, project_id: str, order: PreviewOrder) -> CronSchedule:
    rows = await repository.list_crontabs(project_id, order.commodity)
    if order.task is not None:
        rows = [row for row in rows if row["natrual_key"] == order.task]
        if not rows:
            raise InvalidInputError(
                f"there is no billing task {order.task!r} for {order.commodity}", field="task"
            )
    rows = [row for row in rows if row["enabled"]] or rows
    if not rows:
        raise ConflictError(f"no billing task of the project is for {order.commodity}")
    if len({(row["expression"], row["timezone"]) for row in rows}) > 1:
        raise InvalidInputError("there are several billing tasks: say whose crontab counts", field="task")
    return CronSchedule.from_canonical(rows[0]["expression"], rows[0]["timezone"])


async def _count(found: Preview, one: Previewed, limit: int) -> None:
    """Add a chunk to a preview while its bills are there."""
    chunk = one.chunk
    repository = BillRecordRepository(one.connection, [chunk.project_id])
    await repository.plan_for_rows()
    found.period_to = chunk.period_to
    found.billed += one.result.billed
    found.adjusted += one.adjusted
    found.parked += one.result.parked
    found.total += one.result.total
    span = (chunk.project_id, chunk.low, chunk.high, chunk.period_to)
    if one.result.parked:
        kinds = await repository.previewed_parked(*span, chunk.commodity, chunk.only_ids)
        for kind, points in kinds.items():
            found.parked_by_kind[kind] = found.parked_by_kind.get(kind, 0) + points
    wanted = limit - len(found.bills)
    if wanted > 0 and one.result.billed:
        ids = await repository.previewed_bills(*span, chunk.cutoff, wanted)
        bills = sorted(await repository.find_records(ids), key=lambda bill: bill.service_point_id)
        found.bills += await BillDetails(one.connection, projects=[chunk.project_id]).details(bills)


# --- bills looked at again


@dataclass(frozen=True, slots=True)
class Rerated:
    """A bill with its lines, and what it would be as of `cutoff`."""

    bill: BillRecord
    lines: Sequence[BillLine]
    difference: Difference
    cutoff: datetime


async def rerate_bill(connection: Connection, ref: BillRef, *, projects: Sequence[str] | None) -> Rerated:
    """Price a bill with what is known now, and write nothing.

    :raises NotFoundError: no such bill for this caller
    :raises ConflictError: it is void, or cannot be priced with what is known now
    """
    repository = BillRecordRepository(connection, projects)
    bill = await BillDetails(connection, projects=projects).find(ref)
    if bill.state == "void":
        raise ConflictError(f"bill {bill.id} is void")
    cutoff = await repository.moment()
    looked = await _look(connection, {bill.service_point_id: bill.period_from}, cutoff)
    found = next((one for one in looked.differences if one.bill.id == bill.id), None)
    if found is None:
        raise ConflictError(f"bill {bill.id} cannot be priced with what is known now")
    lines = (await repository.list_lines([bill.id])).get(bill.id, [])
    return Rerated(bill, [line for line in lines if line.adjustment_id is None], found, cutoff)


@dataclass(frozen=True, slots=True)
class RangeOrder:
    """Which bills are looked at again: those that end after `ends_after`, and at `ends_by` or before.

    :ivar keys: of the service points only these
    :ivar after: of the service points only those of a higher id
    :ivar commit: write the differences as adjustments
    :ivar reason: for the audit
    """

    ends_after: datetime
    ends_by: datetime
    commodity: Commodity | None = None
    keys: Sequence[str] | None = None
    after: int = 0
    commit: bool = False
    reason: str | None = None
    limit: int = 100


@dataclass(slots=True)
class RangeReport:
    """What was found.

    :ivar unpriced: bills that cannot be priced with what is known now, and those after them
    :ivar items: some of the differences with the bills that they are about
    :ivar next_after: there are more service points, of higher ids than this
    """

    cutoff: datetime
    service_points: int = 0
    bills: int = 0
    unpriced: int = 0
    changed: int = 0
    quantity: Decimal = ZERO
    amount: Decimal = ZERO
    items: list[tuple[BillRecord, Difference]] = field(default_factory=list)
    next_after: int | None = None


@dataclass(frozen=True, slots=True)
class _Looked:
    bills: int
    differences: Sequence[Difference]


class RangeRerating:
    """Re-rates the bills of a range, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    :param actor: who asks, for the audit
    :raises NotFoundError: the project is not one of them
    """

    def __init__(
        self, connection: Connection, project_id: str, *, projects: Sequence[str] | None, actor: str
    ) -> None:
        require_visible(project_id, projects)
        self.connection = connection
        self.project_id = project_id
        self.actor = actor
        self.repository = BillRecordRepository(connection, [project_id])
        self.billing = BillingRepository(connection)

    async def run(self, order: RangeOrder) -> RangeReport:
        """Look at the bills of up to `POINTS_MOST` service points.

        With `commit`, differences become adjustments. Where later bills than those were made, all after
        `ends_after` are looked at again in the next run, since the tiers of a year shift with them.

        :raises InvalidInputError: no span, or unknown service points
        """
        if order.ends_by <= order.ends_after:
            raise InvalidInputError("must be after from", field="to")
        points = await self._points(order)
        page = points[:POINTS_MOST]
        if order.commit:
            await self._lock(page)
        report = RangeReport(await self.repository.moment(), len(page))
        report.next_after = page[-1][0] if len(points) > POINTS_MOST else None
        for begin in range(0, len(page), SLICE):
            await self._slice([id_ for id_, _ in page[begin : begin + SLICE]], order, report)
        return report

    async def _points(self, order: RangeOrder) -> list[tuple[int, Commodity]]:
        ids = None
        if order.keys is not None:
            ids = await _point_ids(self.repository, self.project_id, order.keys, order.commodity)
        commodities = [order.commodity] if order.commodity else COMMODITIES
        return await self.repository.billed_points(
            self.project_id,
            commodities,
            order.ends_after,
            order.ends_by,
            only_ids=ids,
            after=order.after,
            limit=POINTS_MOST + 1,
        )

    async def _lock(self, points: Sequence[tuple[int, Commodity]]) -> None:
        for commodity in sorted({of for _, of in points}):
            ids = [id_ for id_, of in points if of == commodity]
            await self.billing.lock_points(self.project_id, commodity, ids[0], ids[-1])

    async def _slice(self, ids: Sequence[int], order: RangeOrder, report: RangeReport) -> None:
        looked = await _look(
            self.connection, dict.fromkeys(ids, order.ends_after), report.cutoff, order.ends_by
        )
        found = [one for one in looked.differences if not one.is_nothing]
        report.bills += looked.bills
        report.unpriced += looked.bills - len(looked.differences)
        report.changed += len(found)
        report.quantity += sum((one.quantity for one in found), ZERO)
        report.amount += sum((one.amount for one in found), ZERO)
        shown = found[: order.limit - len(report.items)]
        records = {one.id: one for one in await self.repository.find_records([one.bill.id for one in shown])}
        report.items += [(records[one.bill.id], one) for one in shown]
        if order.commit and found:
            await self._commit(found, order, report.cutoff)

    async def _commit(self, found: Sequence[Difference], order: RangeOrder, cutoff: datetime) -> None:
        await self.billing.insert_adjustments(
            self.project_id, [one.adjustment() for one in found], cutoff=cutoff, now=cutoff
        )
        points = {one.bill.service_point_id for one in found}
        await request_rerates(self.connection, self.project_id, dict.fromkeys(points, order.ends_after))
        details = {
            one.bill.id: {"reason": order.reason, "quantity": one.quantity, "amount": one.amount}
            for one in found
        }
        await self.repository.audit(self.project_id, details, "rerate", self.actor, cutoff)


async def _look(
    connection: Connection, since: Mapping[int, datetime], cutoff: datetime, until: datetime | None = None
) -> _Looked:
    """Price the bills of service points that end after a moment again, up to those that end at `until`."""
    billing = BillingRepository(connection)
    facts = await billing.load_facts(list(since), cutoff)
    chains = {
        point: [bill for bill in chain if until is None or bill.period_to <= until]
        for point, chain in (await billing.load_chain(since)).items()
    }
    # Ten thousand service points take minutes: other requests of this process go on meanwhile.
    differences = await asyncio.to_thread(_rerate_all, facts, chains)
    bills = sum(1 for chain in chains.values() for bill in chain if not bill.earlier)
    return _Looked(bills, differences)


def _rerate_all(facts: Mapping[int, Facts], chains: Mapping[int, Sequence[StoredBill]]) -> list[Difference]:
    return [
        one
        for point, chain in chains.items()
        if point in facts
        for one in rerate(facts[point], chain).differences
    ]


async def _point_ids(
    repository: BillRecordRepository, project_id: str, keys: Sequence[str], commodity: Commodity | None
) -> list[int]:
    """Return the ids of service points by key. Raises InvalidInputError naming the first that is no good."""
    found = await repository.find_points(project_id, keys)
    for index, key in enumerate(keys):
        if key not in found:
            raise InvalidInputError(f"there is no service point {key!r}", field=f"service_points.{index}")
        if commodity not in (None, found[key][1]):
            raise InvalidInputError(
                f"service point {key!r} is of {found[key][1]}", field=f"service_points.{index}"
            )
    return sorted({id_ for id_, _ in found.values()})
