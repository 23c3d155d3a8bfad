"""Tariffs, their versions, and which one holds where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator

from api_plugin.common.database import transact
from api_plugin.common.pagination import (
    PAGE_DEFAULT,
    KeyCursor,
    Page,
    PageCursor,
    PageLimit,
    key_cursor,
    page_of,
    read_id_cursor,
    read_key_cursor,
)
from api_plugin.management.ledger_routes import Moment
from api_plugin.management.problems import MISSING, NEW, PROBLEMS
from api_plugin.management.project_scope import KeyPath, Scope, ScopeDep
from api_plugin.management.routes import RowId
from api_plugin.management.tariff_schemas import (
    AppliedResponse,
    AssignmentResponse,
    TariffResponse,
    VersionResponse,
    VersionsResponse,
)
from include.kit.clock import system_clock
from include.kit.db import Connection
from include.metering.rows import check_key
from include.tariffs.model import AssignmentFields, EndFields, TariffFields, VersionFields
from include.tariffs.service import TariffService

router = APIRouter(prefix="/projects/{project_id}", responses={**PROBLEMS, **MISSING})

T = TypeVar("T")
KeyFilter = Annotated[Annotated[str, AfterValidator(check_key)] | None, Query()]


@router.get("/tariffs", tags=["tariffs"])
async def list_tariffs(
    scope: ScopeDep, limit: PageLimit = PAGE_DEFAULT, cursor: KeyCursor = None
) -> Page[TariffResponse]:
    """Tariffs by key."""
    after = read_key_cursor(cursor)
    rows = await _run(scope, lambda service: service.list_tariffs(after=after, limit=limit + 1))
    return page_of(rows, limit, TariffResponse.model_validate, lambda row: key_cursor(row.key))


@router.get("/tariffs/{key}", tags=["tariffs"])
async def get_tariff(key: KeyPath, scope: ScopeDep) -> TariffResponse:
    """One tariff."""
    return TariffResponse.model_validate(await _run(scope, lambda service: service.find_tariff(key)))


@router.put("/tariffs/{key}", tags=["tariffs"], responses=NEW)
async def put_tariff(key: KeyPath, body: TariffFields, scope: ScopeDep, response: Response) -> TariffResponse:
    """Make or replace a tariff."""

    async def work(service: TariffService) -> TariffResponse:
        response.status_code = 201 if await service.put_tariff(key, body) else 200
        return TariffResponse.model_validate(await service.find_tariff(key))

    return await _run(scope, work)


@router.get("/tariffs/{key}/versions", tags=["tariffs"])
async def list_tariff_versions(key: KeyPath, scope: ScopeDep) -> VersionsResponse:
    """What a tariff says, the earliest version first."""

    async def work(service: TariffService) -> VersionsResponse:
        zone = await service.zone()
        versions = await service.list_versions(key)
        return VersionsResponse(items=[VersionResponse.of(version, zone) for version in versions])

    return await _run(scope, work)


@router.post("/tariffs/{key}/versions", status_code=201, tags=["tariffs"])
async def add_tariff_version(key: KeyPath, body: VersionFields, scope: ScopeDep) -> VersionResponse:
    """Add what a tariff says from a date on. A version never changes; one of another date takes over."""

    async def work(service: TariffService) -> VersionResponse:
        return VersionResponse.of(await service.add_version(key, body), await service.zone())

    return await _run(scope, work)


@router.get("/tariff-assignments", tags=["tariffs"])
async def list_tariff_assignments(
    scope: ScopeDep,
    tariff: KeyFilter = None,
    service_point: KeyFilter = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[AssignmentResponse]:
    """Which tariffs hold where and when."""
    after = read_id_cursor(cursor)

    async def work(service: TariffService) -> Page[AssignmentResponse]:
        zone = await service.zone()
        rows = await service.list_assignments(
            tariff=tariff, service_point=service_point, after=after, limit=limit + 1
        )
        return page_of(rows, limit, lambda row: AssignmentResponse.of(row, zone))

    return await _run(scope, work)


@router.post("/tariff-assignments", status_code=201, tags=["tariffs"])
async def assign_tariff(body: AssignmentFields, scope: ScopeDep) -> AssignmentResponse:
    """Have a tariff hold for a service point, or as a default of the project."""

    async def work(service: TariffService) -> AssignmentResponse:
        return AssignmentResponse.of(await service.assign(body), await service.zone())

    return await _run(scope, work)


@router.post("/tariff-assignments/{assignment_id}/end", tags=["tariffs"])
async def end_tariff_assignment(assignment_id: RowId, body: EndFields, scope: ScopeDep) -> AssignmentResponse:
    """Give an assignment another end, or none."""

    async def work(service: TariffService) -> AssignmentResponse:
        ended = await service.end_assignment(assignment_id, body)
        return AssignmentResponse.of(ended, await service.zone())

    return await _run(scope, work)


@router.delete("/tariff-assignments/{assignment_id}", status_code=204, tags=["tariffs"])
async def delete_tariff_assignment(assignment_id: RowId, scope: ScopeDep) -> None:
    """Take away an assignment by which no bill was made."""
    await _run(scope, lambda service: service.delete_assignment(assignment_id))


@router.get("/service-points/{key}/tariff", tags=["tariffs"])
async def get_applied_tariff(
    key: KeyPath,
    scope: ScopeDep,
    at: Annotated[Moment | None, Query(description="ISO 8601 with an offset; by default now")] = None,
) -> AppliedResponse:
    """Which tariff version holds at a service point."""
    moment = at or system_clock()

    async def work(service: TariffService) -> AppliedResponse:
        found, version = await service.applied(key, moment)
        return AppliedResponse.make(moment, found, VersionResponse.of(version, await service.zone()))

    return await _run(scope, work)


async def _run(scope: Scope, work: Callable[[TariffService], Awaitable[T]]) -> T:
    async def in_transaction(connection: Connection) -> T:
        return await work(TariffService(connection, scope.project_id, projects=scope.projects))

    return await transact(scope.database, in_transaction)
