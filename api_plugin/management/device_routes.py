"""Devices: the registry, groups, users, shadows, and what was sent to them.

Every call sees the devices of the token's projects; one of another project is not found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AfterValidator

from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep, transact
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
from api_plugin.management.device_schemas import (
    BindingResponse,
    CommandResponse,
    DeviceResponse,
    GroupResponse,
    MembersBody,
    MembersResponse,
    MessageResponse,
    NewDeviceResponse,
    ShadowResponse,
    device_cursor,
    read_device_cursor,
)
from api_plugin.management.metering_schemas import Bulk, BulkResponse
from api_plugin.management.problems import MISSING, NEW, PROBLEMS
from include.devices.bindings import BindingService
from include.devices.groups import GroupService
from include.devices.model import Device, DeviceFilter, Status
from include.devices.registry import RegistryService
from include.devices.rows import (
    DeviceChanges,
    DeviceFields,
    DeviceRow,
    GroupFields,
    GroupRow,
    ShadowFields,
    check_characters,
    check_device_id,
)
from include.devices.scope import DeviceScope
from include.devices.shadows import ShadowsService
from include.devices.traffic import TrafficService
from include.errors import InvalidInputError, NotFoundError
from include.kit.db import Connection, Database
from include.metering.rows import check_key

router = APIRouter(responses={**PROBLEMS, **MISSING})

S = TypeVar("S", bound=DeviceScope)
T = TypeVar("T")

DevicePath = Annotated[str, Path(), AfterValidator(check_device_id)]
UserPath = Annotated[str, Path(), AfterValidator(check_key)]
Text = AfterValidator(lambda text: text if text is None else check_characters(text))
Words = Annotated[str | None, Query(max_length=256), Text]
DeviceCursor = Annotated[str | None, Query(max_length=3000, description="`next` of the page before")]


@dataclass(frozen=True)
class Work:
    """Who asks, and the database."""

    projects: tuple[str, ...] | None
    database: Database

    async def run(self, service: type[S], work: Callable[[S], Awaitable[T]]) -> T:
        """Do work with a service in one transaction."""

        async def in_transaction(connection: Connection) -> T:
            return await work(service(connection, projects=self.projects))

        return await transact(self.database, in_transaction)


def get_work(caller: CallerDep, database: DatabaseDep) -> Work:
    """Return the work of this request."""
    return Work(caller.projects, database)


WorkDep = Annotated[Work, Depends(get_work)]


def get_filter(
    project: Words = None,
    product: Words = None,
    status: Status | None = None,
    gateway: Annotated[Words, Query(description="device_id of the gateway")] = None,
    group: Words = None,
    tag_key: Words = None,
    tag_value: Words = None,
    name: Annotated[Words, Query(description="how it begins; the list is by name then")] = None,
    node_id: Words = None,
) -> DeviceFilter:
    """Return what a list is about. Raises InvalidInputError: half a tag."""
    if (tag_key is None) != (tag_value is None):
        raise InvalidInputError("goes with the other half", field="tag_key" if tag_value else "tag_value")
    tag = (tag_key, tag_value) if tag_key is not None and tag_value is not None else None
    return DeviceFilter(project, product, status, gateway, group, tag, name, node_id)


FilterDep = Annotated[DeviceFilter, Depends(get_filter)]


# --- devices


@router.post("/devices", status_code=201, tags=["devices"])
async def create_device(body: DeviceRow, work: WorkDep) -> NewDeviceResponse:
    """Make a device; where it needs a secret and none is told, one is drawn and shown this once."""
    made = await work.run(RegistryService, lambda service: service.create(body))
    return NewDeviceResponse.of(*made)


@router.get("/devices", tags=["devices"])
async def list_devices(
    work: WorkDep, wanted: FilterDep, limit: PageLimit = PAGE_DEFAULT, cursor: DeviceCursor = None
) -> Page[DeviceResponse]:
    """Devices, the oldest first; with `name` by name."""
    after = read_device_cursor(cursor)
    rows = await work.run(
        RegistryService, lambda service: service.list_devices(wanted, after=after, limit=limit + 1)
    )
    return _device_page(rows, limit)


@router.post("/devices/bulk", tags=["devices"])
async def put_devices(body: Bulk[DeviceRow], work: WorkDep) -> BulkResponse:
    """Make or replace many devices, all or none. No secrets are drawn."""
    return BulkResponse.model_validate(
        await work.run(RegistryService, lambda service: service.put(body.items))
    )


@router.get("/devices/{device_id}", tags=["devices"])
async def get_device(device_id: DevicePath, work: WorkDep) -> DeviceResponse:
    """One device."""
    return DeviceResponse.model_validate(
        await work.run(RegistryService, lambda service: service.find(device_id))
    )


@router.put("/devices/{device_id}", tags=["devices"], responses=NEW)
async def put_device(
    device_id: DevicePath, body: DeviceFields, work: WorkDep, response: Response
) -> NewDeviceResponse:
    """Make or replace a device; a secret and a status that are not told stay."""
    new, device, secret = await work.run(RegistryService, lambda service: service.put_one(device_id, body))
    if new:
        response.status_code = 201
    return NewDeviceResponse.of(device, secret)


@router.patch("/devices/{device_id}", tags=["devices"])
async def change_device(device_id: DevicePath, body: DeviceChanges, work: WorkDep) -> DeviceResponse:
    """Change what is told of a device."""
    return DeviceResponse.model_validate(
        await work.run(RegistryService, lambda service: service.change(device_id, body))
    )


@router.delete("/devices/{device_id}", status_code=204, tags=["devices"])
async def delete_device(device_id: DevicePath, work: WorkDep) -> None:
    """Delete a device that is not the gateway of others."""
    await work.run(RegistryService, lambda service: service.delete(device_id))


@router.post("/devices/{device_id}/freeze", tags=["devices"])
async def freeze_device(device_id: DevicePath, work: WorkDep) -> DeviceResponse:
    """Freeze a directly connected device."""
    return DeviceResponse.model_validate(
        await work.run(RegistryService, lambda service: service.freeze(device_id))
    )


@router.post("/devices/{device_id}/unfreeze", tags=["devices"])
async def unfreeze_device(device_id: DevicePath, work: WorkDep) -> DeviceResponse:
    """Let a frozen device be what it was."""
    return DeviceResponse.model_validate(
        await work.run(RegistryService, lambda service: service.unfreeze(device_id))
    )


# --- users


@router.get("/devices/{device_id}/users", tags=["device users"])
async def list_device_users(
    device_id: DevicePath, work: WorkDep, limit: PageLimit = PAGE_DEFAULT, cursor: KeyCursor = None
) -> Page[BindingResponse]:
    """The users who may set timers on a device, by name."""
    after = read_key_cursor(cursor)
    rows = await work.run(
        BindingService, lambda service: service.list_bindings(device_id, after=after, limit=limit + 1)
    )
    return page_of(rows, limit, BindingResponse.model_validate, lambda row: key_cursor(row.user))


@router.put("/devices/{device_id}/users/{user}", status_code=204, tags=["device users"])
async def bind_device_user(device_id: DevicePath, user: UserPath, work: WorkDep) -> None:
    """Let a user set timers on a device."""
    await work.run(BindingService, lambda service: service.bind(user, device_id))


@router.delete("/devices/{device_id}/users/{user}", status_code=204, tags=["device users"])
async def unbind_device_user(device_id: DevicePath, user: UserPath, work: WorkDep) -> None:
    """Let a user set timers on a device no more."""
    if not await work.run(BindingService, lambda service: service.unbind(user, device_id)):
        raise NotFoundError(f"{user!r} is not bound to {device_id!r}")


# --- shadows, commands, messages


@router.get("/devices/{device_id}/shadow", tags=["shadows"])
async def get_shadow(device_id: DevicePath, work: WorkDep) -> ShadowResponse:
    """What the services of a device should be, and what they said they are."""
    return ShadowResponse.of(
        device_id, await work.run(ShadowsService, lambda service: service.find_shadow(device_id))
    )


@router.put("/devices/{device_id}/shadow", tags=["shadows"])
async def put_shadow(device_id: DevicePath, body: ShadowFields, work: WorkDep) -> ShadowResponse:
    """Change what services should be: a key with null goes, `{}` clears, what is not told stays."""
    return ShadowResponse.of(
        device_id,
        await work.run(ShadowsService, lambda service: service.put_desired(device_id, body.shadow)),
    )


@router.get("/devices/{device_id}/commands", tags=["device traffic"])
async def list_device_commands(
    device_id: DevicePath, work: WorkDep, limit: PageLimit = PAGE_DEFAULT, cursor: PageCursor = None
) -> Page[CommandResponse]:
    """Commands of a device, the newest first."""
    before = read_id_cursor(cursor) or None
    rows = await work.run(
        TrafficService, lambda service: service.list_commands(device_id, before=before, limit=limit + 1)
    )
    return page_of(rows, limit, CommandResponse.model_validate)


@router.get("/devices/{device_id}/messages", tags=["device traffic"])
async def list_device_messages(
    device_id: DevicePath, work: WorkDep, limit: PageLimit = PAGE_DEFAULT, cursor: PageCursor = None
) -> Page[MessageResponse]:
    """Messages of a device, the newest first."""
    before = read_id_cursor(cursor) or None
    rows = await work.run(
        TrafficService, lambda service: service.list_messages(device_id, before=before, limit=limit + 1)
    )
    return page_of(rows, limit, MessageResponse.model_validate)


# --- groups


@router.post("/device-groups", status_code=201, tags=["device groups"])
async def create_device_group(body: GroupRow, work: WorkDep) -> GroupResponse:
    """Make a group."""
    return GroupResponse.model_validate(await work.run(GroupService, lambda service: service.create(body)))


@router.get("/device-groups", tags=["device groups"])
async def list_device_groups(
    work: WorkDep,
    project: Words = None,
    device_id: Annotated[Words, Query(description="only groups that this device is in")] = None,
    limit: PageLimit = PAGE_DEFAULT,
    cursor: PageCursor = None,
) -> Page[GroupResponse]:
    """Groups, the oldest first."""
    after = read_id_cursor(cursor)
    rows = await work.run(
        GroupService,
        lambda service: service.list_groups(
            after=after, limit=limit + 1, project=project, device_id=device_id
        ),
    )
    return page_of(rows, limit, GroupResponse.model_validate)


@router.get("/device-groups/{group_id}", tags=["device groups"])
async def get_device_group(group_id: DevicePath, work: WorkDep) -> GroupResponse:
    """One group."""
    return GroupResponse.model_validate(
        await work.run(GroupService, lambda service: service.find_group(group_id))
    )


@router.put("/device-groups/{group_id}", tags=["device groups"])
async def put_device_group(group_id: DevicePath, body: GroupFields, work: WorkDep) -> GroupResponse:
    """Give a group another name or description."""
    return GroupResponse.model_validate(
        await work.run(GroupService, lambda service: service.change(group_id, body))
    )


@router.delete("/device-groups/{group_id}", status_code=204, tags=["device groups"])
async def delete_device_group(group_id: DevicePath, work: WorkDep) -> None:
    """Delete a group; its devices stay."""
    await work.run(GroupService, lambda service: service.delete(group_id))


@router.get("/device-groups/{group_id}/members", tags=["device groups"])
async def list_device_group_members(
    group_id: DevicePath, work: WorkDep, limit: PageLimit = PAGE_DEFAULT, cursor: DeviceCursor = None
) -> Page[DeviceResponse]:
    """Devices of a group, the oldest first."""
    after = read_device_cursor(cursor)

    async def read(service: GroupService) -> list[Device]:
        group = await service.find_group(group_id)
        wanted = DeviceFilter(project=group.project_id, group=group_id)
        registry = RegistryService(service.connection, projects=service.projects)
        return await registry.list_devices(wanted, after=after, limit=limit + 1)

    return _device_page(await work.run(GroupService, read), limit)


@router.post("/device-groups/{group_id}/members/add", tags=["device groups"])
async def add_device_group_members(group_id: DevicePath, body: MembersBody, work: WorkDep) -> MembersResponse:
    """Put devices of the group's project into the group, all or none."""
    return _changed(
        await work.run(GroupService, lambda service: service.add_members(group_id, body.device_ids))
    )


@router.post("/device-groups/{group_id}/members/remove", tags=["device groups"])
async def remove_device_group_members(
    group_id: DevicePath, body: MembersBody, work: WorkDep
) -> MembersResponse:
    """Take devices out of the group."""
    return _changed(
        await work.run(GroupService, lambda service: service.remove_members(group_id, body.device_ids))
    )


# ---


def _device_page(rows: Sequence[Device], limit: int) -> Page[DeviceResponse]:
    return page_of(rows, limit, DeviceResponse.model_validate, device_cursor)


def _changed(counts: tuple[int, int]) -> MembersResponse:
    changed, unchanged = counts
    return MembersResponse(changed=changed, unchanged=unchanged)
