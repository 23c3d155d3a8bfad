"""Device groups: create, list, show, change, delete; their devices (research `iot.md` A12)."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from api_plugin.iot_batch.device_schemas import (
    AppKey,
    DeviceKey,
    GroupBody,
    GroupChangesBody,
    GroupList,
    GroupResponse,
    MemberList,
    group_response,
    simple_device,
)
from api_plugin.iot_batch.device_scope import DevicesDep, SpanDep, Words
from api_plugin.iot_batch.errors import ERRORS, MISSING
from api_plugin.iot_batch.paging import page_info
from include.devices.groups import GroupService
from include.devices.model import Device, DeviceGroup
from include.devices.pages import PageService, marker_of
from include.devices.rows import GroupFields, GroupRow
from include.kit.validation import checked

router = APIRouter(prefix="/{project_id}/device-group", tags=["device groups"], responses=ERRORS)

GroupPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


@router.post("", status_code=201)
async def add_device_group(body: GroupBody, devices: DevicesDep) -> GroupResponse:
    """Make a group."""
    values = {"name": body.name, "description": body.description, "project_id": devices.project_id}
    row = checked(GroupRow, values)
    return group_response(await devices.run(GroupService, lambda service: service.create(row)))


@router.get("")
async def list_device_groups(
    devices: DevicesDep,
    span: SpanDep,
    name: Words = None,
    app_id: Annotated[AppKey | None, Query(description="accepted, and without a meaning here")] = None,
) -> GroupList:
    """Groups, the newest first."""
    page, count = await devices.run(
        PageService, lambda service: service.list_groups(devices.project_id, name, span)
    )
    return GroupList(
        device_groups=[group_response(one) for one in page],
        page=page_info(count, [marker_of(one) for one in page]),
    )


@router.get("/{group_id}", responses=MISSING)
async def show_device_group(group_id: GroupPath, devices: DevicesDep) -> GroupResponse:
    """One group."""
    return group_response(await devices.run(GroupService, lambda service: service.find_group(group_id)))


@router.put("/{group_id}", responses=MISSING)
async def update_device_group(
    group_id: GroupPath, body: GroupChangesBody, devices: DevicesDep
) -> GroupResponse:
    """Give a group another name or description."""

    async def work(service: GroupService) -> DeviceGroup:
        found = await service.find_group(group_id)
        told = {"name": found.name, "description": found.description, **body.model_dump(exclude_none=True)}
        return await service.change(group_id, checked(GroupFields, told))

    return group_response(await devices.run(GroupService, work))


@router.delete("/{group_id}", status_code=204, responses=MISSING)
async def delete_device_group(group_id: GroupPath, devices: DevicesDep) -> None:
    """Delete a group in which no device is."""
    await devices.run(GroupService, lambda service: service.delete_empty(group_id))


@router.get("/{group_id}/devices", responses=MISSING)
async def show_devices_in_group(group_id: GroupPath, devices: DevicesDep, span: SpanDep) -> MemberList:
    """Devices of a group, the newest first."""

    async def work(service: GroupService) -> tuple[list[Device], int]:
        group = await service.find_group(group_id)
        return await PageService(service.connection).list_members(group, span)

    page, count = await devices.run(GroupService, work)
    return MemberList(
        devices=[simple_device(one) for one in page],
        page=page_info(count, [marker_of(one) for one in page]),
    )


@router.post("/{group_id}/action", responses=MISSING)
async def create_or_delete_device_in_group(
    group_id: GroupPath,
    action_id: Annotated[Literal["addDevice", "removeDevice"], Query()],
    device_id: Annotated[DeviceKey, Query()],
    devices: DevicesDep,
) -> dict[str, str]:
    """Put a device of the project into the group, or take it out."""

    async def work(service: GroupService) -> None:
        await service.find_group(group_id)
        await service.find(device_id)
        act = service.add_members if action_id == "addDevice" else service.remove_members
        await act(group_id, [device_id])

    await devices.run(GroupService, work)
    return {}
