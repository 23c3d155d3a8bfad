"""The registry of what is maintained."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import AwareDatetime

from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    KeyCursor,
    Page,
    PageLimit,
    page_of,
    pair_cursor,
    read_pair_cursor,
)
from api_plugin.management.maintenance_scope import Organization
from api_plugin.management.metering_schemas import Bulk, BulkResponse
from api_plugin.management.problems import MISSING, PROBLEMS
from api_plugin.management.schemas import Answer
from include.maintenance.objects import ObjectRow, ObjectService

router = APIRouter(
    prefix="/maintenance/objects", tags=["maintenance objects"], responses={**PROBLEMS, **MISSING}
)


class ObjectResponse(Answer):
    """An object that has a name."""

    object_id: str
    organization_id: str
    name: str
    alias: str
    updated_at: AwareDatetime


@router.post("/bulk")
async def put_maintenance_objects(
    body: Bulk[ObjectRow], caller: CallerDep, database: DatabaseDep, organization_id: Organization = None
) -> BulkResponse:
    """Name many objects, or name them anew, all or none."""
    report = await transact(
        database,
        lambda connection: ObjectService(connection, projects=caller.projects).put(
            body.items, organization_id
        ),
    )
    return BulkResponse.model_validate(report)


@router.get("")
async def list_maintenance_objects(
    caller: CallerDep,
    database: DatabaseDep,
    organization_id: Organization = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: KeyCursor = None,
) -> Page[ObjectResponse]:
    """Objects that have a name, by organisation and id."""
    after = read_pair_cursor(cursor)
    async with database.transaction() as connection:
        rows = await ObjectService(connection, projects=caller.projects).list_objects(
            organization_id=organization_id, after=after, limit=limit + 1
        )
    return page_of(
        rows,
        limit,
        ObjectResponse.model_validate,
        lambda row: pair_cursor(row.organization_id, row.object_id),
    )
