"""Devices: create, list, show, change, delete, freeze, tag (research `iot.md` A12)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api_plugin.iot_batch.device_schemas import (
    AppKey,
    DeviceBody,
    DeviceChangesBody,
    DeviceKey,
    DeviceList,
    DeviceResponse,
    NodeKey,
    ProductKey,
    TagBody,
    UntagBody,
    device_item,
    device_response,
)
from api_plugin.iot_batch.device_scope import DevicePath, DevicesDep, SpanDep, TimesDep, Words
from api_plugin.iot_batch.errors import ERRORS, MISSING
from api_plugin.iot_batch.paging import page_info
from include.devices.bulk import BulkDeviceService, Outcomes
from include.devices.model import Device
from include.devices.pages import DevicePageFilter, PageService, marker_of
from include.devices.registry import RegistryService, with_secret
from include.devices.rows import DeviceChanges, DeviceRow, ShadowRow
from include.devices.shadows import ShadowsService
from include.kit.validation import checked

router = APIRouter(responses=ERRORS)


@router.post("/{project_id}/devices", status_code=201, tags=["devices"])
async def add_device(body: DeviceBody, devices: DevicesDep) -> DeviceResponse:
    """Make a device. This answer alone shows its secret."""
    row = with_secret(checked(DeviceRow, body.values(devices.project_id)))

    async def work(service: BulkDeviceService) -> Device:
        _require(await service.create_each([row]))
        if body.shadow:
            desired = [ShadowRow(**one.model_dump()) for one in body.shadow]
            shadows = ShadowsService(service.connection, projects=service.projects)
            await shadows.put_desired(row.key, desired)
        return await service.find(row.key)

    return device_response(await devices.run(BulkDeviceService, work), row.secret)


@router.get("/{project_id}/devices", tags=["devices"])
async def list_devices(
    devices: DevicesDep,
    span: SpanDep,
    times: TimesDep,
    product_id: Annotated[ProductKey | None, Query()] = None,
    gateway_id: Annotated[DeviceKey | None, Query()] = None,
    is_cascade_query: Annotated[
        bool | None, Query(description="accepted; there is one level of gateways")
    ] = None,
    node_id: Annotated[NodeKey | None, Query()] = None,
    device_name: Words = None,
    app_id: Annotated[AppKey | None, Query()] = None,
) -> DeviceList:
    """Devices, the newest first."""
    wanted = DevicePageFilter(product_id, gateway_id, node_id, device_name, app_id, times.since, times.until)
    page, count = await devices.run(
        PageService, lambda service: service.list_devices(devices.project_id, wanted, span)
    )
    return DeviceList(
        devices=[device_item(one) for one in page],
        page=page_info(count, [marker_of(one) for one in page]),
    )


@router.get("/{project_id}/devices/{device_id}", tags=["devices"], responses=MISSING)
async def show_device(device_id: DevicePath, devices: DevicesDep) -> DeviceResponse:
    """One device, without its secret."""
    return device_response(await devices.run(RegistryService, lambda service: service.find(device_id)))


@router.put("/{project_id}/devices/{device_id}", tags=["devices"], responses=MISSING)
async def update_device(
    device_id: DevicePath, body: DeviceChangesBody, devices: DevicesDep
) -> DeviceResponse:
    """Change what is told of a device."""
    changes = checked(DeviceChanges, body.changes())
    return device_response(
        await devices.run(RegistryService, lambda service: service.change(device_id, changes))
    )


@router.delete("/{project_id}/devices/{device_id}", status_code=204, tags=["devices"], responses=MISSING)
async def delete_device(device_id: DevicePath, devices: DevicesDep) -> None:
    """Delete a device behind which no other is."""
    await devices.run(RegistryService, lambda service: service.delete(device_id))


@router.post("/{project_id}/devices/{device_id}/freeze", status_code=204, tags=["devices"], responses=MISSING)
async def freeze_device(device_id: DevicePath, devices: DevicesDep) -> None:
    """Freeze a directly connected device."""
    _require(await devices.run(BulkDeviceService, lambda service: service.freeze_each([device_id])))


@router.post(
    "/{project_id}/devices/{device_id}/unfreeze", status_code=204, tags=["devices"], responses=MISSING
)
async def unfreeze_device(device_id: DevicePath, devices: DevicesDep) -> None:
    """Let a frozen device be what it was."""
    _require(await devices.run(BulkDeviceService, lambda service: service.unfreeze_each([device_id])))


@router.post("/{project_id}/tags/bind-resource", tags=["device tags"], responses=MISSING)
async def tag_device(body: TagBody, devices: DevicesDep) -> dict[str, str]:
    """Give a device tags; those of the same key change."""
    add = {one.tag_key: one.tag_value for one in body.tags}
    await devices.run(RegistryService, lambda service: service.retag(body.resource_id, add=add))
    return {}


@router.post("/{project_id}/tags/unbind-resource", tags=["device tags"], responses=MISSING)
async def untag_device(body: UntagBody, devices: DevicesDep) -> dict[str, str]:
    """Take tags away from a device."""
    await devices.run(
        RegistryService, lambda service: service.retag(body.resource_id, add={}, remove=body.tag_keys)
    )
    return {}


def _require(outcomes: Outcomes) -> None:
    """Raise what went wrong with the only device."""
    [error] = outcomes
    if error is not None:
        raise error
