"""What is said to one device: commands, messages, properties, its shadow (research `iot.md` A12)."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Path, Query

from api_plugin.iot_batch.device_scope import (
    CallsDep,
    DevicePath,
    DevicesDep,
    SpanDep,
    TimesDep,
    Words,
)
from api_plugin.iot_batch.errors import ERRORS, MISSING
from api_plugin.iot_batch.paging import page_info
from api_plugin.iot_batch.traffic_schemas import (
    AsyncCommandBody,
    CommandAnswer,
    CommandCount,
    CommandList,
    CommandResponse,
    MessageList,
    MessageResponse,
    NewMessageResponse,
    PropertiesAnswer,
    PropertiesBody,
    ShadowResponse,
    answered,
    command_item,
    command_response,
    message_response,
    new_message_response,
    shadow_response,
)
from include.batch.documents import CommandDocument, MessageDocument
from include.devices.calling import check_reply
from include.devices.model import CommandRecord, CommandStatus, MessageRecord
from include.devices.pages import CommandPageFilter, PageService, marker_of
from include.devices.rows import ShadowFields
from include.devices.shadows import ShadowsService
from include.devices.traffic import TrafficService
from include.errors import NotFoundError

router = APIRouter(prefix="/{project_id}/devices/{device_id}", responses={**ERRORS, **MISSING})

#: Which commands are in a device's queue, and which in its history.
QUEUED: tuple[CommandStatus, ...] = ("PENDING", "SENT", "DELIVERED")
HISTORY: tuple[CommandStatus, ...] = ("EXPIRED", "SUCCESSFUL", "FAILED", "TIMEOUT", "DELIVERED")

#: How many messages a list shows.
MESSAGES_SHOWN = 20

CommandPath = Annotated[str, Path(max_length=128)]
MessagePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.post("/commands", tags=["device commands"], response_model_exclude_none=True)
async def create_command(device_id: DevicePath, body: CommandDocument, calls: CallsDep) -> CommandAnswer:
    """Send a command and wait for the device; one that does not answer in time is told with status 200."""
    command_id, reply = await calls.command(device_id, body.model_dump())
    check_reply(reply)
    return CommandAnswer(command_id=command_id, **answered(reply))


@router.post("/async-commands", tags=["device commands"])
async def create_async_command(
    device_id: DevicePath, body: AsyncCommandBody, calls: CallsDep
) -> CommandResponse:
    """Leave a command for the device."""
    return command_response(await calls.async_command(device_id, body.model_dump()))


@router.get("/async-commands", tags=["device commands"])
async def list_async_commands(
    device_id: DevicePath,
    devices: DevicesDep,
    span: SpanDep,
    times: TimesDep,
    status: Literal["PENDING", "SENT", "DELIVERED"] | None = None,
    command_name: Words = None,
) -> CommandList:
    """Commands that have not ended, the newest first."""
    wanted = CommandPageFilter((status,) if status else QUEUED, command_name, times.since, times.until)
    return await _commands(device_id, devices, span, wanted)


@router.get("/async-commands-history", tags=["device commands"])
async def list_async_history_commands(
    device_id: DevicePath,
    devices: DevicesDep,
    span: SpanDep,
    times: TimesDep,
    status: Literal["EXPIRED", "SUCCESSFUL", "FAILED", "TIMEOUT", "DELIVERED"] | None = None,
    command_name: Words = None,
) -> CommandList:
    """Commands that came to the device or have ended, the newest first."""
    wanted = CommandPageFilter((status,) if status else HISTORY, command_name, times.since, times.until)
    return await _commands(device_id, devices, span, wanted)


@router.post("/async-commands-history/count", tags=["device commands"])
@router.get("/async-commands-history/count", include_in_schema=False)
async def count_async_history_commands(
    device_id: DevicePath,
    devices: DevicesDep,
    times: TimesDep,
    status: Literal["EXPIRED", "SUCCESSFUL", "FAILED", "TIMEOUT", "DELIVERED"] | None = None,
) -> CommandCount:
    """How many commands came to the device or have ended."""
    wanted = CommandPageFilter((status,) if status else HISTORY, None, times.since, times.until)

    async def work(service: PageService) -> int:
        device = await service.find(device_id)
        await TrafficService(service.connection).expire_commands()
        return await service.count_commands(device, wanted)

    return CommandCount(count=await devices.run(PageService, work))


@router.get("/async-commands/{command_id}", tags=["device commands"])
async def show_async_device_command(
    device_id: DevicePath, command_id: CommandPath, devices: DevicesDep
) -> CommandResponse:
    """One command."""

    async def work(service: TrafficService) -> CommandRecord:
        device = await service.find(device_id)
        await service.expire_commands()
        found = (await service.find_commands([command_id])).get(command_id)
        if found is None or found.device_id != device.device_id:
            raise NotFoundError(f"there is no command {command_id!r}")
        return found

    return command_response(await devices.run(TrafficService, work))


@router.post("/messages", status_code=201, tags=["device messages"])
async def create_message(device_id: DevicePath, body: MessageDocument, calls: CallsDep) -> NewMessageResponse:
    """Leave a message for the device."""
    message = body.model_dump(exclude_none=True)
    return new_message_response(await calls.message(device_id, message))


@router.get("/messages", tags=["device messages"])
async def list_device_messages(device_id: DevicePath, devices: DevicesDep) -> MessageList:
    """The latest messages, the newest first."""

    async def work(service: TrafficService) -> list[MessageRecord]:
        await service.find(device_id)
        await service.expire_messages()
        return await service.list_messages(device_id, limit=MESSAGES_SHOWN)

    messages = await devices.run(TrafficService, work)
    return MessageList(device_id=device_id, messages=[message_response(one) for one in messages])


@router.get("/messages/{message_id}", tags=["device messages"])
async def show_device_message(
    device_id: DevicePath, message_id: MessagePath, devices: DevicesDep
) -> MessageResponse:
    """One message."""

    async def work(service: PageService) -> MessageRecord:
        device = await service.find(device_id)
        await TrafficService(service.connection).expire_messages()
        return await service.find_message(device, message_id)

    return message_response(await devices.run(PageService, work))


@router.get("/properties", tags=["device properties"], response_model_exclude_none=True)
async def list_properties(
    device_id: DevicePath,
    calls: CallsDep,
    service_id: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
) -> PropertiesAnswer:
    """Ask a device what its properties are."""
    reply = await calls.query_properties(device_id, service_id)
    check_reply(reply)
    return PropertiesAnswer(request_id=uuid4().hex, **answered(reply))


@router.put("/properties", tags=["device properties"], response_model_exclude_none=True)
async def update_properties(device_id: DevicePath, body: PropertiesBody, calls: CallsDep) -> PropertiesAnswer:
    """Have a device set properties at once."""
    reply = await calls.set_properties(device_id, [one.model_dump() for one in body.services])
    check_reply(reply)
    return PropertiesAnswer(request_id=uuid4().hex, **answered(reply))


@router.get("/shadow", tags=["device shadows"])
async def show_device_shadow(device_id: DevicePath, devices: DevicesDep) -> ShadowResponse:
    """What the services of a device should be, and what they said they are."""
    services = await devices.run(ShadowsService, lambda service: service.find_shadow(device_id))
    return shadow_response(device_id, services)


@router.put("/shadow", tags=["device shadows"])
async def update_device_shadow_desired_data(
    device_id: DevicePath, body: ShadowFields, calls: CallsDep
) -> ShadowResponse:
    """Change what services should be; the device gets it now, or when it comes online."""
    return shadow_response(device_id, await calls.put_desired(device_id, body.shadow))


async def _commands(
    device_id: str, devices: DevicesDep, span: SpanDep, wanted: CommandPageFilter
) -> CommandList:
    async def work(service: PageService) -> tuple[list[CommandRecord], int]:
        device = await service.find(device_id)
        await TrafficService(service.connection).expire_commands()
        return await service.list_commands(device, wanted, span)

    page, count = await devices.run(PageService, work)
    return CommandList(
        commands=[command_item(one) for one in page],
        page=page_info(count, [marker_of(one) for one in page]),
    )
