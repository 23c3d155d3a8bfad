"""The ledger: executions, attempts, why, and how late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime

from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    Page,
    PageCursor,
    PageLimit,
    moment_cursor,
    page_of,
    read_moment_cursor,
)
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.routes import BIGINT, RowId
from api_plugin.management.schemas import (
    AttemptResponse,
    AttemptsResponse,
    ExecutionResponse,
    ExplanationResponse,
    LatenessBucket,
    LatenessKind,
    LatenessResponse,
    Origin,
    State,
)
from include.kit.clock import system_clock
from include.reporting.model import LATENESS_BOUNDS_MS, ExecutionFilter, LatenessRow
from include.reporting.service import ReportingService
from include.schedules.model import Kind

router = APIRouter(responses=PROBLEMS)

DEFAULT_SPAN = timedelta(hours=24)
_EARLIEST, _LATEST = datetime(1900, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _usable(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("must lie between the years 1900 and 9000")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_usable)]
OptionalId = Annotated[int | None, Query(ge=1, le=BIGINT)]
From = Annotated[Moment | None, Query(alias="from", description="inclusive, ISO 8601 with an offset")]
To = Annotated[Moment | None, Query(alias="to", description="exclusive, ISO 8601 with an offset")]


@router.get("/executions", tags=["executions"])
async def list_executions(
    caller: CallerDep,
    database: DatabaseDep,
    definition_id: OptionalId = None,
    schedule_id: OptionalId = None,
    kind: Kind | None = None,
    state: State | None = None,
    origin: Origin | None = None,
    due_from: From = None,
    due_to: To = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[ExecutionResponse]:
    """Executions, the latest instant first."""
    before = read_moment_cursor(cursor)
    conditions = ExecutionFilter(definition_id, schedule_id, kind, state, origin, due_from, due_to)
    async with database.transaction() as connection:
        rows = await ReportingService(connection, projects=caller.projects).executions(
            conditions, before=before, limit=limit + 1
        )
    return page_of(
        rows, limit, ExecutionResponse.model_validate, lambda row: moment_cursor(row.due_at, row.id)
    )


@router.get("/executions/{execution_id}", tags=["executions"], responses=MISSING)
async def get_execution(
    execution_id: RowId,
    caller: CallerDep,
    database: DatabaseDep,
    due_at: Annotated[
        Moment | None, Query(description="its instant, if known: the answer is quicker")
    ] = None,
) -> ExecutionResponse:
    """One execution."""
    async with database.transaction() as connection:
        row = await ReportingService(connection, projects=caller.projects).execution(execution_id, due_at)
    return ExecutionResponse.model_validate(row)


@router.get("/executions/{execution_id}/attempts", tags=["executions"], responses=MISSING)
async def list_attempts(execution_id: RowId, caller: CallerDep, database: DatabaseDep) -> AttemptsResponse:
    """The attempts of an execution, the first one first."""
    async with database.transaction() as connection:
        rows = await ReportingService(connection, projects=caller.projects).attempts(execution_id)
    return AttemptsResponse(items=[AttemptResponse.model_validate(row) for row in rows])


@router.get("/explain", tags=["executions"], responses=MISSING)
async def explain(
    definition_id: Annotated[int, Query(ge=1, le=BIGINT)],
    at: Annotated[Moment, Query(description="an instant, ISO 8601 with an offset")],
    caller: CallerDep,
    database: DatabaseDep,
) -> ExplanationResponse:
    """Say why a definition, a deleted one too, did or did not fire at an instant."""
    async with database.transaction() as connection:
        found = await ReportingService(connection, projects=caller.projects).explain(definition_id, at)
    return ExplanationResponse(
        definition_id=found.definition.id,
        definition_name=found.definition.name,
        at=found.at,
        reason_code=found.reason_code,
        sentence=found.sentence,
        execution=found.execution and ExecutionResponse.model_validate(found.execution),
        next_instants=found.next_instants,
    )


@router.get("/lateness", tags=["executions"])
async def get_lateness(
    caller: CallerDep,
    database: DatabaseDep,
    due_from: From = None,
    due_to: To = None,
    kind: Kind | None = None,
) -> LatenessResponse:
    """How late scheduled executions began, by kind; of the last 24 hours unless told."""
    due_to = due_to or (due_from + DEFAULT_SPAN if due_from else system_clock())
    due_from = due_from or due_to - DEFAULT_SPAN
    async with database.transaction() as connection:
        rows = await ReportingService(connection, projects=caller.projects).lateness(
            due_from=due_from, due_to=due_to, kind=kind
        )
    return LatenessResponse(due_from=due_from, due_to=due_to, kinds=[_lateness(row) for row in rows])


def _lateness(row: LatenessRow) -> LatenessKind:
    edges = [None, *LATENESS_BOUNDS_MS, None]
    buckets = [
        LatenessBucket(from_ms=low, below_ms=high, count=count)
        for low, high, count in zip(edges, edges[1:], row.counts, strict=False)
    ]
    return LatenessKind.model_validate({**vars(row), "buckets": buckets})
