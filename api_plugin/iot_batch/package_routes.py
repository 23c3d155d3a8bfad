"""OTA packages: create, list, show, delete (research `iot.md` A11). What is null is left out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api_plugin.common.bodies import PayloadDep, documented, read
from api_plugin.iot_batch.errors import ERRORS, MISSING
from api_plugin.iot_batch.package_schemas import (
    AppId,
    PackageBody,
    PackageList,
    PackageResponse,
    ProductId,
    Version,
    listed,
    shown,
)
from api_plugin.iot_batch.paging import FIRST, Limit, Marker, Offset, page_info
from api_plugin.iot_batch.scope import ScopeDep
from include.kit.db import Connection
from include.ota.model import Package, PackageFilter, PackageType
from include.ota.service import PackageService

router = APIRouter(prefix="/{project_id}/ota-upgrades/packages", tags=["OTA packages"], responses=ERRORS)

PackageId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,36}$")]


@router.post("", status_code=201, openapi_extra=documented(PackageBody), response_model_exclude_none=True)
async def create_package(scope: ScopeDep, payload: PayloadDep) -> PackageResponse:
    """Tell of a package; its file stays where it is."""
    values = read(PackageBody, payload).model_dump()

    async def work(connection: Connection) -> Package:
        return await PackageService(connection, scope.project_id).create(values)

    return shown(await scope.run(work))


@router.get("", response_model_exclude_none=True)
async def list_packages(
    scope: ScopeDep,
    app_id: Annotated[AppId | None, Query()] = None,
    package_type: PackageType | None = None,
    product_id: Annotated[ProductId | None, Query()] = None,
    version: Annotated[Version | None, Query()] = None,
    limit: Limit = 10,
    marker: Marker = FIRST,
    offset: Offset = 0,
) -> PackageList:
    """Packages, the newest first."""
    wanted = PackageFilter(app_id, package_type, product_id, version, marker.lower(), offset, limit)

    async def work(connection: Connection) -> tuple[list[Package], int]:
        return await PackageService(connection, scope.project_id).list_packages(wanted)

    page, count = await scope.run(work)
    return PackageList(
        packages=[listed(one) for one in page], page=page_info(count, [one.package_id for one in page])
    )


@router.get("/{package_id}", responses=MISSING, response_model_exclude_none=True)
async def get_package(package_id: PackageId, scope: ScopeDep) -> PackageResponse:
    """One package."""

    async def work(connection: Connection) -> Package:
        return await PackageService(connection, scope.project_id).find(package_id)

    return shown(await scope.run(work))


@router.delete("/{package_id}", status_code=204, responses=MISSING)
async def delete_package(package_id: PackageId, scope: ScopeDep) -> None:
    """Forget a package; refused while a task that has not ended needs it."""

    async def work(connection: Connection) -> None:
        await PackageService(connection, scope.project_id).delete(package_id)

    await scope.run(work)
