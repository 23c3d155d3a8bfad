"""Schedules and definitions: look at them, switch them, delete them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api_plugin.common.announcer import nudge
from api_plugin.common.auth import Caller, CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    Page,
    PageCursor,
    PageLimit,
    page_of,
    read_id_cursor,
)
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.schemas import DefinitionResponse, ScheduleResponse
from include.definitions.service import DefinitionService
from include.kit.clock import system_clock
from include.kit.db import Connection, Database
from include.reporting.explain import upcoming
from include.reporting.model import DefinitionRow, ScheduleRow
from include.reporting.service import ReportingService, next_instants
from include.schedules.model import Kind

router = APIRouter(responses=PROBLEMS)

BIGINT = 2**63 - 1
NEXT_DEFAULT, NEXT_MOST = 3, 20

RowId = Annotated[int, Path(ge=1, le=BIGINT)]
NextCount = Annotated[int, Query(ge=0, le=NEXT_MOST, description="next instants of each")]


@router.get("/schedules", tags=["schedules"])
async def list_schedules(
    caller: CallerDep,
    database: DatabaseDep,
    kind: Kind | None = None,
    active: bool | None = None,
    n: NextCount = NEXT_DEFAULT,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[ScheduleResponse]:
    """Schedules in the order they came to be, each with its next instants."""
    after = read_id_cursor(cursor)
    async with database.transaction() as connection:
        rows = await ReportingService(connection, projects=caller.projects).schedules(
            after=after, limit=limit + 1, kind=kind, active=active
        )
    now = system_clock()
    return page_of(rows, limit, lambda row: _schedule(row, now, n))


@router.get("/schedules/{schedule_id}", tags=["schedules"], responses=MISSING)
async def get_schedule(
    schedule_id: RowId, caller: CallerDep, database: DatabaseDep, n: NextCount = NEXT_DEFAULT
) -> ScheduleResponse:
    """One schedule with its next instants."""
    async with database.transaction() as connection:
        row = await ReportingService(connection, projects=caller.projects).schedule(schedule_id)
    return _schedule(row, system_clock(), n)


@router.get("/schedules/{schedule_id}/definitions", tags=["definitions"])
async def list_definitions(
    schedule_id: RowId,
    caller: CallerDep,
    database: DatabaseDep,
    n: NextCount = 0,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[DefinitionResponse]:
    """What hangs on a schedule and is not deleted; an unknown schedule has nothing."""
    after = read_id_cursor(cursor)
    async with database.transaction() as connection:
        rows = await ReportingService(connection, projects=caller.projects).definitions(
            schedule_id, after=after, limit=limit + 1
        )
    now = system_clock()
    return page_of(rows, limit, lambda row: _definition(row, now, n))


@router.get("/definitions/{definition_id}", tags=["definitions"], responses=MISSING)
async def get_definition(
    definition_id: RowId, caller: CallerDep, database: DatabaseDep, n: NextCount = NEXT_DEFAULT
) -> DefinitionResponse:
    """One definition with its next instants."""
    async with database.transaction() as connection:
        row = await ReportingService(connection, projects=caller.projects).definition(definition_id)
    return _definition(row, system_clock(), n)


@router.delete("/definitions/{definition_id}", status_code=204, tags=["definitions"], responses=MISSING)
async def delete_definition(definition_id: RowId, caller: CallerDep, database: DatabaseDep) -> None:
    """Delete a definition, so that even an armed one does not fire; its history stays."""
    await _change(database, caller, lambda service: service.delete(definition_id))


@router.post("/definitions/{definition_id}/enable", tags=["definitions"], responses=MISSING)
async def enable_definition(
    definition_id: RowId, caller: CallerDep, database: DatabaseDep
) -> DefinitionResponse:
    """Have a definition fire from now on."""
    await _change(database, caller, lambda service: service.enable(definition_id))
    return await get_definition(definition_id, caller, database)


@router.post("/definitions/{definition_id}/disable", tags=["definitions"], responses=MISSING)
async def disable_definition(
    definition_id: RowId, caller: CallerDep, database: DatabaseDep
) -> DefinitionResponse:
    """Have a definition fire no more, even where it is armed."""
    await _change(database, caller, lambda service: service.disable(definition_id))
    return await get_definition(definition_id, caller, database)


async def _change(
    database: Database, caller: Caller, work: Callable[[DefinitionService], Awaitable[None]]
) -> None:
    async def in_transaction(connection: Connection) -> None:
        await work(DefinitionService(connection, projects=caller.projects))

    await transact(database, in_transaction)
    nudge()


def _schedule(row: ScheduleRow, now: datetime, count: int) -> ScheduleResponse:
    return ScheduleResponse(**vars(row), next_instants=next_instants(row, now, count))


def _definition(row: DefinitionRow, now: datetime, count: int) -> DefinitionResponse:
    instants = list(islice(upcoming(row, now), count))
    return DefinitionResponse.model_validate({**vars(row), "next_instants": instants})
