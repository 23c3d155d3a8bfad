"""Maintenance beside document 002: what will be due, what became of it, many tasks at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api_plugin.common.auth import CallerDep, verified_token
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.exports import CSV_ANSWERS, csv_response
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    KeyCursor,
    Page,
    PageCursor,
    PageLimit,
    id_cursor,
    key_cursor,
    moment_cursor,
    page_of,
    read_id_cursor,
    read_key_cursor,
    read_moment_cursor,
)
from api_plugin.management.ledger_routes import From, Moment, To
from api_plugin.management.maintenance_schemas import (
    ComplianceReport,
    ComplianceResponse,
    HandledManyResponse,
    HandledResponse,
    HandleManyBody,
    OccurrenceResponse,
    OutlookResponse,
)
from api_plugin.management.maintenance_scope import ObjectId, Organization, Uid
from api_plugin.management.problems import MISSING, PROBLEMS
from include.errors import InvalidInputError, PermissionDeniedError
from include.kit.db import Connection
from include.maintenance.bulk import handle_many
from include.maintenance.clock import maintenance_clock
from include.maintenance.handling import HandlingService
from include.maintenance.history import HistoryFilter, HistoryService, ReportBy, export_history
from include.maintenance.icalendar_feed import feed
from include.maintenance.model import Handle, HandleFields, TaskState
from include.maintenance.outlook import MONTHS_MOST, OutlookService
from include.metering.problems import Problems
from include.tokens.model import CALENDAR

router = APIRouter(prefix="/maintenance", tags=["maintenance"], responses={**PROBLEMS, **MISSING})
open_router = APIRouter(tags=["maintenance"], responses=PROBLEMS)

UidFilter = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="uid of a project")]


@router.get("/projects/{uid}/preview")
async def preview_maintenance_project(
    uid: Uid,
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
    months: Annotated[int, Query(ge=1, le=MONTHS_MOST)] = MONTHS_MOST,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[OutlookResponse]:
    """What will be due of the objects of a project, in its order; of statistics by how they grew lately."""
    after = read_id_cursor(cursor)
    async with database.transaction() as connection:
        _, rows = await OutlookService(connection, projects=caller.projects).preview(
            uid, months=months, organization_id=organization_id, after=after, limit=limit + 1
        )
    return page_of(rows, limit, OutlookResponse.model_validate, lambda row: id_cursor(row.position))


@open_router.get(
    "/maintenance/calendar.ics",
    response_class=Response,
    responses={200: {"description": "iCalendar", "content": {"text/calendar": {}}}},
)
async def get_maintenance_calendar(
    request: Request,
    database: DatabaseDep,
    token: Annotated[
        str,
        Query(max_length=64, description="one that opens `calendar` and nothing else: it is in an address"),
    ],
    project: UidFilter = None,
    organization_id: Organization = None,
) -> Response:
    """What is and will be due within a year, for calendar programs to subscribe to."""
    # These programs send no header: the address is all that they are given.
    holder = await verified_token(request, token)
    if holder.apis != (CALENDAR,):
        raise PermissionDeniedError("an address may only hold a token that opens `calendar` and nothing else")
    async with database.transaction() as connection:
        entries = await OutlookService(connection, projects=holder.projects).calendar(
            uid=project, organization_id=organization_id
        )
    content = feed(entries, now=maintenance_clock(), name=f"Maintenance {project or ''}".strip())
    return Response(
        content, media_type="text/calendar; charset=utf-8", headers={"Cache-Control": "private, max-age=300"}
    )


def _filter(
    organization_id: Organization = None,
    project: UidFilter = None,
    object_id: Annotated[ObjectId | None, Query()] = None,
    state: TaskState | None = None,
    noticed_from: From = None,
    noticed_to: To = None,
) -> HistoryFilter:
    return HistoryFilter(organization_id, project, object_id, state, noticed_from, noticed_to)


FilterDep = Annotated[HistoryFilter, Depends(_filter)]


@router.get("/history")
async def list_maintenance_history(
    wanted: FilterDep,
    caller: CallerDep,
    database: DatabaseDep,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[OccurrenceResponse]:
    """Tasks in whatever state, with what became of them, the newest first; from and to: when noticed."""
    before = read_moment_cursor(cursor)
    async with database.transaction() as connection:
        rows = await HistoryService(connection, projects=caller.projects).occurrences(
            wanted, before=before, limit=limit + 1
        )
    return page_of(
        rows, limit, OccurrenceResponse.model_validate, lambda row: moment_cursor(row.noticed_at, row.id)
    )


@router.get("/history/export", response_class=StreamingResponse, responses=CSV_ANSWERS)
async def export_maintenance_history(
    wanted: FilterDep,
    caller: CallerDep,
    database: DatabaseDep,
    bom: Annotated[bool, Query(description="begin with a byte order mark, for spreadsheets")] = False,
) -> StreamingResponse:
    """All of it as CSV, of one moment."""
    pieces = export_history(database, wanted, projects=caller.projects, bom=bom)
    return await csv_response(pieces, "maintenance.csv")


@router.get("/compliance")
async def get_maintenance_compliance(
    start: Annotated[Moment, Query(alias="from", description="inclusive, ISO 8601 with an offset")],
    end: Annotated[Moment, Query(alias="to", description="exclusive, ISO 8601 with an offset")],
    caller: CallerDep,
    database: DatabaseDep,
    by: ReportBy = "project",
    organization_id: Organization = None,
    project: UidFilter = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: KeyCursor = None,
) -> ComplianceReport:
    """How well was kept what was due in a span, and what it cost."""
    if end <= start:
        raise InvalidInputError("must be later than from", field="to")
    after = read_key_cursor(cursor)
    async with database.transaction() as connection:
        rows = await HistoryService(connection, projects=caller.projects).compliance(
            by,
            start,
            end,
            organization_id=organization_id,
            project=project,
            after=after,
            limit=limit + 1,
        )
    page = page_of(rows, limit, ComplianceResponse.model_validate, lambda row: key_cursor(row.key))
    return ComplianceReport(by=by, start=start, end=end, items=page.items, next=page.next)


@router.post("/tasks/handle")
async def handle_maintenance_tasks(
    body: HandleManyBody, caller: CallerDep, database: DatabaseDep
) -> HandledManyResponse:
    """Handle many tasks, all or none."""
    rows = _rows(body)

    async def work(connection: Connection) -> list[Handle]:
        service = HandlingService(connection, projects=caller.projects)
        return await handle_many(service, rows, caller.token.id if caller.token else 0)

    handles = await transact(database, work)
    return HandledManyResponse(
        items=[HandledResponse(task_id=one.task.uid, handle_id=one.uid) for one in handles]
    )


def _rows(body: HandleManyBody) -> list[tuple[str, HandleFields]]:
    """Return what was done about which tasks. Raises InvalidRowsError, which names the rows."""
    problems = Problems()
    rows = []
    for index, item in enumerate(body.items):
        try:
            rows.append((item.task_id, item.fields()))
        except InvalidInputError as error:
            problems.refuse(index, error.field or "", error.message)
    problems.check()
    return rows
