"""What happens at a service point: meters come and go, people move in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    Page,
    PageCursor,
    PageLimit,
    page_of,
    read_id_cursor,
)
from api_plugin.management.metering_schemas import (
    Bulk,
    BulkResponse,
    HouseholdResponse,
    HouseholdsResponse,
    InstallationResponse,
    OccupancyResponse,
    ReplacementResponse,
)
from api_plugin.management.problems import MISSING, NEW, PROBLEMS
from api_plugin.management.project_scope import KeyPath, ScopeDep
from include.metering.installations import InstallationService
from include.metering.people import PeopleService
from include.metering.rows import (
    InstallFields,
    InstallRow,
    MoveOutFields,
    OccupancyFields,
    OccupancyRow,
    RemoveFields,
    ReplaceFields,
)

router = APIRouter(prefix="/projects/{project_id}", responses={**PROBLEMS, **MISSING})

OccupancyId = Annotated[int, Path(ge=1, le=2**63 - 1)]


# --- installations


@router.get("/service-points/{key}/installations", tags=["installations"])
async def list_installations(
    key: KeyPath, scope: ScopeDep, limit: PageLimit = PAGE_DEFAULT, cursor: PageCursor = None
) -> Page[InstallationResponse]:
    """The meters that are and were at a service point."""
    after = read_id_cursor(cursor)
    rows = await scope.run(
        InstallationService,
        lambda service: service.list_of_service_point(key, after=after, limit=limit + 1),
    )
    return page_of(rows, limit, InstallationResponse.model_validate)


@router.get("/meters/{device_id}/installations", tags=["installations"])
async def list_meter_installations(
    device_id: KeyPath, scope: ScopeDep, limit: PageLimit = PAGE_DEFAULT, cursor: PageCursor = None
) -> Page[InstallationResponse]:
    """Where a meter is and was."""
    after = read_id_cursor(cursor)
    rows = await scope.run(
        InstallationService, lambda service: service.list_of_meter(device_id, after=after, limit=limit + 1)
    )
    return page_of(rows, limit, InstallationResponse.model_validate)


@router.post("/service-points/{key}/install", tags=["installations"], responses=NEW)
async def install_meter(
    key: KeyPath, body: InstallFields, scope: ScopeDep, response: Response
) -> InstallationResponse:
    """Install a meter; its initial readings are stored with it."""
    new, found = await scope.run(InstallationService, lambda service: service.install_at(key, body))
    if new:
        response.status_code = 201
    return InstallationResponse.model_validate(found)


@router.post("/service-points/{key}/remove", tags=["installations"])
async def remove_meter(key: KeyPath, body: RemoveFields, scope: ScopeDep) -> InstallationResponse:
    """Take the meter away; its final readings are stored with it."""
    return InstallationResponse.model_validate(
        await scope.run(InstallationService, lambda service: service.remove(key, body))
    )


@router.post("/service-points/{key}/replace", tags=["installations"])
async def replace_meter(key: KeyPath, body: ReplaceFields, scope: ScopeDep) -> ReplacementResponse:
    """Have another meter take the place of the one that is there, at one moment."""
    removed, installed = await scope.run(InstallationService, lambda service: service.replace(key, body))
    return ReplacementResponse(
        removed=InstallationResponse.model_validate(removed),
        installed=InstallationResponse.model_validate(installed),
    )


# --- occupancies


@router.get("/service-points/{key}/occupancies", tags=["occupancies"])
async def list_occupancies(
    key: KeyPath, scope: ScopeDep, limit: PageLimit = PAGE_DEFAULT, cursor: PageCursor = None
) -> Page[OccupancyResponse]:
    """Who lives and lived at a service point."""
    after = read_id_cursor(cursor)
    rows = await scope.run(
        PeopleService, lambda service: service.list_occupancies(key, after=after, limit=limit + 1)
    )
    return page_of(rows, limit, OccupancyResponse.model_validate)


@router.post("/service-points/{key}/move-in", tags=["occupancies"], responses=NEW)
async def move_in(
    key: KeyPath, body: OccupancyFields, scope: ScopeDep, response: Response
) -> OccupancyResponse:
    """Have a party live at a service point; with the same party and moment again, change that occupancy."""
    new, found = await scope.run(PeopleService, lambda service: service.move_in(key, body))
    if new:
        response.status_code = 201
    return OccupancyResponse.model_validate(found)


@router.post("/service-points/{key}/move-out", tags=["occupancies"])
async def move_out(key: KeyPath, body: MoveOutFields, scope: ScopeDep) -> OccupancyResponse:
    """Have a party live there no more."""
    return OccupancyResponse.model_validate(
        await scope.run(PeopleService, lambda service: service.move_out(key, body))
    )


@router.delete("/service-points/{key}/occupancies/{occupancy_id}", status_code=204, tags=["occupancies"])
async def delete_occupancy(key: KeyPath, occupancy_id: OccupancyId, scope: ScopeDep) -> None:
    """Delete an occupancy that was entered by mistake."""
    await scope.run(PeopleService, lambda service: service.delete_occupancy(key, occupancy_id))


@router.post("/occupancies/bulk", tags=["occupancies"])
async def put_occupancies(body: Bulk[OccupancyRow], scope: ScopeDep) -> BulkResponse:
    """Make or replace many occupancies, by service point, party and moved_in_at."""
    return BulkResponse.model_validate(
        await scope.run(PeopleService, lambda service: service.put_occupancies(body.items))
    )


@router.post("/installations/bulk", tags=["installations"])
async def install_meters(body: Bulk[InstallRow], scope: ScopeDep) -> BulkResponse:
    """Install many meters; those that are there already in the same way stay so."""
    new = await scope.run(InstallationService, lambda service: service.install(body.items))
    return BulkResponse(created=new, updated=0, unchanged=len(body.items) - new)


@router.get("/service-points/{key}/households", tags=["occupancies"])
async def list_households(key: KeyPath, scope: ScopeDep) -> HouseholdsResponse:
    """How many persons lived at a service point when, and since when it is the same household."""
    rows = await scope.run(PeopleService, lambda service: service.list_households(key))
    return HouseholdsResponse(items=[HouseholdResponse.model_validate(row) for row in rows])
