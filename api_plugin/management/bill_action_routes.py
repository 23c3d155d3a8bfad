"""What changes money: void bills, make them again, adjust them; and what would change, before it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import APIRouter

from api_plugin.common.auth import Caller, CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.pagination import id_cursor, read_id_cursor
from api_plugin.management.bill_action_schemas import (
    AdjustmentFields,
    CreatedAdjustment,
    PreviewFields,
    PreviewResponse,
    RangeResponse,
    ReasonFields,
    RerateFields,
    RerateResponse,
    difference_of,
    preview_of,
    rerated_of,
)
from api_plugin.management.bill_routes import BillRefDep
from api_plugin.management.bill_schemas import BillResponse, bill_of
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.project_scope import ScopeDep
from include.bills.actions import BillActions
from include.bills.rerates import (
    PreviewOrder,
    RangeOrder,
    RangeReport,
    RangeRerating,
    preview_billing,
    rerate_bill,
)
from include.kit.db import Connection, Database

router = APIRouter(responses={**PROBLEMS, **MISSING})

#: Who acts in a network that the API is open to (CARILLON_OPEN_APIS).
NOBODY = "without a token"

T = TypeVar("T")


@router.post("/bills/{key}/void", tags=["bills"])
async def void_bill(
    ref: BillRefDep, body: ReasonFields, caller: CallerDep, database: DatabaseDep
) -> BillResponse:
    """Make the latest bill of a service point void; its period is billed again in the next run."""
    return bill_of(await _act(database, caller, lambda actions: actions.void(ref, body.reason)))


@router.post("/bills/{key}/regenerate", status_code=201, tags=["bills"])
async def regenerate_bill(
    ref: BillRefDep, body: ReasonFields, caller: CallerDep, database: DatabaseDep
) -> BillResponse:
    """Make a bill void and another one for the same period, with what is known now. Answers the new one."""
    return bill_of(await _act(database, caller, lambda actions: actions.regenerate(ref, body.reason)))


@router.post("/bills/{key}/finalize", tags=["bills"])
async def finalize_bill(ref: BillRefDep, caller: CallerDep, database: DatabaseDep) -> BillResponse:
    """Make a draft final before its days of grace are over."""
    return bill_of(await _act(database, caller, lambda actions: actions.finalize(ref)))


@router.post("/bills/{key}/adjustments", status_code=201, tags=["adjustments"])
async def adjust_bill(
    ref: BillRefDep, body: AdjustmentFields, caller: CallerDep, database: DatabaseDep
) -> CreatedAdjustment:
    """Have the next bill carry a credit or a debit."""
    made = await _act(
        database, caller, lambda actions: actions.adjust(ref, body.amount, body.quantity, body.reason)
    )
    return CreatedAdjustment(id=made)


@router.get("/bills/{key}/rerate", tags=["bills"])
async def get_rerated_bill(ref: BillRefDep, caller: CallerDep, database: DatabaseDep) -> RerateResponse:
    """What a bill would be now, line by line; writes nothing."""
    async with database.transaction() as connection:
        return rerated_of(await rerate_bill(connection, ref, projects=caller.projects))


@router.post("/projects/{project_id}/rerate", tags=["bills"])
async def rerate_bills(body: RerateFields, caller: CallerDep, scope: ScopeDep) -> RangeResponse:
    """What the bills of a span would be now; with `commit`, have the next bills carry the differences."""
    order = RangeOrder(
        body.ends_after,
        body.ends_by,
        body.commodity,
        body.service_points,
        read_id_cursor(body.cursor),
        body.commit,
        body.reason,
        body.limit,
    )

    async def work(connection: Connection) -> RangeReport:
        rerating = RangeRerating(
            connection, scope.project_id, projects=scope.projects, actor=actor_of(caller)
        )
        return await rerating.run(order)

    report = await transact(scope.database, work)
    return RangeResponse(
        cutoff=report.cutoff,
        service_points=report.service_points,
        bills=report.bills,
        unpriced=report.unpriced,
        changed=report.changed,
        quantity_difference=report.quantity,
        amount_difference=report.amount,
        committed=body.commit,
        items=[difference_of(bill, one) for bill, one in report.items],
        next=None if report.next_after is None else id_cursor(report.next_after),
    )


@router.post("/projects/{project_id}/billing-preview", tags=["billing runs"])
async def preview_billing_run(body: PreviewFields, scope: ScopeDep) -> PreviewResponse:
    """What a run would do now: it is done, looked at, and rolled back."""
    order = PreviewOrder(body.commodity, body.at, body.service_points, body.task, body.limit)
    return preview_of(await preview_billing(scope.database, scope.project_id, order, projects=scope.projects))


def actor_of(caller: Caller) -> str:
    """Return who acts, for the audit: names of tokens are not unique."""
    return f"{caller.token.name} (token {caller.token.id})" if caller.token else NOBODY


async def _act(database: Database, caller: Caller, work: Callable[[BillActions], Awaitable[T]]) -> T:
    async def in_transaction(connection: Connection) -> T:
        return await work(BillActions(connection, projects=caller.projects, actor=actor_of(caller)))

    return await transact(database, in_transaction)
