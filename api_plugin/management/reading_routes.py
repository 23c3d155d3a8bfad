"""Readings of meters: record, look at, correct; those that are missing; the exceptions queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ValidationError

from api_plugin.common.auth import Caller, CallerDep
from api_plugin.common.bodies import PayloadDep, documented
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.errors import field_problem
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    Page,
    PageCursor,
    PageLimit,
    id_cursor,
    moment_cursor,
    page_of,
    read_id_cursor,
    read_moment_cursor,
)
from api_plugin.management.ledger_routes import From, Moment, To
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.project_scope import KeyPath, ProjectId, ScopeDep
from api_plugin.management.reading_schemas import (
    CorrectionBody,
    CorrectionResponse,
    ExceptionResponse,
    MissingResponse,
    QuarantinedRow,
    ReadingResponse,
    ReadingsBody,
    ReadingsReport,
    ReasonBody,
    ResolveBody,
)
from api_plugin.management.routes import RowId
from include.billing.model import Commodity, Kind
from include.errors import InvalidInputError
from include.kit.db import Connection, Database
from include.readings.corrections import CorrectionService
from include.readings.exceptions import ExceptionService
from include.readings.model import (
    BulkReport,
    ExceptionKind,
    ExceptionState,
    Quality,
    ReadingFilter,
)
from include.readings.service import ReadingService

router = APIRouter(responses={**PROBLEMS, **MISSING})

OPTIONS = ("on_decrease", "on_duplicate", "on_spike")


@router.post("/projects/{project_id}/readings", tags=["readings"], openapi_extra=documented(ReadingsBody))
async def add_readings(
    project_id: ProjectId, payload: PayloadDep, caller: CallerDep, database: DatabaseDep
) -> ReadingsReport:
    """Record readings in bulk."""
    # The rows are read by `include.readings.rows`, which knows the project's zone and names each row.
    options = _options(payload)

    async def work(connection: Connection) -> BulkReport:
        service = ReadingService(connection, projects=caller.projects)
        return await service.add_bulk(project_id, payload["rows"], **options)

    report = await transact(database, work)
    return ReadingsReport(
        accepted=report.accepted,
        duplicates=report.duplicates,
        quarantined=[QuarantinedRow.model_validate(one.problem()) for one in report.quarantined],
        late=report.late,
    )


@router.get("/projects/{project_id}/meters/{device_id}/readings", tags=["readings"])
async def list_readings(
    device_id: KeyPath,
    scope: ScopeDep,
    register: Kind | None = None,
    read_from: From = None,
    read_to: To = None,
    quality: Quality | None = None,
    known_at: Annotated[Moment | None, Query(description="as they were known then; by default now")] = None,
    superseded: Annotated[bool, Query(description="list those that a correction stands for, too")] = False,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[ReadingResponse]:
    """Readings of a meter, the newest first."""
    before = read_moment_cursor(cursor)
    conditions = ReadingFilter(register, read_from, read_to, quality, known_at, superseded)
    async with scope.database.transaction() as connection:
        rows = await ReadingService(connection, projects=scope.projects).readings(
            scope.project_id, device_id, conditions, before=before, limit=limit + 1
        )
    return page_of(
        rows, limit, ReadingResponse.model_validate, lambda row: moment_cursor(row.read_at, row.id)
    )


@router.get("/projects/{project_id}/missing-readings", tags=["readings"])
async def list_missing_readings(
    scope: ScopeDep,
    at: Annotated[Moment, Query(description="the boundary, ISO 8601 with an offset")],
    commodity: Commodity | None = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[MissingResponse]:
    """Installed meters of which a register has no good reading within the tolerance before a boundary."""
    after = read_id_cursor(cursor)
    async with scope.database.transaction() as connection:
        rows = await ReadingService(connection, projects=scope.projects).missing(
            scope.project_id, at, commodity=commodity, after=after, limit=limit + 1
        )
    return page_of(rows, limit, MissingResponse.model_validate, lambda row: id_cursor(row.meter_id))


@router.post("/readings/{reading_id}/corrections", status_code=201, tags=["readings"])
async def correct_reading(
    reading_id: RowId, body: CorrectionBody, caller: CallerDep, database: DatabaseDep
) -> CorrectionResponse:
    """Have another value stand for a reading; bills that knew it are looked at again in the next run."""
    return await _correct(
        database, caller, lambda s: s.correct(reading_id, body.value, body.reason, force=body.force)
    )


@router.post("/readings/{reading_id}/release", status_code=201, tags=["readings"])
async def release_reading(
    reading_id: RowId, body: ReasonBody, caller: CallerDep, database: DatabaseDep
) -> CorrectionResponse:
    """Have a quarantined reading count after all."""
    return await _correct(database, caller, lambda s: s.release(reading_id, body.reason, force=body.force))


@router.post("/readings/{reading_id}/discard", status_code=201, tags=["readings"])
async def discard_reading(
    reading_id: RowId, body: ReasonBody, caller: CallerDep, database: DatabaseDep
) -> CorrectionResponse:
    """Have a reading count no more; it stays, and a suspect correction stands for it."""
    return await _correct(database, caller, lambda s: s.discard(reading_id, body.reason, force=body.force))


@router.get("/projects/{project_id}/billing-exceptions", tags=["billing exceptions"])
async def list_billing_exceptions(
    scope: ScopeDep,
    state: ExceptionState | None = None,
    kind: ExceptionKind | None = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[ExceptionResponse]:
    """The exceptions queue in the order in which it grew."""
    after = read_id_cursor(cursor)
    async with scope.database.transaction() as connection:
        rows = await ExceptionService(connection, projects=scope.projects).list(
            scope.project_id, state=state, kind=kind, after=after, limit=limit + 1
        )
    return page_of(rows, limit, ExceptionResponse.model_validate)


@router.post("/billing-exceptions/{exception_id}/resolve", tags=["billing exceptions"])
async def resolve_billing_exception(
    exception_id: RowId, body: ResolveBody, caller: CallerDep, database: DatabaseDep
) -> ExceptionResponse:
    """Settle an entry of the exceptions queue."""

    async def work(connection: Connection) -> ExceptionResponse:
        service = ExceptionService(connection, projects=caller.projects, actor=_actor(caller))
        row = await service.resolve(exception_id, body.resolution, action=body.action)
        return ExceptionResponse.model_validate(row)

    return await transact(database, work)


async def _correct(
    database: Database, caller: Caller, act: Callable[[CorrectionService], Awaitable[int]]
) -> CorrectionResponse:
    async def work(connection: Connection) -> int:
        return await act(CorrectionService(connection, projects=caller.projects, actor=_actor(caller)))

    return CorrectionResponse(id=await transact(database, work))


def _actor(caller: Caller) -> str | None:
    return caller.token.name if caller.token else None


def _options(payload: dict[str, Any]) -> dict[str, Any]:
    """Return how the rows are to be taken; checks all of the body but the rows themselves."""
    try:
        ReadingsBody.model_validate({**payload, "rows": []} if "rows" in payload else payload)
    except ValidationError as error:
        problem = field_problem(error.errors()[0])
        raise InvalidInputError(problem.message, field=problem.field) from None
    if not isinstance(payload["rows"], list):
        raise InvalidInputError("must be a list", field="rows")
    return {name: payload[name] for name in OPTIONS if name in payload}
