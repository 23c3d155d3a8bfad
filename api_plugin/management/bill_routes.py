"""Bills that were made: look at them, have them explained, export them; runs and adjustments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AfterValidator
from starlette.responses import StreamingResponse

from api_plugin.common.auth import Caller, CallerDep
from api_plugin.common.database import DatabaseDep
from api_plugin.common.exports import CSV_ANSWERS, csv_response
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    Page,
    PageCursor,
    PageLimit,
    moment_cursor,
    page_of,
    read_id_cursor,
    read_moment_cursor,
)
from api_plugin.management.bill_schemas import (
    AdjustmentResponse,
    BillDetailResponse,
    BillResponse,
    ExplainedResponse,
    RunResponse,
    ShareResponse,
    SharesResponse,
    bill_of,
)
from api_plugin.management.ledger_routes import From, OptionalId, To
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.project_scope import ScopeDep
from api_plugin.management.routes import RowId
from api_plugin.management.tariff_routes import KeyFilter
from include.billing.model import Commodity
from include.bills.detail import BillDetails, require_unmasking
from include.bills.export import export_bills
from include.bills.lists import BillLists, find_run
from include.bills.records import (
    AdjustmentKind,
    BillRef,
    Flag,
    RecordFilter,
    RunState,
    State,
    read_bill_ref,
)

router = APIRouter(responses={**PROBLEMS, **MISSING})


def _checked(text: str) -> str:
    read_bill_ref(text)
    return text


def _bill_ref(
    key: Annotated[
        str, Path(description="24 hexadecimal digits, or the bill's number"), AfterValidator(_checked)
    ],
) -> BillRef:
    return read_bill_ref(key)


BillRefDep = Annotated[BillRef, Depends(_bill_ref)]
Unmask = Annotated[
    bool, Query(description="telephone numbers in full: for tokens that are not restricted to projects")
]


def _filter(
    commodity: Commodity | None = None,
    service_point: KeyFilter = None,
    device_id: KeyFilter = None,
    state: State | None = None,
    ends_from: From = None,
    ends_to: To = None,
    flags: Annotated[
        list[Flag],
        Query(description="the bill has all of them; beside from, run, service_point or device_id"),
    ] = [],  # noqa: B006
    run: OptionalId = None,
) -> RecordFilter:
    return RecordFilter(commodity, service_point, device_id, state, ends_from, ends_to, tuple(flags), run)


FilterDep = Annotated[RecordFilter, Depends(_filter)]


@router.get("/bills/{key}", tags=["bills"])
async def get_bill(
    ref: BillRefDep, caller: CallerDep, database: DatabaseDep, unmask: Unmask = False
) -> BillDetailResponse:
    """One bill with quantities, lines, shares, what corrects it, and what it was made of."""
    _check_unmask(caller, unmask)
    async with database.transaction() as connection:
        found = await BillDetails(connection, projects=caller.projects).detail(ref)
    return BillDetailResponse.of(found, unmask=unmask)


@router.get("/bills/{key}/shares", tags=["bills"])
async def list_bill_shares(
    ref: BillRefDep, caller: CallerDep, database: DatabaseDep, unmask: Unmask = False
) -> SharesResponse:
    """To whom a bill falls."""
    _check_unmask(caller, unmask)
    async with database.transaction() as connection:
        bill, shares = await BillDetails(connection, projects=caller.projects).shares(ref)
    items = [ShareResponse.of(one, unmask=unmask) for one in shares]
    return SharesResponse(key=bill.key, id=bill.id, charge=bill.charge, items=items)


@router.get("/bills/{key}/explain", tags=["bills"])
async def explain_bill(ref: BillRefDep, caller: CallerDep, database: DatabaseDep) -> ExplainedResponse:
    """Say in words how a bill came about, line by line."""
    async with database.transaction() as connection:
        bill, sentences = await BillDetails(connection, projects=caller.projects).explain(ref)
    return ExplainedResponse(key=bill.key, id=bill.id, sentences=list(sentences), text="\n".join(sentences))


@router.get("/projects/{project_id}/bills", tags=["bills"])
async def list_project_bills(
    scope: ScopeDep, wanted: FilterDep, limit: PageLimit = PAGE_DEFAULT, cursor: PageCursor = None
) -> Page[BillResponse]:
    """Bills of a project, the latest end first; `from` and `to` are about the end of the period."""
    before = read_moment_cursor(cursor)
    async with scope.database.transaction() as connection:
        lists = BillLists(connection, scope.project_id, projects=scope.projects)
        rows = await lists.bills(wanted, before=before, limit=limit + 1)
    return page_of(rows, limit, bill_of, lambda row: moment_cursor(row.period_to, row.id))


@router.get(
    "/projects/{project_id}/bills/export",
    tags=["bills"],
    response_class=StreamingResponse,
    responses=CSV_ANSWERS,
)
async def export_project_bills(
    scope: ScopeDep,
    wanted: FilterDep,
    bom: Annotated[bool, Query(description="begin with a byte order mark, for spreadsheets")] = False,
) -> StreamingResponse:
    """All bills that meet the conditions as CSV, of one moment, however many there are."""
    pieces = export_bills(scope.database, scope.project_id, wanted, projects=scope.projects, bom=bom)
    return await csv_response(pieces, "bills.csv")


@router.get("/projects/{project_id}/billing-runs", tags=["billing runs"])
async def list_billing_runs(
    scope: ScopeDep,
    commodity: Commodity | None = None,
    state: RunState | None = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[RunResponse]:
    """Billing runs of a project, the newest first."""
    before_id = read_id_cursor(cursor)
    async with scope.database.transaction() as connection:
        lists = BillLists(connection, scope.project_id, projects=scope.projects)
        rows = await lists.runs(commodity=commodity, state=state, before_id=before_id, limit=limit + 1)
    return page_of(rows, limit, RunResponse.model_validate)


@router.get("/billing-runs/{run_id}", tags=["billing runs"])
async def get_billing_run(run_id: RowId, caller: CallerDep, database: DatabaseDep) -> RunResponse:
    """One billing run."""
    async with database.transaction() as connection:
        return RunResponse.model_validate(await find_run(connection, run_id, projects=caller.projects))


@router.get("/projects/{project_id}/adjustments", tags=["adjustments"])
async def list_adjustments(
    scope: ScopeDep,
    service_point: KeyFilter = None,
    kind: AdjustmentKind | None = None,
    open: Annotated[bool | None, Query(description="whether something of it waits for a bill")] = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[AdjustmentResponse]:
    """Corrections of bills, the newest first."""
    before_id = read_id_cursor(cursor)
    async with scope.database.transaction() as connection:
        lists = BillLists(connection, scope.project_id, projects=scope.projects)
        rows = await lists.adjustments(
            service_point=service_point, kind=kind, open=open, before_id=before_id, limit=limit + 1
        )
    return page_of(rows, limit, AdjustmentResponse.model_validate)


def _check_unmask(caller: Caller, unmask: bool) -> None:
    if unmask:
        require_unmasking(caller.token is not None, caller.projects)
