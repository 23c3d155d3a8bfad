"""Statistics that maintenance counts by, and their samples."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api_plugin.common import airflow_adapter
from api_plugin.common.auth import CallerDep
from api_plugin.common.bodies import PayloadDep, documented
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    KeyCursor,
    Page,
    PageCursor,
    PageLimit,
    key_cursor,
    moment_cursor,
    page_of,
    read_id_cursor,
    read_key_cursor,
    read_moment_cursor,
)
from api_plugin.management.ledger_routes import From, Moment, To
from api_plugin.management.maintenance_scope import ObjectId, Organization, Uid
from api_plugin.management.problems import MISSING, NEW, PROBLEMS
from api_plugin.management.statistic_schemas import (
    ObjectValueResponse,
    SampleReportResponse,
    SampleResponse,
    SamplesBody,
    StatisticBody,
    StatisticResponse,
)
from include.errors import InvalidInputError
from include.kit.db import Connection
from include.statistics.model import STATISTICS_ASSET, SampleReport, Statistic
from include.statistics.service import StatisticService

log = logging.getLogger(__name__)

router = APIRouter(prefix="/statistics", tags=["statistics"], responses={**PROBLEMS, **MISSING})


@router.get("")
async def list_statistics(
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[StatisticResponse]:
    """Statistics, the oldest first."""
    after = read_id_cursor(cursor)
    async with database.transaction() as connection:
        rows = await StatisticService(connection, projects=caller.projects).list_statistics(
            organization_id=organization_id, after=after, limit=limit + 1
        )
    return page_of(rows, limit, StatisticResponse.model_validate)


@router.get("/{uid}")
async def get_statistic(
    uid: Uid, caller: CallerDep, database: DatabaseDep, organization_id: Organization = None
) -> StatisticResponse:
    """One statistic."""
    async with database.transaction() as connection:
        found = await StatisticService(connection, projects=caller.projects).find(uid, organization_id)
    return StatisticResponse.model_validate(found)


@router.put("/{uid}", responses=NEW)
async def put_statistic(
    uid: Uid,
    body: StatisticBody,
    caller: CallerDep,
    database: DatabaseDep,
    response: Response,
    organization_id: Organization = None,
) -> StatisticResponse:
    """Make or change a statistic; its kind can be changed as long as it has no samples."""

    async def work(connection: Connection) -> tuple[bool, Statistic]:
        service = StatisticService(connection, projects=caller.projects)
        return await service.put(uid, **body.model_dump(), organization_id=organization_id)

    new, statistic = await transact(database, work)
    if new:
        response.status_code = 201
    return StatisticResponse.model_validate(statistic)


@router.delete("/{uid}", status_code=204)
async def delete_statistic(
    uid: Uid, caller: CallerDep, database: DatabaseDep, organization_id: Organization = None
) -> None:
    """Delete a statistic with its samples; not while a maintenance project is due by it."""
    await transact(
        database,
        lambda connection: StatisticService(connection, projects=caller.projects).delete(
            uid, organization_id
        ),
    )


@router.post("/{uid}/samples", openapi_extra=documented(SamplesBody))
async def add_statistic_samples(
    uid: Uid,
    payload: PayloadDep,
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
) -> SampleReportResponse:
    """Store samples in bulk, in whatever order they come, all or none."""
    # The rows are read by `include.statistics.rows`, which names each row.
    rows, options = _options(payload)

    async def work(connection: Connection) -> SampleReport:
        service = StatisticService(connection, projects=caller.projects)
        return await service.add_samples(uid, rows, organization_id=organization_id, **options)

    report = await transact(database, work)
    await _wake(report)
    return SampleReportResponse.model_validate(report)


@router.get("/{uid}/samples")
async def list_statistic_samples(
    uid: Uid,
    object_id: Annotated[ObjectId, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
    at_from: From = None,
    at_to: To = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[SampleResponse]:
    """Samples of an object, the newest first."""
    before = read_moment_cursor(cursor)
    async with database.transaction() as connection:
        rows = await StatisticService(connection, projects=caller.projects).samples(
            uid,
            object_id,
            start=at_from,
            end=at_to,
            before=before[0] if before else None,
            limit=limit + 1,
            organization_id=organization_id,
        )
    return page_of(rows, limit, SampleResponse.model_validate, lambda row: moment_cursor(row.at, 0))


@router.delete("/{uid}/samples")
async def delete_statistic_sample(
    uid: Uid,
    object_id: Annotated[ObjectId, Query()],
    at: Moment,
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
) -> SampleReportResponse:
    """Have a sample count no more; what was counted after it is worked out anew."""

    async def work(connection: Connection) -> SampleReport:
        service = StatisticService(connection, projects=caller.projects)
        return await service.delete_sample(uid, object_id, at, organization_id)

    report = await transact(database, work)
    await _wake(report)
    return SampleReportResponse.model_validate(report)


@router.get("/{uid}/values")
async def list_statistic_values(
    uid: Uid,
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: KeyCursor = None,
) -> Page[ObjectValueResponse]:
    """Where objects stand, by their ids."""
    after = read_key_cursor(cursor)
    async with database.transaction() as connection:
        rows = await StatisticService(connection, projects=caller.projects).values(
            uid, after=after, limit=limit + 1, organization_id=organization_id
        )
    return page_of(rows, limit, ObjectValueResponse.model_validate, lambda row: key_cursor(row.object_id))


def _options(payload: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the rows and how they are to be taken. Raises InvalidInputError."""
    for name in payload.keys() - SamplesBody.model_fields.keys():
        raise InvalidInputError("is not a field of this request", field=name)
    if "rows" not in payload:
        raise InvalidInputError("is required", field="rows")
    if not isinstance(payload["rows"], list):
        raise InvalidInputError("must be a list", field="rows")
    return payload["rows"], {name: payload[name] for name in payload if name != "rows"}


async def _wake(report: SampleReport) -> None:
    """Have maintenance look at once at what came to a threshold; should that fail, its hourly tick does."""
    if not report.crossed:
        return
    try:
        await asyncio.to_thread(
            airflow_adapter.emit_asset_event, STATISTICS_ASSET, {"crossed": report.crossed}
        )
    except Exception as error:  # the samples are stored: nothing of Airflow's may make the client believe not
        log.warning("Airflow was not told of the samples: %s", error)
